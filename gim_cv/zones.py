"""Ground whose split a vector file says: areas drawn by hand, for train, val and test."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.errors import DataError
from gim_cv.grid import PixelGrid
from gim_cv.patches import SPLITS
from gim_cv.vectors import read_features

Array = NDArray[Any]
COLUMN = "split"
_MOST_SHARED_PX = 1.0  # what two areas drawn along one line may overlap by, px


def read_zones(path: Path, grid: PixelGrid, *, crs: str | None) -> dict[int, Array]:
    """Return the areas of each split that lie near a raster.

    Parameters
    ----------
    path
        Vector file with a column `split` of "train", "val" and "test".
    grid
        Grid whose pixel coordinates the areas have.
    crs
        CRS of a file that has none.

    Returns
    -------
    dict
        Split code → its areas, (n,) geometries, in pixel coordinates.

    Raises
    ------
    MissingError, UnknownError
        No such file, or no such column.
    DataError
        Unreadable, no CRS, none near the raster, another word in the column, or areas of two
        splits overlap.
    """
    found = read_features(
        path,
        grid,
        layer=None,
        where=None,
        attribute=COLUMN,
        crs=crs,
        reach_m=0,
        own_crs=True,
    )
    words = np.array([str(word) for word in np.asarray(found.attribute)], object)
    strange = sorted(set(words) - set(SPLITS))
    if strange:
        raise DataError(
            f"column {COLUMN!r} has other words than the splits",
            path=path,
            expected=", ".join(SPLITS),
            found=", ".join(strange[:8]),
            remedy="Mend the column, or remove the features",
        )
    zones = {code: found.geometries[words == name] for code, name in enumerate(SPLITS)}
    zones = {code: areas for code, areas in zones.items() if len(areas)}
    _check_apart(zones, grid, path)
    return zones


def _check_apart(zones: dict[int, Array], grid: PixelGrid, path: Path) -> None:
    whole = {code: shapely.union_all(areas) for code, areas in zones.items()}
    for one, other in combinations(whole, 2):
        shared = float(shapely.intersection(whole[one], whole[other]).area)
        if shared > _MOST_SHARED_PX:
            down, across = grid.resolution_m
            raise DataError(
                f"areas of {SPLITS[one]} and {SPLITS[other]} overlap",
                path=path,
                expected="each place in one split",
                found=f"{shared * down * across:.3g} m² in both",
                remedy="Cut the overlap out of one of them",
            )
