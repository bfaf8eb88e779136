"""What input files hold: digests in which their folders and times have no part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from rich import progress
from rich.console import Console

from gim_cv.catalog import RASTERS, Pair
from gim_cv.errors import MissingError
from gim_cv.rasterfile import open_raster
from gim_cv.sources import sha256_of

OVERVIEWS = ".ovr"
SHAPEFILE = {".shp", ".dbf", ".shx", ".prj", ".cpg"}
LONG_BYTES = 1 << 30
"""From this size on a bar is shown on a terminal: a second or more of reading."""


def pair_contents(pair: Pair, raw_dir: Path) -> dict[str, object]:
    """Return the digests of all files of a pair, as a recipe has them.

    Parameters
    ----------
    pair, raw_dir
        The entry, and the folder of the sources.

    Raises
    ------
    MissingError, DataError
        A file is not there, or no raster.
    """
    areas = {"aoi": pair.aoi_path(raw_dir), "split_areas": pair.split_areas_path(raw_dir)}
    return {
        "image": [raster_digests(path) for path in pair.image_paths(raw_dir)],
        "labels": label_digests(pair.labels_path(raw_dir)),
        **{key: label_digests(path) for key, path in areas.items() if path is not None},
    }


def raster_digests(path: Path) -> dict[str, str]:
    """Return name → SHA-256 of a raster and the files that belong to it, as a VRT's sources do.

    Overviews are left out. Files are read once in a process, unless they change.

    Raises
    ------
    MissingError, DataError
        It is not there, or no raster.
    """
    with open_raster(path) as raster:
        files = [Path(file) for file in raster.files]
    return _digests([file for file in files if file.suffix.lower() != OVERVIEWS])


def label_digests(path: Path) -> dict[str, str]:
    """Return name → SHA-256 of a vector file or raster of labels and the files that belong to it.

    Raises
    ------
    MissingError
        It is not there.
    """
    if path.suffix.lower() in RASTERS:
        return raster_digests(path)
    if not path.exists():
        raise MissingError("no such file", path=path)
    return _digests(sorted(_vector_files(path)))


def _vector_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())
    elif path.suffix.lower() == ".shp":
        beside = path.parent.iterdir()
        yield from (f for f in beside if f.stem == path.stem and f.suffix.lower() in SHAPEFILE)
    else:
        yield path


def _digests(files: Sequence[Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in files:
        digest = _digest(file)
        found[file.name] = f"{found[file.name]} {digest}" if file.name in found else digest
    return found


def _digest(path: Path) -> str:
    if str(path).startswith("/vsi"):  # elsewhere, or in an archive: its address has to do
        return str(path)
    state = path.stat()
    return _known_digest(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


@lru_cache(maxsize=10_000)
def _known_digest(path: Path, size: int, *state: int) -> str:  # noqa: ARG001 - edits change it
    console = Console(stderr=True)
    if size < LONG_BYTES or not console.is_terminal:
        return sha256_of(path)
    title = f"is {path.name} as before?"
    with progress.open(path, "rb", description=title, console=console, transient=True) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
