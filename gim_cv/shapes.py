"""Shapes in pixel coordinates: moved, grown, and burnt by window.

Coordinates lie on a lattice of 1/1024 px. Differences of such coordinates are exact, so that a
window burnt alone equals the same window of a whole burn, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.edges import LATTICE, Edges, held, passed, ranges
from gim_cv.grid import PixelGrid
from gim_cv.patches import MOST_PX, Window

Array = NDArray[Any]
_BAND_PX = 2**19  # painted at once, so that memory does not grow with the window


@dataclass(frozen=True)
class Shapes:
    """Geometries in pixel coordinates (x = column, y = row) that burn by window.

    Attributes
    ----------
    geometries
        (n,) shapely geometries, in the order in which they are painted: later ones win.
    values
        (n,) uint8 to burn.
    all_touched
        True: every pixel that a shape covers some of; False: every pixel whose centre it holds.
    """

    geometries: Array
    values: Array
    all_touched: bool
    _tree: shapely.STRtree = field(init=False, compare=False, repr=False)
    _edges: Edges = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", shapely.STRtree(self.geometries))
        object.__setattr__(self, "_edges", Edges.of(self.geometries))

    def meets(self, window: Window) -> bool:
        """Return whether any shape meets the window."""
        return bool(self._tree.query(_box(window), predicate="intersects").size > 0)

    def burn(self, window: Window, background: int) -> Array:
        """Return (height, width) uint8 of a window: last shape on each pixel, or `background`."""
        out = np.full((window.height, window.width), background, np.uint8)
        near = np.sort(self._tree.query(_box(window)))
        part = self._around(near, window)
        rows = max(1, _BAND_PX // max(part.width, 1))
        for row0 in range(part.row0, part.row1, rows):
            band = Window(row0, part.col0, min(rows, part.row1 - row0), part.width)
            self._paint(out[band.within(window)], near, band)
        return out

    def _around(self, near: Array, window: Window) -> Window:
        """Return the part of a window that holds all of some shapes."""
        if near.size == 0:
            return Window(window.row0, window.col0, 0, 0)
        west, north, east, south = shapely.total_bounds(self.geometries[near])
        row0, col0 = max(window.row0, math.floor(north)), max(window.col0, math.floor(west))
        row1, col1 = min(window.row1, math.ceil(south)), min(window.col1, math.ceil(east))
        return Window(row0, col0, max(row1 - row0, 0), max(col1 - col0, 0))

    def _paint(self, out: Array, near: Array, window: Window) -> None:
        """Paint shapes into `out` (height, width), a window, in place."""
        ends, rank = self._edges.near(near, window)
        spans = held(ends, rank, window)
        if self.all_touched:
            spans = np.concatenate([spans, passed(ends, rank, window)], axis=1)
        values = self.values[near]
        if values.min() == values.max():
            _fill(out, spans, values[0])
        else:
            row, start, stop, rank = spans[:, np.argsort(spans[3], kind="stable")]
            span, col = ranges(start, stop)
            out[row[span], col] = values[rank[span]]  # of equal pixels, the last stays


def _fill(out: Array, spans: Array, value: np.uint8) -> None:
    """Paint spans (4, s) of one value into `out` (height, width), in place."""
    row, start, stop, _ = spans
    if (stop - start).sum() * 8 < out.size:
        span, col = ranges(start, stop)
        out[row[span], col] = value
        return
    layers = np.zeros((out.shape[0], out.shape[1] + 1), np.int32)  # how many begin, less end, here
    np.add.at(layers, (row, start), 1)
    np.subtract.at(layers, (row, stop), 1)
    out[np.add.accumulate(layers, axis=1)[:, :-1] > 0] = value


def _box(window: Window) -> shapely.Polygon:
    return shapely.box(window.col0, window.row0, window.col1, window.row1)


def on_lattice(geometries: Array) -> Array:
    """Return polygons with coordinates rounded to 1/1024 px, cut off `MOST_PX` from the origin.

    So far out no raster reaches, and products of coordinates still fit in 64 bits.
    """
    far = np.abs(shapely.bounds(geometries)).max(axis=1) > MOST_PX
    near = geometries.copy()
    near[far] = shapely.intersection(
        geometries[far], shapely.box(-MOST_PX, -MOST_PX, MOST_PX, MOST_PX)
    )
    return np.asarray(shapely.transform(near, lambda xy: np.round(xy * LATTICE) / LATTICE))


def grown(geometries: Array, metres: float, grid: PixelGrid, *, extra_px: float = 0) -> Array:
    """Return geometries (pixel coordinates) grown by `metres` on the ground and `extra_px` px."""
    down, across = grid.resolution_m
    scale = np.array([across, down])
    wide = shapely.buffer(
        shapely.transform(geometries, lambda xy: xy * scale),
        metres + extra_px * float(scale.max()),
        join_style="mitre",
    )
    return np.asarray(shapely.transform(wide, lambda xy: xy / scale))
