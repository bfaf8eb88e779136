"""What the files of catalog pairs held when a cache of them was saved: a note beside the store.

Not in the store, which has the same bytes as the pipeline's; that one has no note, since DVC knows
what its files held.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from gim_cv.atomic import write_text
from gim_cv.errors import StoreError
from gim_cv.recipe import recipe_difference
from gim_cv.sources import sha256_of

Contents = Mapping[str, object]


def note_origins(store: Path, contents: Contents) -> None:
    """Leave the note of a store just written; none if its recipe has all (`contents` is empty)."""
    forget_origins(store)
    if not contents:
        return
    text = json.dumps({"store": _mark(store), "files": contents}, indent=2, sort_keys=True)
    write_text(_note_of(store), text + "\n")


def check_origins(store: Path, contents: Callable[[], Contents]) -> None:
    """Return if the files hold what the note says, or no note is of this very store.

    Parameters
    ----------
    store
        A whole store.
    contents
        Reads the files of today.

    Raises
    ------
    StoreError
        They hold something else: the first difference is named.
    """
    note = _note_of(store)
    if not note.is_file():
        return
    noted = json.loads(note.read_text(encoding="utf-8"))
    if noted["store"] != _mark(store):  # written since by the pipeline
        return
    difference = recipe_difference(contents(), noted["files"])
    if difference is not None:
        raise StoreError(
            f"made of other files: {difference}", path=store, remedy="Prepare and save again"
        )


def forget_origins(store: Path) -> None:
    """Remove the note, if there is one."""
    _note_of(store).unlink(missing_ok=True)


def _note_of(store: Path) -> Path:
    return store.with_name(f"{store.name}.origins.json")


def _mark(store: Path) -> str:
    """Return what tells the store from others: its attributes count, weigh and certify patches."""
    return sha256_of(store / "zarr.json")
