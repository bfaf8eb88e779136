"""Exact resampling between two pixel grids that share an origin.

Each output pixel is a fixed weighted sum of source pixels, the same whatever window of the output
is asked for, so results do not depend on blocks, chunks or workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from gim_cv.errors import ConfigError
from gim_cv.patches import IGNORE, Window, transposed

Array = NDArray[Any]
Bool = NDArray[np.bool_]
METHODS = ("bilinear", "cubic")
"""Ways to enlarge; shrinking always averages by area."""
STRIP_PX = 2**16
"""Pixels that are best resampled at once: their sums take some megabytes."""
_DIGITS = 6  # class shares are compared after rounding, so that ties do not hang on float noise


@dataclass(frozen=True)
class Axis:
    """One axis of a resampling.

    Parameters
    ----------
    source, target
        Length before and after, px.
    factor
        Source px per target px.
    """

    source: int
    target: int
    factor: float

    def span(self, lo: int, hi: int, method: str) -> tuple[int, int]:
        """Return the source pixels [s0, s1) that the target pixels [lo, hi) are made of."""
        reach = reach_px(self.factor, method)
        s0 = math.floor(lo * self.factor - reach)
        s1 = math.ceil(hi * self.factor + reach)
        s0 = min(max(s0, 0), self.source - 1)
        return s0, max(min(s1, self.source), s0 + 1)

    def weights(self, lo: int, hi: int, method: str) -> csr_matrix:
        """Return the weights (hi - lo, s1 - s0) that make target pixels [lo, hi); rows sum to 1.

        At the edge of the raster, weight that would fall outside goes to the last pixel inside.
        """
        s0, s1 = self.span(lo, hi, method)
        index, weight = _TAPS[method](np.arange(lo, hi), self.factor)
        inside = np.clip(index, 0, self.source - 1)
        if method == "area":
            weight = np.where(index == inside, weight, 0)
        total = weight.sum(axis=1, keepdims=True)
        weight = np.where(total > 0, weight / np.where(total > 0, total, 1), _nearest(index))
        rows, _ = used = np.nonzero(weight)
        matrix = csr_matrix((weight[used], (rows, inside[used] - s0)), shape=(hi - lo, s1 - s0))
        matrix.sort_indices()
        return matrix


def reach_px(factor: float, method: str) -> float:
    """Return how far outside its own footprint a target pixel takes values from, source px."""
    if method == "area":
        return 0.0
    return (1.0 if method == "bilinear" else 2.0) - factor / 2


def _shown_px(factor: float, method: str) -> float:
    """Return how far the outer edge of a value's last source pixel is from the value's own edge."""
    return 1.0 if method == "area" else reach_px(factor, method) + 0.5


def _nearest(index: Array) -> Array:
    """Weight for a target pixel wholly outside the source: its first tap, clipped, counts."""
    weight = np.zeros(index.shape)
    weight[:, 0] = 1
    return weight


def _area(targets: Array, factor: float) -> tuple[Array, Array]:
    """Return taps and weights of the area average: the share of each source px covered."""
    lo, hi = (targets * factor)[:, None], ((targets + 1) * factor)[:, None]
    index = np.floor(lo).astype(np.int64) + np.arange(math.ceil(factor) + 1)
    weight = np.minimum(hi, index + 1) - np.maximum(lo, index)
    return index, np.where(weight > 1e-9, weight, 0)


def _bilinear(targets: Array, factor: float) -> tuple[Array, Array]:
    """Return taps and weights of linear interpolation between pixel centres."""
    centre = (targets + 0.5) * factor - 0.5
    first = np.floor(centre)
    t = centre - first
    index = first.astype(np.int64)[:, None] + np.arange(2)
    return index, np.stack([1 - t, t], axis=1)


def _cubic(targets: Array, factor: float) -> tuple[Array, Array]:
    """Return taps and weights of cubic convolution with a = −½ (Keys 1981, equation 8)."""
    centre = (targets + 0.5) * factor - 0.5
    first = np.floor(centre)
    t = (centre - first)[:, None]
    index = first.astype(np.int64)[:, None] + np.arange(-1, 3)
    d = np.abs(t - np.arange(-1, 3))
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return index, np.where(d <= 1, near, np.where(d < 2, far, 0))


def _cubic_support(targets: Array, factor: float) -> tuple[Array, Array]:
    """Return the taps of `_cubic` with the size of their weights."""
    index, weight = _cubic(targets, factor)
    return index, np.abs(weight)


_TAPS: dict[str, Callable[[Array, float], tuple[Array, Array]]] = {
    "area": _area,
    "bilinear": _bilinear,
    "cubic": _cubic,
    "cubic_support": _cubic_support,
}


@lru_cache(maxsize=64)
def _weights(axis: Axis, lo: int, hi: int, method: str, dtype: str) -> csr_matrix:
    return axis.weights(lo, hi, method).astype(dtype)


@dataclass(frozen=True)
class Resampler:
    """Resamples images and class masks from one grid to another with the same origin.

    Parameters
    ----------
    rows, cols
        The two axes.
    method
        "bilinear" or "cubic": how an axis is enlarged. An axis that shrinks is averaged by area.
    """

    rows: Axis
    cols: Axis
    method: str

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                "unknown resampling", expected=" or ".join(METHODS), found=self.method
            )

    @property
    def reach_px(self) -> float:
        """How far beyond its own edge a target pixel shows ground, target px.

        The source pixels that a value is made of are shown whole.
        """
        return max(
            _shown_px(axis.factor, self._way(axis, self.method)) / axis.factor
            for axis in (self.rows, self.cols)
        )

    def source_window(self, window: Window) -> Window:
        """Return the source pixels that decide the target pixels of `window`."""
        r0, r1 = self._span(self.rows, window.row0, window.row1)
        c0, c1 = self._span(self.cols, window.col0, window.col1)
        return Window(r0, c0, r1 - r0, c1 - c0)

    def image(self, image: Array, valid: Bool, window: Window) -> tuple[Array, Bool]:
        """Return target image and validity of `window`.

        Invalid source pixels have no weight; a target pixel is valid where at least half of its
        weight falls on valid ones. Where cubic would need an invalid pixel, it is bilinear.

        Parameters
        ----------
        image
            (h, w, C) of any real dtype: the pixels of `source_window(window)`; 0 where invalid.
        valid
            (h, w) bool.
        window
            Target window, inside the target grid.

        Returns
        -------
        image
            (window.height, window.width, C), dtype of the source, rounded; 0 where invalid.
        valid
            (window.height, window.width) bool.
        """
        dtype = _float_for(image.dtype)
        value = self._apply(image.astype(dtype), window, self.method)
        if valid.all():
            return _cast(value, image.dtype), np.ones(value.shape[:2], bool)
        missing = self._missing(valid, window, "bilinear", dtype)
        if self.method == "cubic":
            plain = self._apply(image.astype(dtype), window, "bilinear")
            broken = self._missing(valid, window, "cubic_support", dtype) > 0
            value = np.where(broken[..., None], plain, value)
        good = np.round(missing, _DIGITS) <= 0.5
        share = np.where(good & (missing > 0), 1 - missing, 1)
        value /= share[..., None]
        value[~good] = 0
        return _cast(value, image.dtype), good

    def classes(self, mask: Array, window: Window, n_classes: int, mask_fraction: float) -> Array:
        """Return the target class ids of `window`, by the area that each class covers.

        Of two classes, a pixel is 1 where class 1 covers more than `mask_fraction` of its labelled
        area. Of more, it is the class that covers most, the lower id in a tie. It is 255 where
        less than half of it is labelled.

        Parameters
        ----------
        mask
            (h, w) uint8 class ids of `source_window(window)`, 255 = ignore.
        window
            Target window, inside the target grid.
        n_classes
            Number of classes.
        mask_fraction
            Share of a pixel's area above which it is positive (two classes only), 0 to 1.

        Returns
        -------
        mask
            (window.height, window.width) uint8.
        """
        labelled = self._share(mask != IGNORE, window)
        if n_classes == 2:
            positive = np.round(self._share(mask == 1, window) - mask_fraction * labelled, _DIGITS)
            out = (positive > 0).astype(np.uint8)
        else:
            out = self._largest(mask, window)
        out[np.round(labelled, _DIGITS) < 0.5] = IGNORE
        return out

    def _largest(self, mask: Array, window: Window) -> Array:
        out = np.full((window.height, window.width), IGNORE, np.uint8)
        best = np.zeros(out.shape, np.float32)
        for class_id in np.unique(mask[mask != IGNORE]).tolist():
            share = np.round(self._share(mask == class_id, window), _DIGITS)
            out[share > best] = class_id
            best = np.maximum(best, share)
        return out

    def _share(self, where: Bool, window: Window) -> Array:
        """Return the share (height, width) of each target pixel's area where `where` holds."""
        if where.all():
            return np.ones((window.height, window.width), np.float32)
        if not where.any():
            return np.zeros((window.height, window.width), np.float32)
        return self._apply(where[..., None].astype(np.float32), window, "area")[..., 0]

    def _missing(self, valid: Bool, window: Window, method: str, dtype: Any) -> Array:
        return self._apply((~valid)[..., None].astype(dtype), window, method)[..., 0]

    def _apply(self, values: Array, window: Window, method: str) -> Array:
        """Return the weighted sums (height, width, C) of `values` (h, w, C), rows first."""
        source = self.source_window(window)
        dtype = values.dtype.name
        way = self._way(self.rows, method)
        down = _weights(self.rows, window.row0, window.row1, way, dtype)
        top = self.rows.span(window.row0, window.row1, way)[0] - source.row0
        way = self._way(self.cols, method)
        across = _weights(self.cols, window.col0, window.col1, way, dtype)
        left = self.cols.span(window.col0, window.col1, way)[0] - source.col0
        part = values[top : top + down.shape[1], left : left + across.shape[1]]
        return transposed(_along_rows(across, transposed(_along_rows(down, part))))

    @staticmethod
    def _way(axis: Axis, method: str) -> str:
        return "area" if axis.factor >= 1 else method

    def _span(self, axis: Axis, lo: int, hi: int) -> tuple[int, int]:
        spans = [axis.span(lo, hi, way) for way in ("area", self._way(axis, self.method))]
        return min(s[0] for s in spans), max(s[1] for s in spans)


def _along_rows(matrix: csr_matrix, values: Array) -> Array:
    """Return `matrix` (n, h) times `values` (h, w, C): (n, w, C)."""
    flat = np.ascontiguousarray(values).reshape(values.shape[0], -1)
    return np.asarray(matrix @ flat).reshape(matrix.shape[0], *values.shape[1:])


def _float_for(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    return np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64


def _cast(value: Array, dtype: np.dtype[Any]) -> Array:
    """Return `value` as `dtype`: rounded to even and clipped for integers."""
    if dtype.kind == "f":
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    np.rint(value, out=value)
    np.clip(value, limits.min, limits.max, out=value)
    return value.astype(dtype)
