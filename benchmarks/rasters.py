"""Generated images with labels for the benchmark of `prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from generated import picture
from rasterio.features import rasterize
from rasterio.windows import Window

TILE = 4096
METRES = 0.5
LEFT, TOP = 500_000.0, 4_000_000.0
TIFF: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "crs": "EPSG:32633"}
TIFF |= {"bigtiff": "if_safer", "compress": "lzw"}
TIFF |= {"tiled": True, "blockxsize": 256, "blockysize": 256}


def write_pair(folder: Path, number: int, side: int, polygons: int | None) -> dict[str, str]:
    """Write an image of `side` px and its labels; return its catalog entry.

    Labels are a shapefile of `polygons` houses or, if that is None, a raster of 0 and 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = Affine(METRES, 0.0, LEFT + 20_000 * number, 0.0, -METRES, TOP)
    profile = TIFF | {"height": side, "width": side, "transform": where}
    image, shape_file, raster = (f"{number}{end}" for end in (".tif", ".shp", ".mask.tif"))
    with rasterio.open(folder / image, "w", count=3, **profile) as sink:
        _fill(sink, picture(number, min(side, TILE)), np.zeros((side, side), np.uint8))
    shapes = houses(polygons or side * side // 4_000, side, 100 + number)
    if polygons:
        there = shapely.transform(shapes, lambda xy: xy * METRES * [1, -1] + [where.c, where.f])
        geopandas.GeoDataFrame(geometry=there, crs=TIFF["crs"]).to_file(folder / shape_file)
    else:
        with rasterio.open(folder / raster, "w", count=1, **profile) as sink:
            sink.write(rasterize(shapes, (side, side), dtype="uint8"), 1)
    labels = shape_file if polygons else raster
    return {"name": f"scene_{number}", "image": image, "labels": labels}


def write_scene(path: Path, rows: int, cols: int) -> None:
    """Write an image of `rows` by `cols` px in which a sixteenth of the ground is bright roofs."""
    where = Affine(METRES, 0.0, LEFT, 0.0, -METRES, TOP)
    profile = TIFF | {"height": rows, "width": cols, "transform": where}
    shapes = houses(rows * cols // 6_000, rows, 100, cols)
    roofs = rasterize(shapes, (rows, cols), default_value=80, dtype="uint8")
    with rasterio.open(path, "w", count=3, **profile) as sink:
        _fill(sink, picture(0, min(rows, cols, TILE)), roofs)


def houses(count: int, rows: int, seed: int, cols: int | None = None) -> Any:
    """Return (count,) turned rectangles of 8 to 30 px a side, in pixel coordinates."""
    rng = np.random.default_rng(seed)
    half, angle = rng.uniform(4, 15, (count, 1, 2)), rng.uniform(0, np.pi, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=-1)
    corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    rings = corners @ turn.reshape(-1, 2, 2) + rng.uniform(0, [cols or rows, rows], (count, 1, 2))
    return shapely.polygons(rings)


def _fill(sink: Any, tile: np.ndarray, brighter: np.ndarray) -> None:
    """Write `tile` over and over, turned and shifted, so that no two places are equal."""
    side = len(tile)
    for i, row in enumerate(range(0, sink.height, side)):
        for j, col in enumerate(range(0, sink.width, side)):
            more = brighter[row : row + side, col : col + side]
            part = np.roll(np.rot90(tile, i + j), (131 * i, 257 * j), axis=(0, 1))
            part = part[: more.shape[0], : more.shape[1]]
            part = np.where(more[..., None] > 0, np.minimum(part, 175) + more[..., None], part)
            place = Window(col, row, part.shape[1], part.shape[0])
            sink.write(np.moveaxis(part, -1, 0), window=place)
