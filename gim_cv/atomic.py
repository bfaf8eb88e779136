"""Folders and files that are either whole or absent, whatever kills the process."""

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
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = fresh_folder(*home_of(path, tmp_dir))
    try:
        yield folder
        put_in_place(folder, path, tmp_dir=tmp_dir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, path: Path, *, tmp_dir: Path | None = None) -> None:
    """Give `folder` the name `path`; an older folder of this name is replaced as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _swap(folder, path, aside=fresh_folder(*home_of(path, tmp_dir)))


@contextmanager
def scratch_folder(path: Path, *, tmp_dir: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder for the intermediate files of `path`; it is gone when the block ends.

    Named and cleared as the folder of `atomic_folder` is.
    """
    folder = fresh_folder(*home_of(path, tmp_dir))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_file(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Yield the path of a file that takes the name `path` when the block ends without an error.

    Parameters
    ----------
    path
        Final name; the file until then has the same ending, by which libraries know a format.
    sync
        Whether it is to outlive a machine that stops, not only a process that is killed.
    """
    part = path.with_name(f".part.{path.name}")
    try:
        yield part
        if sync:
            with part.open("rb") as handle:
                os.fsync(handle.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8), whole or not at all."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def home_of(path: Path, tmp_dir: Path | None) -> tuple[Path, str]:
    """Return where unfinished folders of `path` live and how their names begin.

    What dead processes left there is removed.
    """
    home = path.parent if tmp_dir is None else tmp_dir
    stem = f".{path.name}" if tmp_dir is None else path.name
    home.mkdir(parents=True, exist_ok=True)
    for left in home.iterdir():
        prefix, _, pid = left.name.rpartition(".")[0].rpartition(".")
        if prefix == stem and pid.isdecimal() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return home, stem


def fresh_folder(home: Path, stem: str) -> Path:
    """Return an empty folder in `home` that belongs to this process."""
    folder = Path(tempfile.mkdtemp(prefix=f"{stem}.{os.getpid()}.", dir=home))
    folder.chmod(0o755)
    return folder


def _swap(folder: Path, path: Path, *, aside: Path) -> None:
    """Give `folder` the name `path`; what stood there is moved to `aside`, then removed."""
    older = aside / path.name
    if path.exists():
        path.replace(older)
    try:
        folder.replace(path)
    except OSError:
        if older.exists():
            older.replace(path)
        raise
    finally:
        shutil.rmtree(aside)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
