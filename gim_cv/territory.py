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
from gim_cv.regions import cover, visible
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
        The rule in force; None where a person said what belongs where.
    codes
        Splits that own ground here, ascending.
    cells
        Split code → its cells (or drawn areas), in pixel coordinates; empty where one split owns
        all.
    forbidden
        Split code → the shapes that it must not touch: cells (or areas) of other splits, grown,
        also just outside the raster; and all but its own areas. Empty where one split owns all.
    """

    grid: PixelGrid
    rule: GroundSplit | None
    codes: tuple[int, ...]
    cells: Mapping[int, Array]
    forbidden: Mapping[int, Shapes]

    def patches(self, grid: PatchGrid) -> Int:
        """Return (n, 3) row0, col0 (px) and split code of the patches to cut, sorted.

        Where there are several splits, patches begin at the edge of each one's ground.
        """
        parts = [np.zeros((0, 3), np.int64)]
        for code in self.codes:
            origins = cover(self._regions(code), grid) if self.cells else grid.origins
            parts.append(np.insert(origins, 2, code, axis=1))
        table = np.concatenate(parts)
        return np.asarray(table[np.lexsort(table.T[::-1])])

    def _regions(self, code: int) -> Array:
        hidden = self.forbidden[code].geometries
        return visible(self.cells[code], hidden, self.grid.height, self.grid.width)

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
            "areas": {} if self.rule or not self.cells else self._areas(),
        }

    def _areas(self) -> dict[str, str]:
        """Return split → the ground that it sees, as WKT in degrees."""
        seen = {code: shapely.multipolygons(self._regions(code)) for code in self.codes}
        return {SPLITS[code]: in_degrees(ground, self.grid).wkt for code, ground in seen.items()}


def footprint(grid: PixelGrid) -> shapely.Polygon:
    """Return the outline of a grid as a polygon of longitude and latitude, 9 decimals."""
    return in_degrees(shapely.box(0, 0, grid.width, grid.height), grid)


def in_degrees(shape: Any, grid: PixelGrid) -> Any:
    """Return a shape in pixel coordinates of a grid in longitude and latitude, 9 decimals.

    Points are added along its edges, which are straight on the grid only.
    """

    def move(xy: Array) -> Array:
        lon, lat = grid.lonlat(xy[:, 1], xy[:, 0])
        return np.round(np.stack([lon, lat], axis=1), 9)

    dense = shapely.segmentize(shape, max(grid.height, grid.width) / 8)
    return shapely.transform(dense, move)


def survey(
    grid: PixelGrid,
    split: GroundSplit,
    *,
    pair: str,
    forced: str | None,
    zones: Mapping[int, Array] | None = None,
    reach_px: float,
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
    zones
        Areas of each split (see `zones.read_zones`), whatever the rule says; of the rule, only
        `buffer_m` holds. None: the rule decides.
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
    if zones is not None:
        return _drawn(grid, zones, split.buffer_m, reach_px)
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


def _drawn(
    grid: PixelGrid, zones: Mapping[int, Array], buffer_m: float, reach_px: float
) -> Territory:
    """Return the territory of areas that a person drew; ground outside them is in no split."""
    raster, around = (shapely.box(-px, -px, grid.width + px, grid.height + px) for px in (0, 1))
    wide = {
        code: grown(areas, buffer_m / 2, grid, extra_px=reach_px + _SAFETY_PX)
        for code, areas in zones.items()
    }
    cells, forbidden = {}, {}
    for code, areas in sorted(zones.items()):
        here = areas[shapely.intersects(areas, raster)]
        if len(here) == 0:
            continue
        outside = shapely.difference(around, shapely.union_all(areas))
        others = [shapes for other, shapes in wide.items() if other != code]
        parts = np.concatenate([shapely.get_parts(outside), *others])
        cells[code] = here
        forbidden[code] = _touching(parts[shapely.intersects(parts, around)])
    return Territory(grid, None, tuple(cells), cells, forbidden)


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
