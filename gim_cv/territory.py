"""The ground of one raster: which patches go to which split, and what each split may not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.errors import ConfigError, DataError
from gim_cv.grid import PixelGrid
from gim_cv.ground import METRES_PER_DEGREE, GroundSplit, cell_width, cells_of, split_names
from gim_cv.patches import SPLITS, PatchGrid, Window
from gim_cv.shapes import Shapes, grown, on_lattice

Array = NDArray[Any]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]
_SAFETY_PX = 0.01  # more than the lattice and the chords of a cell's edges can be wrong by
_MOST_CELLS = 1_000_000
_SMALLEST_PX = 8


@dataclass(frozen=True)
class Territory:
    """What belongs to which split on a raster's grid. Picklable.

    Attributes
    ----------
    grid
        The raster's (aligned) grid.
    rule
        The rule in force; None where the whole raster was put into one split.
    codes
        Splits that own ground here, ascending.
    cells
        Split code → its cells, in pixel coordinates; empty where one split owns all.
    forbidden
        Split code → the cells that it must not touch, those of other splits, grown; also cells
        just outside the raster. Empty where one split owns all.
    """

    grid: PixelGrid
    rule: GroundSplit | None
    codes: tuple[int, ...]
    cells: Mapping[int, Array]
    forbidden: Mapping[int, Shapes]

    def patches(self, grid: PatchGrid) -> Int:
        """Return (n, 3) row0, col0 (px) and split code of the patches to cut, sorted.

        A patch that meets the ground of several splits is there once for each.
        """
        origins = grid.origins
        if not self.cells:
            whole = np.full((len(origins), 1), self.codes[0])
            return np.concatenate([origins, whole], axis=1)
        rows, cols = origins.T
        boxes = shapely.box(
            cols,
            rows,
            np.minimum(cols + grid.patch_px, grid.width),
            np.minimum(rows + grid.patch_px, grid.height),
        )
        parts = []
        for code in self.codes:
            met, _ = shapely.STRtree(self.cells[code]).query(boxes, predicate="intersects")
            chosen = origins[np.unique(met)]
            parts.append(np.concatenate([chosen, np.full((len(chosen), 1), code)], axis=1))
        table = np.concatenate(parts)
        return np.asarray(table[np.lexsort(table.T[::-1])])

    def foreign(self, window: Window, code: int) -> Bool | None:
        """Return the pixels of `window` that split `code` must not see, or None if it may see all.

        Those are the pixels that the (grown) cell of another split touches: (height, width) bool.
        """
        shapes = self.forbidden.get(code)
        return None if shapes is None else shapes.covers(window)

    def attrs(self) -> dict[str, Any]:
        """Return what `certificate.certify` needs: rule, splits, footprint; and cell counts."""
        return {
            "rule": None if self.rule is None else self.rule.attrs(),
            "splits": split_names(np.array(self.codes, np.int8)),
            "cells": {SPLITS[code]: len(cells) for code, cells in self.cells.items()},
            "footprint": footprint(self.grid).wkt,
        }


def footprint(grid: PixelGrid) -> shapely.Polygon:
    """Return the outline of a grid as a polygon of longitude and latitude, 9 decimals."""
    lon, lat = grid.lonlat(*grid.outline())
    return shapely.Polygon(np.round(np.stack([lon, lat], axis=1), 9))


def survey(
    grid: PixelGrid, split: GroundSplit, *, pair: str, forced: str | None, reach_px: float
) -> Territory:
    """Return which parts of a raster belong to which split.

    Parameters
    ----------
    grid
        The raster's (aligned) grid.
    split
        The rule.
    pair
        Name of the pair, which decides in mode "pairs".
    forced
        Split that the whole pair belongs to, whatever the rule says; None: the rule decides.
    reach_px
        How far beyond its own edge a pixel shows its neighbours' ground, px.

    Raises
    ------
    DataError
        The raster crosses the antimeridian or holds a pole.
    ConfigError
        The cells are too small for the raster.
    """
    if forced is not None:
        return Territory(grid, None, (SPLITS.index(forced),), {}, {})
    if split.mode == "pairs":
        return Territory(grid, None, (split.of_pair(pair),), {}, {})
    rows, cols = _cells_near(grid, split.block_m)
    polygons = cell_polygons(grid, rows, cols, split.block_m)
    wide = grown(polygons, split.buffer_m / 2, grid, extra_px=reach_px + _SAFETY_PX)
    raster = shapely.box(0, 0, grid.width, grid.height)
    codes = split.of_cells(rows, cols)
    inside, near = shapely.intersects(polygons, raster), shapely.intersects(wide, raster)
    present = tuple(int(code) for code in np.unique(codes[inside]))
    if len(np.unique(codes[near])) == 1:
        return Territory(grid, split, present, {}, {})
    cells = {code: polygons[inside & (codes == code)] for code in present}
    forbidden = {code: _touching(wide[near & (codes != code)]) for code in present}
    return Territory(grid, split, present, cells, forbidden)


def _touching(polygons: Array) -> Shapes:
    return Shapes(on_lattice(polygons), np.ones(len(polygons), np.uint8), all_touched=True)


def _cells_near(grid: PixelGrid, block_m: float) -> tuple[Int, Int]:
    """Return rows and columns of all cells that may meet the grid, and a few more."""
    if block_m < _SMALLEST_PX * max(grid.resolution_m):
        raise ConfigError(
            "block_m is too small for the image",
            expected=f"{_SMALLEST_PX} px of {max(grid.resolution_m):g} m or more",
            found=block_m,
        )
    r, c = np.meshgrid(np.linspace(0, grid.height, 17), np.linspace(0, grid.width, 17))
    lon, lat = grid.lonlat(r, c)
    if not np.isfinite(lon).all() or np.ptp(lon) > 180 or np.abs(lat).max() > 89:
        raise DataError(
            "blocks cannot be laid over the image: it crosses the antimeridian or meets a pole",
            remedy="Cut it by `bounds`, set `split` of the pair, or use the mode pairs",
        )
    (first, last), _ = cells_of(np.zeros(2), np.array([lat.min(), lat.max()]), block_m)
    rows = np.arange(first - 1, last + 2)
    width = cell_width(rows, block_m)
    west = np.floor(lon.min() / width).astype(np.int64) - 1
    count = np.floor(lon.max() / width).astype(np.int64) + 2 - west
    if count.sum() > _MOST_CELLS:
        what = "block_m is too small for the image: too many cells"
        raise ConfigError(what, expected=f"at most {_MOST_CELLS}", found=int(count.sum()))
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(rows, count), np.repeat(west, count) + within


def cell_polygons(grid: PixelGrid, rows: Int, cols: Int, block_m: float) -> Array:
    """Return (n,) polygons of cells in pixel coordinates (x = column, y = row) of the grid."""
    points = int(np.clip(np.ceil(block_m / 100), 4, 64))
    t = np.linspace(0, 1, points + 1)[:-1]
    up = np.concatenate([0 * t, t, 0 * t + 1, 1 - t])
    right = np.concatenate([t, 0 * t + 1, 1 - t, 0 * t])
    lat = (rows[:, None] + up) * block_m / METRES_PER_DEGREE
    lon = (cols[:, None] + right) * cell_width(rows, block_m)[:, None]
    r, c = grid.pixels(lon, lat)
    return np.asarray(shapely.polygons(np.stack([c, r], axis=-1)))
