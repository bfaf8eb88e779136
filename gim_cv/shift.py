"""How far labels lie from what they outline: edges of the mask against edges of the image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gim_cv.patches import IGNORE

Array = NDArray[Any]
REACH_PX = 12
"""Largest shift looked for, px."""
MIN_EDGE_PX = 200
"""Fewer pixels on outlines than this say nothing."""
MIN_GAIN = 1.1
"""How much stronger image edges must be under the shifted outlines than under the given ones."""


def label_shift(samples: Iterable[tuple[Array, Array]]) -> tuple[int, int] | None:
    """Return the shift (rows, columns; px) that would move the labels onto the image's edges.

    The outlines of the labelled classes are laid over the image's gradient at every shift up to
    `REACH_PX`; the one with the strongest mean gradient under the outlines wins.

    Parameters
    ----------
    samples
        Images (h, w, C) of any dtype, each with its mask (h, w) uint8 of class ids, 255 = ignore.

    Returns
    -------
    tuple of int or None
        (0, 0) where no shift is clearly better; None where there are too few outlines to tell.

    Source: cross-correlation of edge maps, as in Barrow et al. 1977, "Parametric correspondence
    and chamfer matching", with the gradient in place of the distance.
    """
    side = 2 * REACH_PX + 1
    total, count = np.zeros((side, side)), 0
    for image, mask in samples:
        outline = _outline(mask)
        if outline.any():
            total += _correlation(_gradient(image), outline)
            count += int(outline.sum())
    if count < MIN_EDGE_PX:
        return None
    row, col = np.unravel_index(int(total.argmax()), total.shape)
    here = max(total[REACH_PX, REACH_PX], count * np.finfo(np.float32).eps)
    if total[row, col] < MIN_GAIN * here:
        return 0, 0
    return int(row) - REACH_PX, int(col) - REACH_PX


def _outline(mask: Array) -> Array:
    """Return (h, w) bool: the outermost pixels of each class, away from ignore and the border."""
    known = mask != IGNORE
    same = ndimage.minimum_filter(mask, 3) == mask
    edge = known & (mask > 0) & ~same & ndimage.minimum_filter(known, 3)
    inner = np.zeros_like(edge)
    inner[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX] = True
    return np.asarray(edge & inner)


def _gradient(image: Array) -> Array:
    grey = image.mean(axis=-1, dtype=np.float32)
    steep = ndimage.gaussian_gradient_magnitude(grey, 1.0)
    # A few glaring edges must not outvote the rest.
    return np.asarray(np.minimum(steep, np.percentile(steep, 95)))


def _correlation(gradient: Array, outline: Array) -> Array:
    """Return the sum of `gradient` under `outline`, moved by -`REACH_PX` to `REACH_PX` each way.

    Outlines keep `REACH_PX` from the border, so that nothing comes round from the other side.
    """
    product = np.fft.rfft2(gradient) * np.fft.rfft2(outline).conj()
    sums = np.roll(np.fft.irfft2(product, gradient.shape), REACH_PX, axis=(0, 1))
    return np.asarray(sums[: 2 * REACH_PX + 1, : 2 * REACH_PX + 1])
