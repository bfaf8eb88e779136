"""The windows of a scene that are worth a look, row by row; the next row is read ahead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gim_cv.blending import rows_from
from gim_cv.patches import PatchGrid, Window
from gim_cv.raster import ImageSource

Array = NDArray[Any]
Row = tuple[int, Array, NDArray[np.bool_]]


def rows_of_windows(image: ImageSource, grid: PatchGrid, first_row: int) -> Iterator[Row]:
    """Yield rows of windows that reach `first_row`: where they begin, px, pixels, which are shown.

    Shown is each pixel with an image. Of a resampled scene, its neighbours are too: a pixel of the
    scene's own grid, at the edge of the image, takes its class from some that have none.
    """
    margin = _margin_px(image)
    inside = np.s_[margin : margin + grid.patch_px, margin : margin + grid.shape[1]]

    def read(row: int) -> tuple[Array, NDArray[np.bool_]]:
        wanted = Window(row, 0, grid.patch_px, grid.shape[1])
        pixels, valid = image.read(wanted.grown(margin))
        if margin:
            valid = ndimage.maximum_filter(valid, 2 * margin + 1, mode="constant")
        return pixels[inside], valid[inside]

    wanted = rows_from(grid, first_row).tolist()
    with ThreadPoolExecutor(1, "scene") as reader:
        coming = [reader.submit(read, row) for row in wanted[:1]]
        for row, following in zip_longest(wanted, wanted[1:]):
            found = coming.pop().result()
            coming += [] if following is None else [reader.submit(read, following)]
            yield row, *found


def _margin_px(image: ImageSource) -> int:
    """Return how far a pixel of the own grid reaches beyond pixels that are valid with it, px."""
    if image.resampler is None:
        return 0
    axes = image.resampler.rows, image.resampler.cols
    return 2 + max(math.ceil(1 / axis.factor) for axis in axes)


def shown_windows(rows: Iterable[Row], grid: PatchGrid) -> Iterator[tuple[Window, Array]]:
    """Yield the windows with a pixel that is shown, and their pixels (h, w, C)."""
    for row, pixels, shown in rows:
        for col in grid.cols.tolist():
            part = slice(col, col + grid.patch_px)
            if shown[:, part].any():
                yield Window(row, col, grid.patch_px, grid.patch_px), pixels[:, part]
