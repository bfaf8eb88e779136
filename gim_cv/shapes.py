"""Shapes in pixel coordinates: moved, grown, and burnt by window.

Coordinates lie on a lattice of 1/1024 px. Differences of such coordinates are exact, so that a
window burnt alone equals the same window of a whole burn, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from gim_cv.grid import PixelGrid
from gim_cv.patches import Window
from gim_cv.touching import LATTICE, Edges

Array = NDArray[Any]


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
    _edges: Edges | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", shapely.STRtree(self.geometries))
        edges = Edges.of(self.geometries) if self.all_touched else None
        object.__setattr__(self, "_edges", edges)

    def meets(self, window: Window) -> bool:
        """Return whether any shape meets the window."""
        box = shapely.box(window.col0, window.row0, window.col1, window.row1)
        return self._tree.query(box, predicate="intersects").size > 0

    def burn(self, window: Window, background: int) -> Array:
        """Return (height, width) uint8 of a window: last shape on each pixel, or `background`."""
        box = shapely.box(window.col0, window.row0, window.col1, window.row1)
        near = np.sort(self._tree.query(box))
        if near.size == 0:
            return np.full((window.height, window.width), background, np.uint8)
        number = _fill(self.geometries[near], window)
        if self._edges is not None:
            pixel, rank = self._edges.pixels(near, window)
            flat = number.reshape(-1)
            np.maximum.at(flat, pixel, (rank + 1).astype(number.dtype))
        return np.append(np.uint8(background), self.values[near])[number]


def _fill(geometries: Array, window: Window) -> Array:
    """Return (height, width) the number, from 1, of the last shape over each pixel's centre."""
    margin = 1 if window.row0 == window.col0 == 0 else 0  # rasterio warns of an identity
    out = rasterize(
        zip(geometries, range(1, len(geometries) + 1), strict=True),
        out_shape=(window.height + margin, window.width + margin),
        transform=Affine.translation(window.col0 - margin, window.row0 - margin),
        dtype="uint16" if len(geometries) < 2**16 - 1 else "int32",
    )
    return np.ascontiguousarray(out[margin:, margin:])


def on_lattice(geometries: Array) -> Array:
    """Return the geometries with coordinates rounded to 1/1024 px."""
    return np.asarray(shapely.transform(geometries, lambda xy: np.round(xy * LATTICE) / LATTICE))


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
