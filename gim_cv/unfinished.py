"""Unfinished work on disk that outlives its process, for the next one to go on with."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from gim_cv.atomic import fresh_folder, home_of
from gim_cv.errors import RunError

PACKAGE = Path(__file__).parent
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def work_key(parameters: Mapping[str, Any]) -> str:
    """Return the name of unfinished work: a hash of everything that its result depends on.

    That is the parameters and every file of this package: what other code began is not gone on
    with.
    """
    text = json.dumps(dict(parameters), sort_keys=True, default=str)
    found = hashlib.sha256(text.encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(PACKAGE)} {content}\n".encode())
    return found.hexdigest()[:20]


def boot() -> str:
    """Return a name of the machine's present run, for the key of work that is not synced to disk.

    A killed process leaves whole files, a machine that stops need not. Where the system does not
    tell (it is not Linux), no two calls agree.
    """
    with suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    return uuid.uuid4().hex


def files_seen(folder: Path) -> list[tuple[str, int, int, int]]:
    """Return name, size, time of change (ns) and inode of each file below `folder`, by name.

    Equal lists: nobody wrote there in between. The content is not read.
    """
    found = []
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        stat = path.stat()
        name = path.relative_to(folder).as_posix()
        found.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return found


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Hold `folder` for this process; the kernel lets go of it when the process dies.

    Parameters
    ----------
    folder
        Gets a file ``lock``.
    what
        What another process that holds it must be doing, for the error.

    Raises
    ------
    RunError
        Another process holds it.
    """
    with (folder / "lock").open("w") as handle:
        if not locked(handle):
            remedy = "Wait for it, or stop it"
            raise RunError(f"another process is {what}", path=folder, remedy=remedy)
        yield


def locked(handle: IO[str]) -> bool:
    """Take the lock of an open file, until it is closed; False: another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def unfinished_folder(path: Path, key: str, *, tmp_dir: Path | None = None) -> Iterator[Path]:
    """Yield the folder of what is to become `path`: as a killed process left it, else empty.

    It is removed when the block ends or raises an error; a kill and Ctrl-C leave it. What was left
    for `path` under other keys is removed first.

    Parameters
    ----------
    path
        Final name of what is made.
    key
        From `work_key`.
    tmp_dir
        Where the folder lives, as ``<name>.of-<key>.unfinished``; None: next to `path`, hidden.

    Raises
    ------
    RunError
        Another process is in the folder.
    """
    home, stem = home_of(path, tmp_dir)
    folder = home / f"{stem}.of-{key}.unfinished"
    for left in sorted(home.iterdir()):
        ours = left.name.startswith(f"{stem}.of-") and left.name.endswith(".unfinished")
        if ours and left != folder:
            with suppress(RunError, OSError), held(left, "in it"):
                _remove(left, path, tmp_dir)
    folder.mkdir(exist_ok=True)
    with held(folder, f"making {path.name} of the same"):
        try:
            yield folder
        except Exception:
            _remove(folder, path, tmp_dir)
            raise
        _remove(folder, path, tmp_dir)


def _remove(folder: Path, path: Path, tmp_dir: Path | None) -> None:
    """Remove it under another name: killed half-way, no one goes on with the rest."""
    gone = fresh_folder(*home_of(path, tmp_dir))
    folder.replace(gone)
    shutil.rmtree(gone, ignore_errors=True)
