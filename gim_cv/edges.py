"""The edges of polygons in whole numbers: which pixels they hold, which they pass through.

GDAL's "all touched" walks along an edge in floating point; where an edge meets a pixel's corner,
its answer depends on where the raster begins. Here coordinates are integers, so that a pixel is
burnt or not whatever window is asked for. The rule for centres is GDAL's: of a centre on an edge,
the pixel belongs to the polygon on its left or, on a level edge, above it.
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
        (n, 4) int64 x0, y0, x1, y1 in lattice steps.
    first
        (m + 1,) int64: the edges of polygon i are those from ``first[i]`` to ``first[i + 1]``.
    """

    ends: Int
    first: Int

    @classmethod
    def of(cls, geometries: Array) -> Edges:
        """Return the edges of all rings of `geometries`, whose coordinates are on the lattice."""
        polygons, owner_of_polygon = shapely.get_parts(geometries, return_index=True)
        rings, polygon_of_ring = shapely.get_rings(polygons, return_index=True)
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        steps = np.rint(xy * LATTICE).astype(np.int64)
        joined = ring[1:] == ring[:-1]
        ends = np.concatenate([steps[:-1][joined], steps[1:][joined]], axis=1)
        owner = owner_of_polygon[polygon_of_ring[ring[1:][joined]]]
        return cls(ends, np.searchsorted(owner, np.arange(len(geometries) + 1)))

    def near(self, polygons: Int, window: Window) -> tuple[Int, Int]:
        """Return the edges of some polygons in the rows of a window.

        Parameters
        ----------
        polygons
            Indices of the polygons.
        window
            The window.

        Returns
        -------
        ends
            (k, 4) x0, y0, x1, y1 in lattice steps from the window's corner.
        rank
            (k,) position in `polygons`, ascending.
        """
        rank, which = ranges(self.first[polygons], self.first[polygons + 1])
        ends = self.ends[which] - np.array([window.col0, window.row0] * 2) * LATTICE
        low, high = np.minimum(ends[:, 1], ends[:, 3]), np.maximum(ends[:, 1], ends[:, 3])
        meets = (high >= 0) & (low <= window.height * LATTICE)
        return ends[meets], rank[meets]


def held(ends: Int, rank: Int, window: Window) -> Int:
    """Return the pixels of a window whose centre a polygon holds, as level spans.

    Parameters
    ----------
    ends, rank
        What `Edges.near` returned for the window.
    window
        The window.

    Returns
    -------
    spans
        (4, s): row, first column, column after the last, rank of the polygon.
    """
    up = ends[:, 1] > ends[:, 3]
    x0, y0, x1, y1 = np.where(up[:, None], ends[:, [2, 3, 0, 1]], ends).T
    half = LATTICE // 2
    first = np.maximum((y0 - half) // LATTICE + 1, 0)  # the centres with y0 < y ≤ y1
    stop = np.minimum((y1 - half) // LATTICE + 1, window.height)
    edge, row = ranges(first, stop)
    x0, y0, dx, dy = x0[edge], y0[edge], (x1 - x0)[edge], (y1 - y0)[edge]
    position = x0 * dy + (row * LATTICE + half - y0) * dx
    col = np.clip((2 * position + LATTICE * dy) // (2 * LATTICE * dy), 0, window.width)
    # One sorted number holds rank, row and column; in pairs: where a row enters and leaves.
    low, high = window.width.bit_length(), window.height.bit_length()
    key = np.sort((rank[edge] << (low + high)) | (row << low) | col)
    enter, leave = key[::2], key[1::2] & ((1 << low) - 1)
    spans = np.stack(
        [
            enter >> low & ((1 << high) - 1),
            enter & ((1 << low) - 1),
            leave,
            enter >> (low + high),
        ]
    )
    return spans[:, spans[2] > spans[1]]


def passed(ends: Int, rank: Int, window: Window) -> Int:
    """Return the pixels of a window that edges pass through, as spans (see `held`) of one pixel.

    Only the inside of a pixel counts: an edge along its border, or through its corner, does not
    touch it.
    """
    left = ends[:, 0] > ends[:, 2]
    x0, y0, x1, y1 = np.where(left[:, None], ends[:, [2, 3, 0, 1]], ends).T
    edge, col = _crossed(x0, x1, window.width)
    x0, y0, x1, y1 = x0[edge], y0[edge], x1[edge], y1[edge]
    dx, dy = x1 - x0, y1 - y0
    unit = np.where(dx == 0, 1, dx)  # y times unit is whole where the edge meets a column
    enter = y0 * unit + (np.maximum(x0, col * LATTICE) - x0) * dy
    leave = y0 * unit + (np.minimum(x1, (col + 1) * LATTICE) - x0) * dy
    leave = np.where(dx == 0, y1, leave)
    item, row = _crossed(np.minimum(enter, leave), np.maximum(enter, leave), window.height, unit)
    return np.stack([row, col[item], col[item] + 1, rank[edge[item]]])


def ranges(first: Int, stop: Int) -> tuple[Int, Int]:
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
    return ranges(first, stop)
