"""The patch dataset: the one noun that every stage takes or returns.

It is an ``xr.Dataset`` with

======================================= ======================================================
``image (patch, row, col, band)``        the source's dtype
``mask (patch, row, col, label)``        uint8 class id, 255 = ignore; `label` has length 1
``pair (patch)``                         int16 code; names in ``flag_meanings``
``split (patch)``                        int8: 0 train, 1 val, 2 test
``row0``, ``col0 (patch)``               int32, px: origin on the pair's aligned grid
``valid_fraction (patch)``               float32, 0–1
``class_pixels (patch, class)``          int32, px
======================================= ======================================================

and JSON attributes: ``schema``, ``classes`` (names; index = id), ``ignore`` and, for each pair,
``pairs[name]`` (CRS, transform, height, width, resolution_m, nodata, bands, …).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from gim_cv.errors import DataError, StoreError
from gim_cv.patches import split_code

SCHEMA = 1
BLOCK_BYTES = 8 * 2**20
SHARD_BYTES = 64 * 2**20
COLOURS = frozenset({"red", "green", "blue", "nir", "rededge", "gray", "grey", "panchromatic"})
"""Band names that mean something: two pairs that have different ones at one place do not mix."""
ARRAYS: dict[str, tuple[str, ...]] = {
    "image": ("patch", "row", "col", "band"),
    "mask": ("patch", "row", "col", "label"),
}
COORDS: dict[str, tuple[tuple[str, ...], type[np.generic]]] = {
    "pair": (("patch",), np.int16),
    "split": (("patch",), np.int8),
    "row0": (("patch",), np.int32),
    "col0": (("patch",), np.int32),
    "valid_fraction": (("patch",), np.float32),
    "class_pixels": (("patch", "class"), np.int32),
}


def other_colour(one: str, other: str) -> bool:
    """Return whether two names of bands are of two colours; what is no colour may be any.

    Examples
    --------
    >>> other_colour("Red", "nir"), other_colour("red", "band_1")
    (True, False)
    """
    one, other = one.lower(), other.lower()
    return one != other and {one, other} <= COLOURS


class Layout(NamedTuple):
    """How many patches make the unit of reading and the unit of writing."""

    block: int
    shard: int


def layout(shape: tuple[int, ...], dtype: DTypeLike) -> Layout:
    """Return patches a block and patches a shard, from the bytes of one image patch alone.

    The largest powers of two that keep a block within 8 MiB and a shard within 64 MiB raw: 32 and
    256 for 256×256×3 uint8. A larger patch has a block of its own.

    Parameters
    ----------
    shape
        (row, col, band) of one patch.
    dtype
        Type of the image.
    """
    patch_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    block = 2 ** max(0, (BLOCK_BYTES // patch_bytes).bit_length() - 1)
    blocks = 2 ** max(0, (SHARD_BYTES // (block * patch_bytes)).bit_length() - 1)
    return Layout(block, block * blocks)


def check_patches(patches: xr.Dataset) -> None:
    """Return if `patches` has the schema of a patch dataset.

    Raises
    ------
    DataError
        Naming the first variable whose dimensions or type are wrong.
    """
    for name, dims in ARRAYS.items():
        _check_variable(patches, name, dims, None if name == "image" else np.uint8)
    for name, (dims, kind) in COORDS.items():
        _check_variable(patches, name, dims, kind)
    if patches.sizes["label"] != 1:
        raise DataError("mask", expected="one label", found=f"{patches.sizes['label']} labels")
    if not {"flag_values", "flag_meanings"} <= patches["pair"].attrs.keys():
        raise DataError("coordinate pair", expected="attributes flag_values and flag_meanings")


def _check_variable(
    patches: xr.Dataset, name: str, dims: tuple[str, ...], kind: DTypeLike | None
) -> None:
    if name not in patches.variables:
        raise DataError(f"no variable {name!r}", expected=f"{name} {dims}")
    found = patches.variables[name]
    if found.dims != dims:
        raise DataError(f"dimensions of {name!r}", expected=dims, found=found.dims)
    if kind is not None and found.dtype != np.dtype(kind):
        raise DataError(f"type of {name!r}", expected=np.dtype(kind).name, found=found.dtype.name)


def pair_names(patches: xr.Dataset) -> list[str]:
    """Return the names behind the codes 0, 1, … of the coordinate `pair`."""
    return str(patches["pair"].attrs["flag_meanings"]).split()


def split_slice(patches: xr.Dataset, split: str) -> slice:
    """Return the slice of `patch` that one split takes in a store sorted by split.

    Raises
    ------
    StoreError
        If the patches of the split do not stand together, as in the store of one pair.
    UnknownError
        If there is no such split.
    """
    where = np.flatnonzero(patches["split"].to_numpy() == split_code(split))
    if where.size == 0:
        return slice(0, 0)
    start, stop = int(where[0]), int(where[-1]) + 1
    if stop - start != where.size:
        raise StoreError(
            f"patches of split {split!r} do not stand together",
            expected="a combined store",
            remedy="Combine the pair stores first",
        )
    return slice(start, stop)
