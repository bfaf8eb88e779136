"""Runs of other git revisions and DVC experiments, read without checking them out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import RevError, resolve_rev

from gim_cv.atomic import atomic_file
from gim_cv.errors import MissingError, UnknownError
from gim_cv.rundir import (
    EVALUATION,
    HISTORY_FILE,
    RUN_FILE,
    WORKSPACE,
    Row,
    find_evaluation,
    read_run,
)

SMALL_FILES = ("metrics.json", "scores.json", "counts.parquet")


def experiments(root: Path) -> list[str]:
    """Return the names of the DVC experiments that were run from the current commit, sorted."""
    with Repo(str(root)) as repo:
        found = repo.experiments.ls()
    return sorted(name for some in found.values() for name, _ in some)


def commit_of(root: Path, rev: str) -> str:
    """Return the commit of a branch, tag, commit or experiment.

    Raises
    ------
    UnknownError
        There is no such revision.
    """
    with Repo(str(root)) as repo:
        try:
            return str(resolve_rev(repo.scm, rev))
        except RevError as err:
            raise UnknownError(
                f"unknown revision {rev!r}", remedy="See dvc exp list, git branch and git tag"
            ) from err


def runs_at(rev: str, models_dir: Path, model_name: str) -> list[Row]:
    """Return the runs of a revision, as ``read_run`` does, with their revision under ``rev``.

    The small files of a run are copied below ``.dvc/tmp/gim_cv/<commit>``; `fetch_run` copies the
    weights.

    Parameters
    ----------
    rev
        A branch, tag, commit or experiment.
    models_dir
        Folder that holds run directories, inside a DVC repository.
    model_name
        Beginning of the run directories' names.

    Raises
    ------
    UnknownError
        There is no such revision.
    MissingError
        The folder is in no DVC repository, or a file is neither in the cache nor in a remote.
    """
    source = _Source(rev, models_dir)
    rows = []
    for folder in source.folders(model_name):
        run_dir = source.copy(folder, (RUN_FILE, HISTORY_FILE))
        source.copy(source.evaluation, SMALL_FILES)
        evaluation = find_evaluation(run_dir)
        rows.append({"rev": rev, **read_run(run_dir, evaluation)})
    return rows


def fetch_run(row: Any) -> Path:
    """Copy everything of a run at a revision into the row's ``run_dir``; return that folder.

    Nothing is copied for a run of the workspace. Call this before ``load_from_metadata(row)``.
    """
    run_dir = Path(row["run_dir"])
    if row["rev"] != WORKSPACE:
        source = _source_of(row)
        source.copy_whole(f"{source.models}/{run_dir.name}")
    return run_dir


def fetch_predictions(row: Any, store: Path) -> bool:
    """Copy what a run predicted into the row's ``evaluate_dir``; return whether it is there.

    It is not where the run was scored on another combined store than the workspace's `store`.
    """
    if row["rev"] == WORKSPACE:
        return (Path(row["evaluate_dir"]) / "predictions.zarr").is_dir()
    source = _source_of(row)
    if not source.has_output_of_workspace(store):
        return False
    source.copy_whole(f"{source.evaluation}/predictions.zarr")
    return True


def _source_of(row: Any) -> _Source:
    run_dir = Path(row["run_dir"])
    root = root_of(run_dir)
    home = root / ".dvc" / "tmp" / "gim_cv"
    return _Source(str(row["rev"]), root.joinpath(*run_dir.relative_to(home).parts[1:-1]))


class _Source:
    """The files of one revision, and the folder that they are copied to."""

    def __init__(self, rev: str, models_dir: Path) -> None:
        self._rev, self._root = rev, root_of(models_dir.resolve())
        commit = commit_of(self._root, rev)
        self._fs = DVCFileSystem(str(self._root), rev=commit)
        self._home = self._root / ".dvc" / "tmp" / "gim_cv" / commit[:16]
        models = models_dir.resolve().relative_to(self._root)
        self.models = models.as_posix()
        self.evaluation = (models.parent / EVALUATION).as_posix()

    def folders(self, model_name: str) -> list[str]:
        """Return the run directories, relative to the repository."""
        if not self._fs.isdir(self.models):
            return []
        found = [str(path) for path in self._fs.ls(self.models, detail=False)]
        named = [path for path in found if Path(path).name.startswith(model_name)]
        return sorted(path for path in named if self._fs.exists(f"{path}/{RUN_FILE}"))

    def copy(self, folder: str, files: Iterable[str]) -> Path:
        """Copy those of `files` that the revision has; return the folder on disk."""
        target: Path = self._home / folder
        target.mkdir(parents=True, exist_ok=True)
        for name in files:
            if not (target / name).is_file() and self._fs.exists(f"{folder}/{name}"):
                self._get(f"{folder}/{name}", target / name)
        return target

    def copy_whole(self, folder: str) -> None:
        for path in self._fs.find(folder):
            target = self._home / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_file():
                self._get(str(path), target)

    def has_output_of_workspace(self, path: Path) -> bool:
        """Return whether DVC tracks a path with the same content here as in the workspace."""
        name = path.resolve().relative_to(self._root).as_posix()
        if not self._fs.exists(name):
            return False
        here, there = (
            fs.info(name)["dvc_info"]["md5"] for fs in (DVCFileSystem(str(self._root)), self._fs)
        )
        return bool(here == there)

    def _get(self, path: str, target: Path) -> None:
        with atomic_file(target) as part:
            try:
                self._fs.get_file(path, str(part))
            except (DvcException, FileNotFoundError) as err:
                raise MissingError(
                    f"not in DVC's cache at {self._rev}",
                    path=path,
                    remedy=f"Run dvc fetch for that revision, or dvc exp pull {self._rev}",
                ) from err


def root_of(path: Path) -> Path:
    """Return the root of the DVC repository that a path is in; MissingError if in none."""
    for folder in (path, *path.parents):
        if (folder / ".dvc").is_dir():
            return folder
    raise MissingError("in no DVC repository", path=path, remedy="Run this inside the project")
