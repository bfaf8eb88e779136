"""Folders that are either whole or absent, whatever kills the process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_folder(path: Path, *, tmp_dir: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder that takes the name `path` when the block ends without an error.

    Until then it has a name of this process, ``<name>.<pid>.<random>``, in `tmp_dir`; after an
    error it is removed. What dead processes left there under the same name is removed first.

    Parameters
    ----------
    path
        Final name. An older folder of this name is replaced as a whole.
    tmp_dir
        Where the unfinished folder lives; must be on the file system of `path`. None: next to
        `path`, under a hidden name. Give a folder elsewhere if the parent of `path` is hashed.
    """
    home = path.parent if tmp_dir is None else tmp_dir
    stem = f".{path.name}" if tmp_dir is None else path.name
    home.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(home, stem)
    folder = _fresh(home, stem)
    try:
        yield folder
        _swap(folder, path, aside=_fresh(home, stem))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fresh(home: Path, stem: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{stem}.{os.getpid()}.", dir=home))
    folder.chmod(0o755)
    return folder


def _swap(folder: Path, path: Path, *, aside: Path) -> None:
    """Give `folder` the name `path`; what stood there is moved to `aside`, then removed."""
    if path.exists():
        path.replace(aside / path.name)
    folder.replace(path)
    shutil.rmtree(aside)


def _remove_leftovers(home: Path, stem: str) -> None:
    for left in home.glob(f"{stem}.*.*"):
        pid = left.name.removeprefix(f"{stem}.").split(".")[0]
        if pid.isdecimal() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
