"""Shapes in pixel coordinates: moved, grown, and burnt by window.

Coordinates lie on a lattice of 1/1024 px. Differences of such coordinates are exact, so that a
window burnt alone equals the same window of a whole burn, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.edges import LATTICE, Edges, held, passed
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
        return self._tree.query(_box(window), predicate="intersects").size > 0

    def burn(self, window: Window, background: int) -> Array:
        """Return (height, width) uint8 of a window: last shape on each pixel, or `background`."""
        out = np.full((window.height, window.width), background, np.uint8)
        rows = max(1, _BAND_PX // window.width)
        for row in range(0, window.height, rows):
            height = min(rows, window.height - row)
            self._paint(
                out[row : row + height], replace(window, row0=window.row0 + row, height=height)
            )
        return out

    def _paint(self, out: Array, window: Window) -> None:
        """Paint a window into `out` (height, width), in place."""
        near = np.sort(self._tree.query(_box(window)))
        if near.size == 0:
            return
        ends, rank = self._edges.near(near, window)
        pixel, painter = held(ends, rank, window)
        if self.all_touched:
            edge_pixel, edge_painter = passed(ends, rank, window)
            pixel = np.concatenate([pixel, edge_pixel])
            painter = np.concatenate([painter, edge_painter])
            order = np.argsort(painter, kind="stable")
            pixel, painter = pixel[order], painter[order]
        out.reshape(-1)[pixel] = self.values[near[painter]]  # of equal pixels, the last stays


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
