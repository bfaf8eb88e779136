"""Where an unfinished run lives until it is done, and which process may go on with it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gim_cv.atomic import atomic_folder, scratch_folder
from gim_cv.checkpoint import STATE_FILE
from gim_cv.errors import RunError
from gim_cv.unfinished import locked

LOCK = "lock"
"""The file that a live process holds; in a state's folder it says whose run that is."""


@dataclass(frozen=True)
class Workspace:
    """The folders of a run that goes on.

    Attributes
    ----------
    run
        Becomes the run directory.
    best
        For the weights of the best epochs so far.
    state
        For the state; None: it is not kept.
    """

    run: Path
    best: Path
    state: Path | None


@contextmanager
def workspace(run_dir: Path, resume_dir: Path | None, key: str) -> Iterator[Workspace]:
    """Yield folders of which one becomes `run_dir` when the block ends without an error.

    Parameters
    ----------
    run_dir
        Final name of the folder.
    resume_dir
        None: the folders are temporary and lost with the process. Else they live in
        ``resume_dir/key`` until the run is finished, and are found again after a kill. After an
        error they stay only if there is a state to go on from.
    key
        From `work_key`.

    Raises
    ------
    RunError
        Another process is training with the same parameters.
    """
    if resume_dir is None:
        with atomic_folder(run_dir) as folder, scratch_folder(run_dir) as best:
            yield Workspace(folder, best, None)
        return
    home = resume_dir / key
    with _held(home, _owner(run_dir, resume_dir)):
        place, finished = Workspace(home / "run", home / "best", home), False
        place.run.mkdir(exist_ok=True)
        place.best.mkdir(exist_ok=True)
        try:
            yield place
            with atomic_folder(run_dir) as folder:
                shutil.copytree(place.run, folder, dirs_exist_ok=True)
            finished = True
        finally:
            if finished or not (home / STATE_FILE).is_file():
                with _guard(resume_dir):
                    _remove(home)


def forget_unfinished(run_dir: Path, resume_dir: Path) -> int:
    """Remove the states of `run_dir` that no live process holds; return how many.

    Only the same parameters, code and libraries go on with a state, so most of these never would.
    A state that does not say whose it is was left by an older version, and goes too.
    """
    owner = _owner(run_dir, resume_dir)
    with _guard(resume_dir):
        homes = [path.parent for path in sorted(resume_dir.glob(f"*/{LOCK}"))]
        return sum(_forgotten(home, owner) for home in homes)


def _forgotten(home: Path, owner: str) -> bool:
    with (home / LOCK).open("r+") as handle:
        if not locked(handle) or handle.read() not in ("", owner):
            return False
        _remove(home)
    return True


@contextmanager
def _held(home: Path, owner: str) -> Iterator[None]:
    """Hold the folder for this process; the kernel lets go of it when the process dies."""
    with _guard(home.parent):
        home.mkdir(exist_ok=True)
        handle = (home / LOCK).open("a")
        if not locked(handle):
            handle.close()
            raise RunError(
                "another process is training with the same parameters",
                path=home,
                remedy="Wait for it, or stop it",
            )
        handle.truncate(0)
        handle.write(owner)
        handle.flush()
    with handle:
        yield


@contextmanager
def _guard(resume_dir: Path) -> Iterator[None]:
    """Wait until no other process makes or removes a folder in `resume_dir`."""
    resume_dir.mkdir(parents=True, exist_ok=True)
    with (resume_dir / LOCK).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _owner(run_dir: Path, resume_dir: Path) -> str:
    """Return the run directory as seen from the states, so that a project can be moved."""
    return os.path.relpath(run_dir.resolve(), resume_dir.resolve())


def _remove(home: Path) -> None:
    """Remove a state, then what it needs, then the lock: a kill in between leaves no half state."""
    (home / STATE_FILE).unlink(missing_ok=True)
    for folder in (path for path in home.iterdir() if path.is_dir()):
        shutil.rmtree(folder)
    shutil.rmtree(home)
