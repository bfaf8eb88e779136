"""A project's files and stores at a git revision or DVC experiment, read where they are.

Nothing is checked out, and a store is not copied: its blocks come from DVC's cache, or from a
remote, as they are asked for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
import zarr.storage
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.repo import Repo

from gim_cv.config import Project
from gim_cv.errors import MissingError
from gim_cv.revisions import commit_of, root_of
from gim_cv.rundir import WORKSPACE
from gim_cv.store import Source

METRICS = "data/results/evaluate/metrics.json"
"""Where the pipeline writes what a run scores."""


class Version:
    """A project at one revision.

    Parameters
    ----------
    rev
        A branch, tag, commit, experiment, or ``workspace``.
    here
        The project, inside a DVC repository.

    Raises
    ------
    UnknownError
        There is no such revision.
    """

    def __init__(self, rev: str, here: Project) -> None:
        self.name, self._here = rev, here
        root = here.root.resolve()
        self._root = root_of(root)
        self._prefix = root.relative_to(self._root)
        self._fs = (
            None
            if rev == WORKSPACE
            else DVCFileSystem(str(self._root), rev=commit_of(self._root, rev))
        )

    def text(self, path: str) -> str | None:
        """Return the text of a file of the project, None where the revision has no such file."""
        if self._fs is None:
            local = self._here.root / path
            return local.read_text(encoding="utf-8") if local.is_file() else None
        where = self._at(path)
        return str(self._fs.read_text(where)) if self._fs.isfile(where) else None

    def data(self, path: str) -> dict[str, Any]:
        """Return the mapping in a YAML or JSON file, empty where the revision has no such file."""
        text = self.text(path)
        if text is None:
            return {}
        found = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
        return dict(found)

    def store(self, path: str) -> Source:
        """Return what `gim_cv.store` opens: a folder, or a read-only store at the revision.

        Raises
        ------
        MissingError
            The revision has no such store, or its content is neither in the cache nor in a remote.
        """
        if self._fs is None:
            return self._here.root / path
        where = self._at(path)
        try:
            self._fs.cat_file(f"{where}/zarr.json")
        except (DvcException, OSError) as err:
            raise MissingError(
                f"not in DVC's cache at {self.name}",
                path=path,
                remedy="Run dvc fetch for that revision, or check it out and run dvc repro",
            ) from err
        mapper = self._fs.get_mapper(where)
        return zarr.storage.FsspecStore.from_mapper(mapper, read_only=True)

    def files_of(self, digest: str) -> dict[str, str]:
        """Return name → hash of the files of a folder in DVC's cache; empty if it is not there."""
        with Repo(str(self._root)) as repo:
            path = Path(repo.cache.local.oid_to_path(digest))
        if not path.is_file():
            return {}
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {row["relpath"]: row["md5"] for row in rows}

    def _at(self, path: str) -> str:
        return (self._prefix / path).as_posix()
