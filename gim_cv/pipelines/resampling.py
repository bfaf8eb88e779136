"""A transformer that changes the resolution of a raster."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import dask.array as da
import numpy as np

from gim_cv.errors import ConfigError, DataError
from gim_cv.patches import IGNORE, Window
from gim_cv.pipelines.step import Array, Step, joined
from gim_cv.resample import Axis, Resampler


class ImageResampler(Step):
    """Changes the resolution of a raster; the result does not depend on dask's chunks.

    Images are averaged by area when shrinking and interpolated linearly when enlarging. Masks of
    class 0, 1 and 255 (ignore) go by area: a pixel is 1 where class 1 covers more than
    `mask_fraction` of its labelled part, and 255 where less than half of it is labelled. It has no
    inverse.

    Parameters
    ----------
    sf
        Scale factor: pixels after for each pixel before, along each axis; 0.5 halves the
        resolution.
    preserve_int
        Whether images of integers stay integers of that dtype (rounded); else they become float.
    resample_tolerance
        If `sf` differs from 1 by no more than this, the raster is returned as it is.
    is_mask
        Whether the raster holds class ids (h, w, 1), not an image.
    mask_fraction
        Share of a pixel above which it is positive, from 0 up to 1; masks only.

    Examples
    --------
    >>> image = np.array([[[0], [2], [9], [9]], [[0], [2], [9], [9]]], np.uint8)
    >>> ImageResampler(0.5).transform(image)[..., 0]
    array([[1, 9]], dtype=uint8)
    """

    _stateful: ClassVar[bool] = False

    def __init__(
        self,
        sf: float = 1.0,
        *,
        preserve_int: bool = True,
        resample_tolerance: float = 0.01,
        is_mask: bool = False,
        mask_fraction: float = 0.1,
    ) -> None:
        self.sf = sf
        self.preserve_int = preserve_int
        self.resample_tolerance = resample_tolerance
        self.is_mask = is_mask
        self.mask_fraction = mask_fraction

    def transform(self, X: Array) -> Array:
        """Return `X` (h, w, C) with round(h · sf) × round(w · sf) pixels, at least 1 × 1.

        Raises
        ------
        DataError
            A mask has another value than 0, 1 and 255 (for dask: when it is computed).
        """
        self._check(X, self._ndims)
        self._learn(X)
        if abs(self.sf - 1) <= self.resample_tolerance:
            return X
        resampler = Resampler(self._axis(X.shape[0]), self._axis(X.shape[1]), "bilinear")
        if self.is_mask:
            dtype = np.dtype(np.uint8)
            piece = partial(_mask, resampler=resampler, mask_fraction=self.mask_fraction)
        else:
            dtype = X.dtype if self.preserve_int else np.result_type(X.dtype, np.float32)
            piece = partial(_image, resampler=resampler, dtype=dtype)
        if isinstance(X, da.Array):
            return _lazy(X, resampler, piece, dtype)
        whole = Window(0, 0, resampler.rows.target, resampler.cols.target)
        return piece(X[resampler.source_window(whole).slices], window=whole)

    def _axis(self, length: int) -> Axis:
        # As the size of PixelGrid.resampled, so that stages and pipelines give the same pixels.
        factor = 1 / self.sf
        return Axis(length, max(1, math.floor(length / factor + 0.5)), factor)

    def _learn(self, X: Array) -> None:
        if not (math.isfinite(self.sf) and self.sf > 0):
            raise ConfigError("sf is not a scale", expected="more than 0", found=self.sf)
        if self.resample_tolerance < 0:
            raise ConfigError(
                "resample_tolerance is negative",
                expected="0 or more",
                found=self.resample_tolerance,
            )
        if not 0 <= self.mask_fraction < 1:
            raise ConfigError(
                "mask_fraction is not a share",
                expected="0 ≤ mask_fraction < 1",
                found=self.mask_fraction,
            )
        if 0 in X.shape:
            raise DataError("the raster is empty", expected="pixels and bands", found=X.shape)
        if self.is_mask and X.shape[-1] != 1:
            raise DataError("a mask has one band of class ids", expected=1, found=X.shape[-1])
        if not self.is_mask and X.dtype.kind == "b":
            raise DataError("an image is not of truth values", remedy="Use is_mask=True")


def _image(part: Any, *, resampler: Resampler, window: Window, dtype: np.dtype[Any]) -> Any:
    """Return the image pixels (h, w, C) of a target window from the source pixels behind it."""
    return resampler.image(part.astype(dtype), np.ones(part.shape[:2], bool), window)[0]


def _mask(part: Any, *, resampler: Resampler, window: Window, mask_fraction: float) -> Any:
    """Return the class ids (h, w, 1) of a target window from the source pixels behind it."""
    mask = part[..., 0]
    strange = (mask != 0) & (mask != 1) & (mask != IGNORE)
    if strange.any():
        raise DataError(
            "the mask is not binary",
            expected=f"0, 1 and {IGNORE} (ignore)",
            found=mask[strange][0],
            remedy="Put a BinariserRGB before the resampler",
        )
    return resampler.classes(mask, window, n_classes=2, mask_fraction=mask_fraction)[..., None]


def _lazy(X: Any, resampler: Resampler, piece: Callable[..., Any], dtype: np.dtype[Any]) -> Array:
    """Return the resampled dask array, in chunks that lie where those of `X` do."""
    rows = [
        joined(
            [
                _block(X, resampler, partial(piece, window=window), window, dtype)
                for c0, c1 in pairwise(_edges(X.chunks[1], resampler.cols))
                for window in [Window(r0, c0, r1 - r0, c1 - c0)]
            ],
            axis=1,
        )
        for r0, r1 in pairwise(_edges(X.chunks[0], resampler.rows))
    ]
    return joined(rows, axis=0)


def _block(
    X: Any,
    resampler: Resampler,
    piece: Callable[..., Any],
    window: Window,
    dtype: np.dtype[Any],
) -> Array:
    """Return the dask array of one chunk that holds `window` of the target."""
    part = X[resampler.source_window(window).slices].rechunk(-1)
    chunks = ((window.height,), (window.width,), (X.shape[2],))
    return part.map_blocks(piece, chunks=chunks, meta=np.empty((0, 0, 0), dtype))


def _edges(chunks: tuple[int, ...], axis: Axis) -> list[int]:
    """Return where target chunks begin and end along an axis, px: near the source's edges."""
    edges = np.rint(np.cumsum(chunks[:-1]) / axis.factor).clip(0, axis.target)
    return sorted({0, *edges.astype(int).tolist(), axis.target})
