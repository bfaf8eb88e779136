"""Vector files: what lies on a grid, in its pixel coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from gim_cv.binding import bind_to_itself
from gim_cv.errors import DataError, MissingError, UnknownError
from gim_cv.grid import PixelGrid, apply, transformer
from gim_cv.rasterfile import chosen_crs

bind_to_itself("pyogrio._io")
import pyogrio  # noqa: E402 - after that
from pyogrio.errors import DataLayerError, DataSourceError  # noqa: E402

Array = NDArray[Any]
PARQUET = (".parquet", ".geoparquet")
NUMBERED = ("GPKG", "FlatGeobuf", "ESRI Shapefile", "OpenFileGDB", "SQLite")
"""Drivers whose feature ids count the file's features, which a spatial index gives in any order."""


@dataclass(frozen=True)
class Features:
    """What lies on a grid of a vector file.

    Attributes
    ----------
    geometries
        (n,) shapely geometries in pixel coordinates of the grid, valid, in file order.
    attribute
        (n,) values of the column asked for, or None.
    repaired
        Geometries that were invalid and have been repaired.
    cover
        Share of the grid inside the bounding box of the file's features, 0 to 1.
    """

    geometries: Array
    attribute: Array | None
    repaired: int
    cover: float


def read_features(
    path: Path,
    grid: PixelGrid,
    *,
    layer: str | None,
    where: str | None,
    attribute: str | None,
    crs: str | None,
    reach_m: float,
    own_crs: bool = False,
) -> Features:
    """Return the features of a vector file that lie on `grid` or within `reach_m` m of it.

    Parameters
    ----------
    path
        Any file that pyogrio reads, or GeoParquet.
    grid
        Grid whose pixel coordinates the result has.
    layer, where
        Layer of a file with several; OGR attribute filter.
    attribute
        Column to return.
    crs
        CRS of a file that has none, `labels_crs` in the catalog.
    reach_m
        How far from the grid a feature may still matter, m.
    own_crs
        Whether a file may have another CRS than `crs`, as areas beside the labels may.

    Raises
    ------
    MissingError, UnknownError
        No such file, layer or column.
    DataError
        Unreadable, no CRS, no features, or none that could lie on the grid.
    """
    if not path.exists():
        raise MissingError("no such vector file", path=path, remedy="Check the path in the catalog")
    table = (
        _Parquet(path, layer, where) if path.suffix.lower() in PARQUET else _Ogr(path, layer, where)
    )
    if attribute is not None and attribute not in table.columns:
        raise UnknownError.among("column", attribute, table.columns, path=path)
    given = None if own_crs and table.crs else crs
    own = chosen_crs(table.crs, given, path=path, key="labels_crs")
    cover = _cover(table.bounds, own, grid, path)
    down, across = grid.resolution_m
    reach_px = 8 + abs(reach_m) / min(down, across)
    frame = table.read(_outline_box(grid, own, reach_px), attribute)
    geometries = frame.geometry.to_numpy()
    if where is not None and not len(geometries) and not table.holds_any():
        raise DataError(
            "`where` keeps no feature", path=path, found=where, remedy="Mend `where` of the pair"
        )
    _check_areas(geometries, reach_m, path)
    kept = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    moved = _to_pixels(geometries[kept], own, grid)
    broken = ~shapely.is_valid(moved)
    moved[broken] = shapely.make_valid(moved[broken], method="structure", keep_collapsed=False)
    column = None
    if attribute is not None:
        column = frame[attribute].to_numpy(object, na_value=None)[kept]
    return Features(moved, column, int(broken.sum()), cover)


class _Ogr:
    """A layer that pyogrio reads."""

    def __init__(self, path: Path, layer: str | None, where: str | None) -> None:
        self._path, self._where = path, where
        try:
            layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
            self._layer = _choose_layer(layers, layer, path)
            info = pyogrio.read_info(path, layer=self._layer, force_total_bounds=True)
        except (DataSourceError, DataLayerError) as err:
            what = f"not a vector file that OGR can read ({err})"
            remedy = "Get the file again, with all its sidecars"
            raise DataError(what, path=path, remedy=remedy) from err
        self._numbered = info["driver"] in NUMBERED  # a GeoJSON's ids may be any
        self.crs: str | None = info["crs"]
        self.columns = [str(name) for name in info["fields"]]
        bounds = info["total_bounds"] if info["features"] else None  # 0, 0, 0, 0 in a shapefile
        self.bounds = np.array(bounds or [np.nan] * 4, float)

    def read(self, bbox: tuple[float, ...], column: str | None) -> geopandas.GeoDataFrame:
        """Return the features that meet `bbox` (layer's CRS), in file order."""
        try:
            return self._frame(column, bbox)
        except (DataSourceError, DataLayerError, ValueError) as err:
            if "no such module: rtree" in str(err):
                # Both TensorFlow and pyogrio were imported before gim_cv could bind GDAL to its own
                # SQLite, and TensorFlow's has no spatial index: all features are read, and chosen.
                frame = self._frame(column, None)
                return frame[frame.intersects(shapely.box(*bbox))]
            what = f"features cannot be read ({err})"
            raise DataError(what, path=self._path, remedy="Check `where` and the file") from err

    def _frame(self, column: str | None, bbox: tuple[float, ...] | None) -> geopandas.GeoDataFrame:
        """Return the features that meet `bbox`, or all, in file order."""
        frame = pyogrio.read_dataframe(
            self._path,
            layer=self._layer,
            where=self._where,
            bbox=bbox,
            columns=[column] if column else [],
            force_2d=True,
            fid_as_index=True,
        )
        return frame.sort_index() if self._numbered else frame

    def holds_any(self) -> bool:
        """Return whether the filter keeps any feature of the layer."""
        found = pyogrio.read_dataframe(
            self._path, layer=self._layer, where=self._where, columns=[], max_features=1
        )
        return len(found) > 0


