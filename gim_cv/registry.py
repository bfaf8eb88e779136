"""Versions of the model: git tags that DVC's registry commands read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gto.exceptions import GTOException
from gto.registry import GitRegistry

from gim_cv.errors import RunError
from gim_cv.revisions import commit_of, root_of, runs_at
from gim_cv.rundir import WORKSPACE, run_digest

ARTIFACT = "segmentalist"
"""The model's name in the ``artifacts`` of dvc.yaml."""


def register(row: Any, models_dir: Path, *, message: str) -> str:
    """Return the tag that makes a run's commit a version of the model; made if it has none.

    A tagged experiment is kept and shared like any other commit.

    Parameters
    ----------
    row
        A row of ``find_runs``.
    models_dir
        Folder that holds run directories, inside a DVC repository.
    message
        Message of a new tag: why this one.

    Raises
    ------
    RunError
        The run is of the workspace, and not that of the last commit; or git made no tag.
    """
    root = root_of(models_dir.resolve())
    rev = str(row["rev"])
    if rev == WORKSPACE:
        rev = "HEAD"
        _check_committed(Path(row["run_dir"]), models_dir)
    commit = commit_of(root, rev)
    try:
        with GitRegistry.from_url(str(root)) as registry:
            known = registry.find_artifact(ARTIFACT, create_new=True)
            found = known.find_version(commit_hexsha=commit) or registry.register(
                ARTIFACT, commit, simple=True, message=message
            )
    except GTOException as err:
        raise RunError(f"{rev} could not be registered", found=err) from err
    return f"{ARTIFACT}@{found.version}"


def _check_committed(run_dir: Path, models_dir: Path) -> None:
    committed = [Path(row["run_dir"]) for row in runs_at("HEAD", models_dir, run_dir.name)]
    if run_digest(run_dir) not in [run_digest(folder) for folder in committed]:
        raise RunError(
            "the last commit has another run",
            path=run_dir,
            remedy="Commit this one, or keep it with dvc exp save and name it",
        )
