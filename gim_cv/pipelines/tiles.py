"""Transformers that cut a raster into patches, and put it together again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gim_cv.errors import ConfigError, DataError
from gim_cv.patches import Int, PatchGrid, cut, step_px, stitch
from gim_cv.pipelines.step import Array, Step, joined


class Tiler(Step):
    """Cuts a raster (h, w, C) into square patches (N, p, p, C), row by row, side by side.

    Where the raster is no multiple of a patch, the last patch of a row or column is shifted back
    to end at the edge, so every pixel is in a patch and no two patches are the same.

    Parameters
    ----------
    window_dims
        Height and width of a patch, px; they are equal.

    Attributes
    ----------
    grid_ : gim_cv.patches.PatchGrid
        The patches of the raster it was fitted to; ``grid_.origins`` is where each begins.

    Examples
    --------
    >>> tiler = Tiler((4, 4))
    >>> tiler.fit_transform(np.zeros((10, 4, 3), np.uint8)).shape
    (3, 4, 4, 3)
    >>> tiler.grid_.origins[:, 0].tolist()
    [0, 4, 6]
    """

    _overlap: ClassVar[float] = 0.0

    def __init__(self, window_dims: Sequence[int]) -> None:
        self.window_dims = window_dims

    def transform(self, X: Array) -> Array:
        """Return the patches (N, p, p, C) of `X` (h, w, C); for dask, a row of them is a chunk."""
        check_is_fitted(self, "grid_")
        self._check(X, self._ndims)
        grid = self.grid_
        if X.shape[:2] != (grid.height, grid.width):
            raise DataError(
                f"{type(self).__name__} was fitted to another raster",
                expected=f"{grid.height} × {grid.width} px",
                found=f"{X.shape[0]} × {X.shape[1]} px",
                remedy="Call fit_transform",
            )
        if isinstance(X, np.ndarray):
            return cut(X, grid.origins, grid.patch_px)
        return joined([_cut_row(X, grid, row) for row in grid.rows.tolist()], axis=0)

    def inverse_transform(self, X: Array) -> Array:
        """Return the raster (h, w, C) of the patches `X` (N, p, p, C), any number of bands.

        Where patches overlap and differ, the one further down, then further right, wins.
        """
        check_is_fitted(self, "grid_")
        self._check(X, (4,))
        grid = self.grid_
        if X.shape[:3] != (len(grid), grid.patch_px, grid.patch_px):
            raise DataError(
                "these are not the patches of the raster",
                expected=(len(grid), grid.patch_px, grid.patch_px),
                found=X.shape[:3],
            )
        if isinstance(X, np.ndarray):
            return stitch(X, grid.origins, grid.height, grid.width)
        ends = enumerate(pairwise([*grid.rows.tolist(), grid.height]))
        return joined([_stitch_row(X, grid, i, r1 - r0) for i, (r0, r1) in ends], axis=0)

    def _learn(self, X: Array) -> None:
        side = side_px(self.window_dims)
        if min(X.shape[:2]) < side:
            raise DataError(
                "the raster is smaller than a patch",
                expected=f"{side} × {side} px or more",
                found=f"{X.shape[0]} × {X.shape[1]} px",
                remedy="Put an ArrayPadder before the tiler",
            )
        self.grid_ = PatchGrid(X.shape[0], X.shape[1], side, step_px(side, self._overlap))


class OverlappingTiler(Tiler):
    """A `Tiler` whose patches lie half a patch apart: about four times as many.

    Parameters
    ----------
    window_dims
        Height and width of a patch, px; they are equal.

    Attributes
    ----------
    grid_ : gim_cv.patches.PatchGrid
        The patches of the raster it was fitted to; ``grid_.origins`` is where each begins.
    """

    _overlap: ClassVar[float] = 0.5


def side_px(window_dims: Sequence[int]) -> int:
    """Return the side of the square patches that are `window_dims` = (height, width) px.

    Raises
    ------
    ConfigError
        It is no pair of equal whole numbers.
    """
    if not isinstance(window_dims, Sequence) or len(window_dims) != 2:
        raise ConfigError(
            "window_dims is not a pair", expected="e.g. (256, 256) px", found=window_dims
        )
    height, width = window_dims
    if not isinstance(height, int | np.integer) or height != width:
        raise ConfigError(
            "patches are not square", expected="e.g. (256, 256) px", found=window_dims
        )
    return int(height)


def _row_origins(grid: PatchGrid) -> Int:
    """Return the origins of a row of patches in the strip of raster that holds it."""
    return np.stack([np.zeros_like(grid.cols), grid.cols], axis=1)


def _cut_row(X: Any, grid: PatchGrid, row: int) -> Array:
    """Return one row of patches as one chunk. A strip is what has to be in memory for it."""
    strip = X[row : row + grid.patch_px].rechunk(-1)
    work = partial(cut, origins=_row_origins(grid), patch_px=grid.patch_px)
    chunks = (grid.cols.size, grid.patch_px, grid.patch_px, X.shape[2])
    meta = np.empty((0, 0, 0, 0), X.dtype)
    return strip.map_blocks(work, new_axis=0, chunks=[(n,) for n in chunks], meta=meta)


def _stitch_row(X: Any, grid: PatchGrid, index: int, height: int) -> Array:
    """Return the first `height` px of the strip that the row of patches number `index` covers."""
    count = grid.cols.size
    patches = X[index * count : (index + 1) * count].rechunk(-1)
    work = partial(stitch, origins=_row_origins(grid), height=grid.patch_px, width=grid.width)
    chunks = (grid.patch_px, grid.width, X.shape[3])
    meta = np.empty((0, 0, 0), X.dtype)
    return patches.map_blocks(work, drop_axis=0, chunks=[(n,) for n in chunks], meta=meta)[:height]
