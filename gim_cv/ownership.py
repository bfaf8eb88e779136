"""What lies at a path: nothing to be missed, a patch store, or what is not ours to replace."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from gim_cv.errors import StoreError
from gim_cv.schema import ARRAYS, COORDS

_DIMS = {**ARRAYS, **{name: dims for name, (dims, _) in COORDS.items()}}
_ARRAY = f"({'|'.join(_DIMS)})"
_FOLDER = re.compile(rf"{_ARRAY}(/c(/\d+)*)?")
_FILE = re.compile(rf"({_ARRAY}/)?zarr\.json|{_ARRAY}/c(/\d+)+")


def check_replaceable(path: str | Path) -> None:
    """Return if a store may be written to `path`: nothing but an older store would be lost.

    Raises
    ------
    StoreError
        Something else stands there, or the working directory is `path` or lies in it.
    """
    path = Path(path)
    if path.name in {"", ".."} or Path.cwd().is_relative_to(path.resolve()):
        raise StoreError(
            "no place for a store",
            expected="the path of a folder of its own",
            found=repr(str(path)),
            remedy="Name a new folder, for instance data/prepared/my_city",
        )
    found = foreign_content(path)
    if found is not None:
        raise StoreError(
            "a store written here would replace what is no patch store",
            path=path,
            expected="nothing, an empty folder or an older store",
            found=found,
            remedy="Name another folder, or move it away",
        )


def foreign_content(path: Path) -> str | None:
    """Return in a few words what stands at `path` and is no patch store, whole or torn; else None.

    A store is known by what it holds, so that a torn one is known too: files where its arrays are,
    and nothing besides.
    """
    if path.is_symlink():
        return "a symbolic link"
    if not path.exists():
        return None
    if not path.is_dir():
        return "a file"
    unread: list[OSError] = []
    for parent, folders, files in os.walk(path, onerror=unread.append):
        here = Path(parent)
        alien = [name for name in folders if not _FOLDER.fullmatch(_within(path, here / name))]
        alien += [name for name in files if not _is_part(path, here / name)]
        if alien:
            return f"a folder with {_within(path, here / min(alien))}"
    return "a folder that cannot be read" if unread else None


def _within(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _is_part(root: Path, file: Path) -> bool:
    """Return whether a store has this file; one that cannot be read may be a torn store's."""
    found = _FILE.fullmatch(_within(root, file))
    if found is None or file.name != "zarr.json":
        return found is not None
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    if not isinstance(metadata, dict):
        return False
    if file.parent != root:
        return metadata.get("dimension_names") == list(_DIMS[file.parent.name])
    attributes = metadata.get("attributes")
    return not attributes or "recipe_sha256" in attributes
