"""Which patches are worth keeping, and why the others are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.errors import DataError

Array = NDArray[Any]
Bool = NDArray[np.bool_]
PruneFn = Callable[[Array, Array], bool]
"""Takes image (h, w, C) and mask (h, w, 1) of a patch; True drops it."""

REASONS = {
    "invalid": "with too few valid pixels",
    "unlabelled": "with too few labelled pixels",
    "black": "of which every valid pixel is 0",
    "white": "of which every valid pixel has the largest value of its type",
    "constant": "of one single value",
    "prune_fn": "dropped by the prune function",
}
"""Why a patch is dropped ("9 patches …"), in the order in which reasons are tried."""


def reason_to_drop(
    image: Array,
    mask: Array,
    valid: Bool,
    *,
    valid_px: int,
    labelled_px: int,
    min_valid: float,
    min_labelled: float,
    prune_fn: PruneFn | None,
) -> str | None:
    """Return the first of `REASONS` that a patch gives to drop it, or None.

    Parameters
    ----------
    image
        (h, w, C), 0 where invalid.
    mask
        (h, w, 1) uint8, 255 = ignore.
    valid
        (h, w) bool.
    valid_px, labelled_px
        How many pixels are valid, and how many are not 255.
    min_valid, min_labelled
        Least share of valid pixels, and of pixels that are not 255.
    prune_fn
        See `PruneFn`.
    """
    if valid_px == 0 or valid_px < min_valid * valid.size:
        return "invalid"
    if labelled_px == 0 or labelled_px < min_labelled * valid.size:
        return "unlabelled"
    flat = _flat(image, valid)
    if flat is not None:
        return flat
    return "prune_fn" if prune_fn is not None and prune_fn(image, mask) else None


def _flat(image: Array, valid: Bool) -> str | None:
    """Return "black", "white" or "constant" where all valid pixels are equal, else None."""
    few = image[::16, ::16][valid[::16, ::16]]  # most patches are told from a few pixels
    if (few != few[:1]).any():
        return None
    pixels = image[valid]
    first = pixels[0]
    if (pixels != first).any():
        return None
    if (first == 0).all():
        return "black"
    if image.dtype.kind in "ui" and (first == np.iinfo(image.dtype).max).all():
        return "white"
    return "constant"


def nothing_kept(dropped: dict[str, int], *, pair: str) -> DataError:
    """Return the error of a pair whose patches have all been dropped."""
    why = ", ".join(f"{count} {REASONS[key]}" for key, count in sorted(dropped.items()))
    return DataError(
        f"pair {pair}: no patch is left",
        expected="at least one patch",
        found=why or "none: the raster holds no ground of any split",
        remedy="Lower min_valid or min_labelled, or check nodata, aoi and the labels",
    )
