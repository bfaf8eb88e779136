"""Overlapping windows of predictions, put together without seams, a strip of rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.patches import Int, PatchGrid, Window

Array = NDArray[Any]
Float = NDArray[np.float32]


def taper(size: int) -> Float:
    """Return the weight (size,) of a window's pixels along one axis: least at its edges, never 0.

    Source: the window of Hann, sampled between its zeros: sin²(π (k + ½) / size).

    Examples
    --------
    >>> taper(4).round(3).tolist()
    [0.146, 0.854, 0.854, 0.146]
    """
    return np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32) ** 2


def shares(starts: Int, size: int) -> Float:
    """Return each window's share (window, size) in its pixels along one axis.

    The shares of all windows in a pixel sum to 1. Windows stand on a grid, so that their shares in
    a pixel of the raster are products of those along its axes.

    Parameters
    ----------
    starts
        Where windows begin, px.
    size
        Their length, px.
    """
    weight, total = taper(size), np.zeros(int(starts.max()) + size, np.float32)
    for start in starts.tolist():
        total[start : start + size] += weight
    return np.stack([weight / total[start : start + size] for start in starts.tolist()])


def blended(
    predictions: Iterable[tuple[Window, Array]], grid: PatchGrid, channels: int, first_row: int = 0
) -> Iterator[tuple[int, Float]]:
    """Yield the weighted means of overlapping windows, in strips of rows from the top down.

    Memory: one row of windows, whatever the height of the raster.

    Parameters
    ----------
    predictions
        Windows of `grid`, row by row, each with its values (patch_px, patch_px, channels). A pixel
        of a window that is left out has less than its due: leave out those alone that nobody reads.
    grid
        The windows of a raster.
    channels
        Values a pixel.
    first_row
        Row to begin with, px; of windows, those that end above it are not needed.

    Yields
    ------
    row
        First row of a strip, px; the first is `first_row`, and each follows on the one before.
    values
        (rows, width, channels) float32; 0 where no window was.
    """
    for row, strip in _strips(predictions, grid, channels, first_row):
        if row + len(strip) > first_row:
            yield max(row, first_row), strip[max(first_row - row, 0) :]


def _strips(
    predictions: Iterable[tuple[Window, Array]], grid: PatchGrid, channels: int, first_row: int
) -> Iterator[tuple[int, Float]]:
    """Yield the finished rows, from the first row of the first window that reaches `first_row`."""
    size = grid.patch_px
    down = dict(zip(grid.rows.tolist(), shares(grid.rows, size), strict=True))
    across = dict(zip(grid.cols.tolist(), shares(grid.cols, size), strict=True))
    total = np.zeros((size, grid.shape[1], channels), np.float32)
    top = int(rows_from(grid, first_row).min(initial=grid.height))
    for window, values in predictions:
        yield from _finished(total, top, window.row0, grid.width)
        top = window.row0
        share = down[window.row0][:, None] * across[window.col0]
        total[:, window.col0 : window.col1] += share[..., None] * values
    yield from _finished(total, top, grid.height, grid.width)


def rows_from(grid: PatchGrid, first_row: int) -> Int:
    """Return where the rows of windows begin, px, that have a pixel at or below `first_row`."""
    rows = grid.rows
    return rows[(rows + grid.patch_px > first_row) & (first_row < grid.height)]


def _finished(total: Float, top: int, until: int, width: int) -> Iterator[tuple[int, Float]]:
    """Yield the rows from `top` to `until`, to which no window adds any more; move the rest up."""
    while top < until:
        rows = min(until - top, len(total))
        yield top, total[:rows, :width].copy()
        total[: len(total) - rows] = total[rows:]
        total[len(total) - rows :] = 0
        top += rows
