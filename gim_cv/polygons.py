"""Outlines of predicted classes: from a raster of class ids to a GeoPackage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio import features
from shapely.geometry import shape

from gim_cv.binding import bind_to_itself
from gim_cv.errors import RunError
from gim_cv.grid import Float, apply
from gim_cv.patches import IGNORE

BOUND = bind_to_itself("pyogrio._io")
import pyogrio  # noqa: E402 - after that

LAYER = "prediction"
Region = tuple[int, shapely.Polygon, list[shapely.Polygon]]
NO_TIME = {"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"}
"""A GeoPackage holds the time of its last change: the same polygons would have other bytes."""


def outline_classes(
    path: Path,
    names: Sequence[str],
    *,
    cell_m2: float,
    min_area_m2: float,
    fill_holes_m2: float,
    simplify_px: float,
) -> gpd.GeoDataFrame:
    """Return the connected regions of every class but 0 as polygons.

    Pixels that meet at a corner only are not connected. The raster is read line by line.

    Parameters
    ----------
    path
        Raster of class ids in its first band; 0 and 255 have no polygons.
    names
        Name of class 0, 1, ….
    cell_m2
        Area of a pixel on the ground, m².
    min_area_m2
        Smaller polygons are left out, measured before they are simplified.
    fill_holes_m2
        Smaller holes are filled; what is of the same class inside is then part of the polygon.
    simplify_px
        How far an outline may be moved to have fewer corners, px; 0 follows the pixels' edges.

    Returns
    -------
    geopandas.GeoDataFrame
        ``class_id``, ``class_name``, ``area_m2`` (of the polygon as it is, on the ground) and
        `geometry` in the raster's CRS, in the order of the raster's rows.

    Source: Douglas & Peucker 1973, "Algorithms for the reduction of the number of points", by
    GEOS, which keeps polygons valid.
    """
    with rasterio.open(path) as raster:
        found = list(_regions(raster, fill_holes_m2 / cell_m2, min_area_m2 / cell_m2))
        crs, transform = raster.crs, raster.transform
    ids, outlines = _covered_once(found)
    if simplify_px:
        outlines = shapely.simplify(outlines, simplify_px)
    table = {
        "class_id": ids,
        "class_name": np.array([names[class_id] for class_id in ids], dtype=object),
        "area_m2": np.round(shapely.area(outlines).astype(float) * cell_m2, 2),
    }
    a, b, c, d, e, f = transform[:6]
    placed = gpd.GeoSeries(outlines, crs=crs).affine_transform([a, b, d, e, c, f])
    return gpd.GeoDataFrame(table, geometry=placed, crs=crs)


def write_polygons(path: Path, polygons: gpd.GeoDataFrame) -> None:
    """Write polygons as a GeoPackage with one layer; equal polygons, equal bytes."""
    pyogrio.set_gdal_config_options(NO_TIME)
    try:
        pyogrio.write_dataframe(polygons, path, driver="GPKG", layer=LAYER, geometry_type="Polygon")
    finally:
        pyogrio.set_gdal_config_options(dict.fromkeys(NO_TIME))


@cache
def check_geopackage() -> None:
    """Return if GeoPackages are written by GDAL's own SQLite.

    Raises
    ------
    RunError
        geopandas had been used before gim_cv was imported, after a library with another SQLite.
    """
    if BOUND:
        return
    square = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.gpkg"
        write_polygons(path, square)
        indexed = b"rtree" in path.read_bytes()
    if not indexed:
        raise RunError(
            "GeoPackages would have no spatial index",
            expected="SQLite of GDAL",
            found="that of a library loaded earlier, such as TensorFlow",
            remedy="Import gim_cv.inference before geopandas and TensorFlow",
        )


def _regions(raster: Any, hole: float, least: float) -> Iterator[Region]:
    """Yield class, polygon and filled holes, in pixels, of all regions of at least so many."""
    band, inverse = rasterio.band(raster, 1), ~raster.transform

    def in_pixels(points: Float) -> Float:
        return np.rint(np.stack(apply(inverse, *points.T), axis=1))  # GDAL places them on the map

    for outline, value in features.shapes(band, mask=band):
        if value == IGNORE:
            continue
        polygon = shapely.transform(shape(outline), in_pixels)
        holes = [shapely.Polygon(ring) for ring in polygon.interiors]
        kept = [ring.exterior for ring in holes if ring.area >= hole]
        filled = shapely.Polygon(polygon.exterior, kept)
        if filled.area >= least:
            yield int(value), filled, [ring for ring in holes if ring.area < hole]


def _covered_once(found: Sequence[Region]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return classes and polygons without those in a filled hole of their own class."""
    ids = np.array([class_id for class_id, _, _ in found], np.int32)
    outlines = np.array([polygon for _, polygon, _ in found], dtype=object)
    holes = [(class_id, ring) for class_id, _, rings in found for ring in rings]
    around = np.array([class_id for class_id, _ in holes], np.int32)
    rings = np.array([ring for _, ring in holes], dtype=object)
    outer, inner = shapely.STRtree(outlines).query(rings, predicate="covers")
    kept = np.ones(len(ids), bool)
    kept[inner[around[outer] == ids[inner]]] = False
    return ids[kept], outlines[kept]
