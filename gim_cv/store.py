"""Patch stores: a patch dataset (`gim_cv.schema`) at rest, one zarr v3 group, written once.

Whole patches are grouped into blocks (the read unit, one zarr chunk) and blocks into shards (one
file), with the shard index first, so that any reader that can seek forwards reads it. The same
patches and recipe give the same bytes, however they came in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from gim_cv.atomic import atomic_folder
from gim_cv.errors import DataError, MissingError, StoreError
from gim_cv.ownership import check_replaceable
from gim_cv.recipe import recipe_difference, sha256_text
from gim_cv.schema import (
    ARRAYS,
    COORDS,
    SCHEMA,
    check_patches,
    layout,
    pair_names,
    split_slice,
)
from gim_cv.standing import StandingStore
from gim_cv.writer import StoreWriter

__all__ = [
    "open_arrays",
    "open_group",
    "open_store",
    "pair_names",
    "read_block",
    "recipe_difference",
    "split_slice",
    "store_digest",
    "write_store",
]

UNREADABLE = (
    FileNotFoundError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)
"""What zarr raises for chunks and metadata that are cut off, or JSON of something else."""

Source = str | Path | Store
Array = NDArray[Any]


def write_store(
    blocks: xr.Dataset | Iterable[xr.Dataset],
    path: str | Path,
    *,
    recipe: Mapping[str, object],
    attrs: Callable[[], Mapping[str, object]] | Mapping[str, object] | None = None,
    tmp_dir: Path | None = None,
) -> None:
    """Write patch datasets, one after the other, as the store `path`; memory is one shard.

    The store appears whole, under its name, when everything is written, and replaces an older one.

    Parameters
    ----------
    blocks
        One patch dataset (numpy or dask), or an iterable of them with equal schema. Arrays that it
        handed out must keep their values until the store is written.
    path
        Folder to write, e.g. ``data/patches/kampala_1.zarr``.
    recipe
        What the patches were made from: kept in the store, compared when it is opened.
    attrs
        Added to the attributes of the first dataset; a function is called after the last one.
    tmp_dir
        Folder for the unfinished store, on the same file system; None: next to `path`, hidden.

    Raises
    ------
    StoreError
        Something that is no patch store stands at `path`; nothing was read or written.
    DataError
        If there is no patch at all, or a dataset's schema differs from the first one's.
    """
    check_replaceable(path)
    stream = _slices(blocks) if isinstance(blocks, xr.Dataset) else iter(blocks)
    with atomic_folder(Path(path), tmp_dir=tmp_dir) as folder:
        writer = StoreWriter(folder)
        for block in stream:
            writer.append(block)
            del block  # or it would be in memory beside the next one
        extra = attrs() if callable(attrs) else (attrs or {})
        try:
            writer.close(recipe, extra)
        except DataError as err:
            raise DataError(
                err.what, path=path, expected=err.expected, found=err.found, remedy=err.remedy
            ) from err


def _slices(patches: xr.Dataset) -> Iterator[xr.Dataset]:
    """Cut along the dask chunks, so that none is computed twice; else into blocks."""
    check_patches(patches)
    chunks = patches["image"].chunks
    total = patches.sizes["patch"]
    step = layout(patches["image"].shape[1:], patches["image"].dtype).block
    stops = np.cumsum(chunks[0]) if chunks else np.arange(step, total + step, step)
    start = 0
    for stop in stops.tolist():
        yield patches.isel(patch=slice(start, stop)).compute()
        start = stop


def open_group(source: Source) -> zarr.Group:
    """Return the zarr group of a whole store.

    Raises
    ------
    MissingError
        If there is nothing at `source`.
    StoreError
        If it is torn, incomplete, of another schema, or not a patch store.
    """
    if isinstance(source, (str, Path)) and not Path(source).exists():
        raise MissingError("no patch store", path=source, remedy="Run the stage that writes it")
    store = source if isinstance(source, Store) else StandingStore(source, read_only=True)
    with _reading(source, "not a zarr v3 group"):
        group = zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
    attrs = group.attrs
    if attrs.get("complete") is not True:
        raise _torn(source, "not a finished patch store")
    if attrs.get("schema") != SCHEMA:
        raise StoreError(
            "schema",
            path=str(source),
            expected=SCHEMA,
            found=attrs.get("schema"),
            remedy="Write the store again with this version of gim_cv",
        )
    if sha256_text(str(attrs.get("recipe"))) != attrs.get("recipe_sha256"):
        raise _torn(source, "recipe and recipe_sha256 disagree")
    _check_files(source, group)
    return group


@contextmanager
def _reading(source: Source, fault: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except UNREADABLE as err:
        raise _torn(source, fault) from err


def _torn(source: Source, what: str) -> StoreError:
    return StoreError(what, path=str(source), remedy="Delete the store and write it again")


def _check_files(source: Source, group: zarr.Group) -> None:
    """Every shard is a file: one that is gone would be read as zeros."""
    counts = set()
    for name in (*ARRAYS, *COORDS):
        with _reading(source, f"{name}: broken metadata"):
            array = group.get(name)
        if not isinstance(array, zarr.Array):
            raise _torn(source, f"no array {name!r}")
        unit = (array.shards or array.chunks)[0]
        expected = -(-array.shape[0] // unit) * (unit // array.chunks[0])
        if array.nchunks_initialized != expected:
            raise _torn(
                source, f"{name}: {array.nchunks_initialized} of {expected} chunks are there"
            )
        counts.add(array.shape[0])
    if len(counts) != 1:
        raise _torn(source, f"arrays of unequal length {sorted(counts)}")


def open_store(source: Source, *, recipe: Mapping[str, object] | None = None) -> xr.Dataset:
    """Return the store as a lazy patch dataset whose dask chunks are the blocks on disk.

    Coordinates are read; images and masks are not.

    Parameters
    ----------
    source
        Folder, or any zarr store (for instance one on DVC's file system, at a revision).
    recipe
        If given, the recipe that the store must have been made from.

    Raises
    ------
    MissingError
        If there is nothing at `source`.
    StoreError
        If it is torn, of another schema, or of another recipe: the first difference is named.
    """
    group = open_group(source)
    if recipe is not None:
        difference = recipe_difference(recipe, json.loads(str(group.attrs["recipe"])))
        if difference is not None:
            raise StoreError(
                f"made by another recipe: {difference}",
                path=str(source),
                remedy="Prepare and save again, or open it with the recipe that made it",
            )
    pixels: xr.Dataset = xr.open_zarr(
        group.store,
        consolidated=False,
        zarr_format=3,
        chunks={},
        decode_times=False,
        drop_variables=list(COORDS),
    )
    # Rebuilt in the schema's order: the order of a folder listing is the file system's.
    return xr.Dataset(
        {name: pixels[name].variable for name in ARRAYS},
        coords={name: _read_whole(source, group, name) for name in COORDS},
        attrs=pixels.attrs,
    )


def _read_whole(source: Source, group: zarr.Group, name: str) -> xr.Variable:
    """Return a coordinate in memory: dask takes longer to plan than its few bytes to read."""
    array = group[name]
    with _reading(source, f"{name}: broken chunk"):
        values = np.asarray(array)
    return xr.Variable(COORDS[name][0], values, array.attrs.asdict())


def open_arrays(source: Source) -> dict[str, zarr.Array[Any]]:
    """Return the arrays image and mask of a whole store, for `read_block`; errors: `open_group`."""
    group = open_group(source)
    return {name: group[name] for name in ARRAYS}  # type: ignore[misc]


def read_block(arrays: Mapping[str, zarr.Array[Any]], index: int) -> tuple[Array, Array]:
    """Return images (patch, row, col, band) and masks (patch, row, col, label) of one block.

    Parameters
    ----------
    arrays
        From `open_arrays`.
    index
        Number of the block; the last one may be shorter.
    """
    step = arrays["image"].chunks[0]
    where = slice(index * step, (index + 1) * step)
    return np.asarray(arrays["image"][where]), np.asarray(arrays["mask"][where])


def store_digest(path: str | Path) -> str:
    """Return the SHA-256 of the names and bytes of all files of the store, as hexadecimal."""
    root, whole = Path(path), hashlib.sha256()
    open_group(root)
    for file in sorted(item for item in root.rglob("*") if item.is_file()):
        with file.open("rb") as handle:
            part = hashlib.file_digest(handle, "sha256").hexdigest()
        whole.update(f"{part}  {file.relative_to(root).as_posix()}\n".encode())
    return whole.hexdigest()
