"""Patches that begin where a split's ground begins, so that few of their pixels are blank."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.patches import Int, PatchGrid, starts

Array = NDArray[Any]
Run = tuple[int, int]
_HEAL_PX = 0.05  # cells that share an edge, computed twice, must not leave a slit
_SLACK_PX = 1 / 256  # more than the lattice of burnt shapes moves an edge


def visible(own: Array, hidden: Array, height: int, width: int) -> Array:
    """Return the connected regions of a raster that a split may see.

    Parameters
    ----------
    own
        Polygons of the split's ground, in pixel coordinates.
    hidden
        Polygons that it must not touch.
    height, width
        Size of the raster, px.

    Returns
    -------
    regions
        Polygons, in pixel coordinates.
    """
    ground = shapely.union_all(shapely.buffer(own, _HEAL_PX, join_style="mitre"))
    ground = shapely.difference(ground, shapely.union_all(hidden))
    ground = shapely.intersection(ground, shapely.box(0, 0, width, height))
    return np.array([part for part in shapely.get_parts(ground) if part.area > 0], object)


def cover(regions: Iterable[shapely.Polygon], grid: PatchGrid) -> Int:
    """Return patches that show every whole pixel of some regions.

    Each region has rows of patches from its own upper edge on, and each row begins where the
    region does; or columns, where fewer patches do.

    Parameters
    ----------
    regions
        Polygons, in pixel coordinates, inside the raster.
    grid
        Size of the raster and of the patches, and the distance between neighbours.

    Returns
    -------
    origins
        (n, 2) row0, col0, px; sorted, no two equal.
    """
    turned = replace(grid, height=grid.width, width=grid.height)
    found = [np.zeros((0, 2), np.int64)]
    for region in regions:
        rows = _in_rows(region, grid)
        cols = _in_rows(shapely.transform(region, lambda xy: xy[:, ::-1]), turned)[:, ::-1]
        found.append(min(rows, cols, key=len))
    return np.unique(np.concatenate(found), axis=0)


def _in_rows(region: shapely.Polygon, grid: PatchGrid) -> Int:
    """Return row0, col0 (n, 2) of patches in rows that show a region."""
    px, step = grid.patch_px, grid.step
    _, top, _, bottom = region.bounds
    found = []
    for row in _along([_whole(top, bottom)], px, step, grid.height):
        band = shapely.intersection(region, shapely.box(0, row, grid.width, row + px))
        runs = [_run(part) for part in shapely.get_parts(band) if part.area > 0]
        found += [(row, col) for col in _along(sorted(runs), px, step, grid.width)]
    return np.array(found, np.int64).reshape(-1, 2)


def _run(part: shapely.Polygon) -> Run:
    """Return the columns of the whole pixels in a part of a band; none if it is too low."""
    left, top, right, bottom = part.bounds
    first, stop = _whole(top, bottom)
    return _whole(left, right) if first < stop else (0, 0)


def _whole(low: float, high: float) -> Run:
    """Return the first whole pixel between two positions, and the one after the last."""
    return math.ceil(low - _SLACK_PX), math.floor(high + _SLACK_PX)


def _along(runs: Iterable[Run], px: int, step: int, length: int) -> list[int]:
    """Return where patches begin along an axis of `length` px so that they cover sorted runs.

    What a patch of one run shows of the next needs no patch any more.
    """
    found: list[int] = []
    covered = 0
    for first, stop in runs:
        begin = max(first, covered)
        if begin < stop:
            latest = max(length - px, 0)
            found += np.minimum(begin + starts(stop - begin, px, step), latest).tolist()
            covered = found[-1] + px
    return found