class _Parquet:
    """A GeoParquet file."""

    def __init__(self, path: Path, layer: str | None, where: str | None) -> None:
        for key, value in (("layer", layer), ("where", where)):
            if value is not None:
                remedy = f"Convert it to GeoPackage, or leave `{key}` out"
                raise DataError(f"`{key}` does not work on GeoParquet", path=path, remedy=remedy)
        try:
            self._frame = geopandas.read_parquet(path)
        except (ValueError, OSError) as err:
            remedy = "Write it again, or give another vector format"
            raise DataError(f"not a GeoParquet file ({err})", path=path, remedy=remedy) from err
        self.crs = None if self._frame.crs is None else self._frame.crs.to_wkt()
        self.columns = [str(name) for name in self._frame.columns]
        self.bounds = np.array(self._frame.total_bounds, float)

    def read(self, bbox: tuple[float, ...], _column: str | None) -> geopandas.GeoDataFrame:
        """Return the features that meet `bbox` (layer's CRS), in file order."""
        near = self._frame.geometry.intersects(shapely.box(*bbox))
        return self._frame[near].set_geometry(shapely.force_2d(self._frame.geometry[near]))

    def holds_any(self) -> bool:
        """Return whether there is any feature."""
        return len(self._frame) > 0


def _check_areas(geometries: Array, grow_m: float, path: Path) -> None:
    """Raise DataError where a feature covers no ground: a point or line that nothing grows."""
    flat = geometries[shapely.get_dimensions(geometries) < 2]
    flat = flat[~shapely.is_missing(flat)]
    if len(flat) and grow_m <= 0:
        raise DataError(
            f"{len(flat)} of {len(geometries)} features have no area",
            path=path,
            expected="polygons",
            found=flat[0].geom_type,
            remedy="Set buffer_m of the pair to grow them, or leave them out by `where`",
        )


def _choose_layer(layers: list[str], layer: str | None, path: Path) -> str:
    if layer is not None:
        if layer not in layers:
            raise UnknownError.among("layer", layer, layers, path=path)
        return layer
    if len(layers) != 1:
        raise DataError(
            "the file does not have one spatial layer",
            path=path,
            expected="one layer, or `layer` in the catalog",
            found=", ".join(layers) or "none",
        )
    return layers[0]


def _outline_box(grid: PixelGrid, crs: CRS, margin_px: float) -> tuple[float, float, float, float]:
    """Return left, bottom, right, top in `crs` of the grid and `margin_px` around it."""
    rows, cols = grid.outline(64)
    rows = rows + margin_px * np.sign(rows - grid.height / 2)
    cols = cols + margin_px * np.sign(cols - grid.width / 2)
    x, y = apply(grid.transform, cols, rows)
    x, y = transformer(grid.crs, crs).transform(x, y)
    return float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))


def _cover(bounds: Array, crs: CRS, grid: PixelGrid, path: Path) -> float:
    """Return the share of the grid's bounding box (in `crs`) that `bounds` covers."""
    if not np.isfinite(bounds).all():
        raise DataError(
            "no features",
            path=path,
            expected="at least one",
            found="none",
            remedy="Check layer and file; an image without any building needs a label raster of 0",
        )
    image = shapely.box(*_outline_box(grid, crs, 0))
    labels = shapely.box(*bounds)
    if shapely.intersects(image, labels):
        return float(shapely.intersection(image, labels).area / image.area)
    swapped = shapely.box(*bounds[[1, 0, 3, 2]])
    hint = "Swap the axes of the labels: x and y look exchanged"
    raise DataError(
        "the features do not overlap the image",
        path=path,
        expected=f"features near {_rounded(image.bounds)} in {crs.name}",
        found=f"features within {_rounded(bounds)}",
        remedy=hint if shapely.intersects(image, swapped) else "Check both CRSs and the file names",
    )


def _rounded(bounds: Any) -> str:
    return ", ".join(f"{float(edge):.7g}" for edge in bounds)


def _to_pixels(geometries: Array, crs: CRS, grid: PixelGrid) -> Array:
    """Return the geometries in pixel coordinates (x = column, y = row) of the grid."""
    same = crs == grid.crs

    def move(xy: Array) -> Array:
        x, y = xy[:, 0], xy[:, 1]
        if not same:
            x, y = transformer(crs, grid.crs).transform(x, y)
        return np.stack(apply(~grid.transform, x, y), axis=1)

    return np.asarray(shapely.transform(geometries, move))
