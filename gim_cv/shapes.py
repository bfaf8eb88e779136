"""Shapes in pixel coordinates: moved, grown, and burnt by window.

Coordinates lie on a lattice of 1/1024 px. Differences of such coordinates are exact, so that a
window burnt alone equals the same window of a whole burn, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.edges import LATTICE, Edges, held, passed, ranges
from gim_cv.grid import PixelGrid
from gim_cv.patches import MOST_PX, Window

Array = NDArray[Any]
Bool = NDArray[np.bool_]
_BAND_PX = 2**19  # painted at once, so that memory does not grow with the window
_LONG_PX = 64  # spans longer than this are painted one by one


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
        values = self.values[near]
        for band, spans in self._spans(near, window):
            part = out[band.within(window)]
            if values.min() == values.max():
                part[_covered(spans, part.shape)] = values[0]
            else:
                row, start, stop, rank = spans[:, np.argsort(spans[3], kind="stable")]
                span, col = ranges(start, stop)
                part[row[span], col] = values[rank[span]]  # of equal pixels, the last stays
        return out

    def covers(self, window: Window) -> Bool | None:
        """Return (height, width) bool: pixels of a window that any shape covers; None if none."""
        near = self._tree.query(_box(window), predicate="intersects")
        out = np.zeros((window.height, window.width), bool)
        for band, spans in self._spans(np.sort(near), window):
            out[band.within(window)] = _covered(spans, (band.height, band.width))
        return out if near.size and out.any() else None

    def _spans(self, near: Array, window: Window) -> Iterator[tuple[Window, Array]]:
        """Yield the parts of a window where some shapes lie, and their spans (see `edges.held`)."""
        part = self._around(near, window)
        rows = max(1, _BAND_PX // max(part.width, 1))
        for row0 in range(part.row0, part.row1, rows):
            band = Window(row0, part.col0, min(rows, part.row1 - row0), part.width)
            ends, rank = self._edges.near(near, band)
            spans = held(ends, rank, band)
            if self.all_touched:
                spans = np.concatenate([spans, passed(ends, rank, band)], axis=1)
            yield band, spans

    def _around(self, near: Array, window: Window) -> Window:
        """Return the part of a window that holds all of some shapes."""
        if near.size == 0:
            return Window(window.row0, window.col0, 0, 0)
        west, north, east, south = shapely.total_bounds(self.geometries[near])
        row0, col0 = max(window.row0, math.floor(north)), max(window.col0, math.floor(west))
        row1, col1 = min(window.row1, math.ceil(south)), min(window.col1, math.ceil(east))
        return Window(row0, col0, max(row1 - row0, 0), max(col1 - col0, 0))


def _covered(spans: Array, shape: tuple[int, ...]) -> Bool:
    """Return (height, width) bool: pixels that any of the spans (4, s) covers."""
    row, start, stop, _ = spans
    size, first = stop - start, row * shape[1] + start
    out = np.zeros(shape, bool)
    pixels = out.reshape(-1)
    long = size > _LONG_PX
    for begin, count in zip(first[long].tolist(), size[long].tolist(), strict=True):
        pixels[begin : begin + count] = True
    first, size = first[~long], size[~long]
    first = first[np.argsort(-size.astype(np.int8), kind="stable")]
    left = len(first) - np.cumsum(np.bincount(size))
    for step, count in enumerate(left.tolist()):  # the next pixel of all spans that have one
        pixels[first[:count] + step] = True
    return out


def _box(window: Window) -> shapely.Polygon:
    return shapely.box(window.col0, window.row0, window.col1, window.row1)


def _polygonal(geometries: Array) -> Array:
    """Return geometries whose collections have become the union of the polygons in them."""
    mixed = np.flatnonzero(
        shapely.get_type_id(geometries) == shapely.GeometryType.GEOMETRYCOLLECTION
    )
    if mixed.size == 0:
        return geometries
    out = geometries.copy()
    for index in mixed.tolist():
        parts = shapely.get_parts(geometries[[index]])
        while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
            parts = shapely.get_parts(parts)
        out[index] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    return out


def on_lattice(geometries: Array) -> Array:
    """Return polygons with coordinates rounded to 1/1024 px, cut off `MOST_PX` from the origin.

    So far out no raster reaches, and products of coordinates still fit in 64 bits.
    """
    far = np.abs(shapely.bounds(geometries)).max(axis=1) > MOST_PX
    near = geometries.copy()
    near[far] = shapely.intersection(
        geometries[far], shapely.box(-MOST_PX, -MOST_PX, MOST_PX, MOST_PX)
    )
    near = _polygonal(near)
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
