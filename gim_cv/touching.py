"""Which pixels the edges of polygons pass through, in whole numbers.

GDAL's own "all touched" walks along an edge in floating point; where an edge meets a pixel's
corner, its answer depends on where the raster begins. Here coordinates are integers, so that a
pixel is touched or not whatever window is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.patches import Window

Array = NDArray[Any]
Int = NDArray[np.int64]
LATTICE = 1024
"""Steps per pixel of the lattice that coordinates lie on."""


@dataclass(frozen=True)
class Edges:
    """The edges of polygons.

    Attributes
    ----------
    ends
        (n, 4) int64 x0, y0, x1, y1 in lattice steps; x0 ≤ x1.
    owner
        (n,) int64 index of the polygon, ascending.
    """

    ends: Int
    owner: Int

    @classmethod
    def of(cls, geometries: Array) -> Edges:
        """Return the edges of all rings of `geometries`, whose coordinates are on the lattice."""
        polygons, polygon_owner = shapely.get_parts(geometries, return_index=True)
        rings, ring_polygon = shapely.get_rings(polygons, return_index=True)
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        steps = np.rint(xy * LATTICE).astype(np.int64)
        joined = ring[1:] == ring[:-1]
        start, end = steps[:-1][joined], steps[1:][joined]
        flip = start[:, 0] > end[:, 0]
        start[flip], end[flip] = end[flip], start[flip]
        owner = polygon_owner[ring_polygon[ring[1:][joined]]]
        return cls(np.concatenate([start, end], axis=1), owner.astype(np.int64))

    def pixels(self, near: Int, window: Window) -> tuple[Int, Int]:
        """Return which pixels of a window the edges of some polygons pass through.

        Only the inside of a pixel counts: an edge along its border, or through its corner, does
        not touch it.

        Parameters
        ----------
        near
            Sorted indices of the polygons to look at.
        window
            The window.

        Returns
        -------
        pixel
            (m,) row × width + column in the window, with repetitions.
        rank
            (m,) position in `near` of the polygon, ascending.
        """
        first = np.searchsorted(self.owner, near, "left")
        rank, which = _ranges(first, np.searchsorted(self.owner, near, "right"))
        x0, y0, x1, y1 = self._local(which, window)
        width, height = window.width * LATTICE, window.height * LATTICE
        low, high = np.minimum(y0, y1), np.maximum(y0, y1)
        meets = np.flatnonzero((x1 >= 0) & (x0 <= width) & (high >= 0) & (low <= height))
        edge, col = _crossed(x0[meets], x1[meets], window.width)
        at = meets[edge]
        low, high, unit = _span_in_column(x0[at], y0[at], x1[at], y1[at], col)
        item, row = _crossed(low, high, window.height, unit)
        return row * window.width + col[item], rank[at[item]]

    def _local(self, which: Int, window: Window) -> tuple[Int, Int, Int, Int]:
        """Return x0, y0, x1, y1 of some edges, lattice steps from the window's corner."""
        corner = np.array([window.col0, window.row0, window.col0, window.row0]) * LATTICE
        x0, y0, x1, y1 = (self.ends[which] - corner).T
        return x0, y0, x1, y1


def _ranges(first: Int, stop: Int) -> tuple[Int, Int]:
    """Return, of the ranges [first, stop) one after another, the range and the number of each."""
    count = np.maximum(stop - first, 0)
    which = np.repeat(np.arange(len(first)), count)
    within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    return which, first[which] + within


def _crossed(low: Int, high: Int, cells: int, unit: Int | int = 1) -> tuple[Int, Int]:
    """Return which cells, among 0 … cells - 1, the open intervals (low, high) meet.

    An interval of length 0 meets the cell that it is inside of, if any. Positions are in lattice
    steps times `unit`.
    """
    size = LATTICE * unit
    first = np.maximum(low // size, 0)
    stop = np.minimum(-(-high // size), cells)
    return _ranges(first, stop)


def _span_in_column(x0: Int, y0: Int, x1: Int, y1: Int, col: Int) -> tuple[Int, Int, Int]:
    """Return the lowest and highest y of edges within a column of pixels, times x1 - x0 (or 1)."""
    dx, dy = x1 - x0, y1 - y0
    upright = dx == 0
    unit = np.where(upright, 1, dx)
    enter = np.maximum(x0, col * LATTICE) - x0
    leave = np.minimum(x1, (col + 1) * LATTICE) - x0
    one = y0 * unit + enter * dy
    other = np.where(upright, y1, y0 * unit + leave * dy)
    return np.minimum(one, other), np.maximum(one, other), unit
