"""The folder of a patch store, which must stay the one that was opened for as long as it is read.

A store is replaced as a whole, but it is read block by block: without a look at the folder, blocks
of the new store would be served under the order, the splits and the ids of the old one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from gim_cv.errors import StoreError


class StandingStore(LocalStore):
    """A zarr store on disk that tells when another one has taken its name.

    Parameters
    ----------
    root
        Folder of the store.
    read_only
        As zarr has it.
    """

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._opened = self._written()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open it anew: elsewhere, files have other numbers."""
        self.__dict__.update(state)
        self._opened = self._written()

    def check(self) -> None:
        """Return if the folder is the one that was opened; call it after each read.

        Raises
        ------
        StoreError
            Another store has its name, or none.
        """
        if self._written() != self._opened:
            raise StoreError(
                "the store was written anew, or removed, while it was read",
                path=self.root,
                remedy="Open it again",
            )

    async def get(self, *args: Any, **options: Any) -> Any:
        """Return what zarr's own store does, if it is of the folder that was opened."""
        found = await super().get(*args, **options)
        self.check()
        return found

    def _written(self) -> tuple[int, int] | None:
        """Return what no two stores have in common: the file written last, and when."""
        try:
            found = (self.root / "zarr.json").stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns
