"""Shapes in pixel coordinates: moved, grown, and burnt by window.

Coordinates lie on a lattice of 1/1024 px. Differences of such coordinates are exact in floating
point, so that a window burnt alone equals the same window of a whole burn, bit for bit.
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

Array = NDArray[Any]
_LATTICE = 1024.0  # steps per pixel
_MARGIN = 4  # px burnt around a window and cropped: GDAL clips lines at the edge it is given


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
        True: every pixel that a shape touches; False: every pixel whose centre it holds.
    """

    geometries: Array
    values: Array
    all_touched: bool
    _tree: shapely.STRtree = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", shapely.STRtree(self.geometries))

    def burn(self, window: Window, background: int) -> Array:
        """Return (height, width) uint8 of a window: last shape on each pixel, or `background`."""
        margin = _MARGIN + (window.row0 == window.col0 == _MARGIN)  # rasterio warns of an identity
        wide = window.grown(margin)
        box = shapely.box(wide.col0, wide.row0, wide.col1, wide.row1)
        near = np.sort(self._tree.query(box))
        if near.size == 0:
            return np.full((window.height, window.width), background, np.uint8)
        out = rasterize(
            zip(self.geometries[near], self.values[near].tolist(), strict=True),
            out_shape=(wide.height, wide.width),
            fill=background,
            transform=Affine.translation(wide.col0, wide.row0),
            all_touched=self.all_touched,
            dtype="uint8",
        )
        return np.ascontiguousarray(out[margin:-margin, margin:-margin])


def on_lattice(geometries: Array) -> Array:
    """Return the geometries with coordinates rounded to 1/1024 px."""
    return np.asarray(shapely.transform(geometries, lambda xy: np.round(xy * _LATTICE) / _LATTICE))


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
