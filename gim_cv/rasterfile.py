"""Raster files as GDAL sees them: handles, CRS, grid, bands, where validity is kept."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

os.environ.setdefault("GDAL_CACHEMAX", "32")  # MB; GDAL reads it once, at its first block

import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from gim_cv.errors import DataError, MissingError, UnknownError
from gim_cv.grid import PixelGrid
from gim_cv.patches import Window


class Handles:
    """Open rasters, one set for each thread, since a GDAL handle serves one thread at a time.

    Pickles without its handles.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def __call__(self, path: str) -> Any:
        """Return this thread's open dataset of `path`."""
        opened: dict[str, Any] = self._local.__dict__
        if path not in opened:
            opened[path] = open_raster(path)
        return opened[path]

    def __reduce__(self) -> tuple[object, ...]:
        return Handles, ()


def open_raster(path: str | Path) -> Any:
    """Return the open rasterio dataset of `path`.

    Raises
    ------
    MissingError
        There is no such file.
    DataError
        GDAL cannot read it.
    """
    if not str(path).startswith("/vsi") and not Path(path).exists():
        raise MissingError(
            "no such raster", path=path, remedy="Check the path, e.g. in the catalog"
        )
    try:
        with warnings.catch_warnings():  # who needs a georeference checks for it
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioError as err:
        what, remedy = f"not a raster that GDAL can read ({err})", "Get the file again"
        raise DataError(what, path=path, remedy=remedy) from err


def unreadable(err: RasterioError, window: Window, path: str | Path) -> DataError:
    """Return the error of pixels that GDAL could not read."""
    return DataError(
        f"rows {window.row0} to {window.row1} cannot be read ({err.__cause__ or err})",
        path=path,
        remedy="The file is damaged or cut short: get it again",
    )


def to_crs(value: Any, *, path: str | Path) -> CRS:
    """Return a pyproj CRS of a rasterio CRS, EPSG code or WKT."""
    try:
        if hasattr(value, "to_authority"):
            authority = value.to_authority(confidence_threshold=100)
            return CRS.from_authority(*authority) if authority else CRS.from_wkt(value.to_wkt())
        return CRS.from_user_input(value)
    except CRSError as err:
        remedy = "Use a code such as EPSG:32631"
        raise DataError(f"unknown CRS {value!r}", path=path, remedy=remedy) from err


def grid_of(dataset: Any, crs: str | None, *, path: str | Path, key: str) -> PixelGrid:
    """Return the grid of an open raster; `crs` is for a file that has none.

    Raises
    ------
    DataError
        No CRS, another one than `crs`, or no geotransform.
    """
    own = chosen_crs(dataset.crs, crs, path=path, key=key)
    if dataset.transform.is_identity:
        raise DataError("no geotransform", path=path, remedy="Add a world file (.tfw) beside it")
    return PixelGrid(own, dataset.transform, dataset.height, dataset.width)


def chosen_crs(own: Any, given: str | None, *, path: str | Path, key: str) -> CRS:
    """Return the CRS of a file, or the one `given` in the catalog under `key` if it has none.

    Raises
    ------
    DataError
        There is neither, or they differ: which of them is right is not ours to say.
    """
    if not own and given is None:
        add = "Add a .prj file, or set" if Path(path).suffix.lower() == ".shp" else "Set"
        remedy = f"{add} {key} of its entry in data/catalog.yaml"
        raise DataError("no CRS", path=path, expected="a georeferenced file", remedy=remedy)
    crs = to_crs(own or given, path=path)
    other = crs if given is None else to_crs(given, path=path)
    if not crs.equals(other, ignore_axis_order=True) and (
        crs.to_epsg() is None or crs.to_epsg() != other.to_epsg()
    ):
        raise DataError(
            f"the file has a CRS of its own, and {key} is another",
            path=path,
            expected=other.name,
            found=crs.name,
            remedy=f"Leave {key} out, or mend the file, e.g. with gdal_edit -a_srs or ogr2ogr",
        )
    return crs


def common_grid(opened: Sequence[Any], files: Sequence[Path], crs: str | None) -> PixelGrid:
    """Return the grid that all band files share; DataError names the first that differs."""
    first, *others = (
        grid_of(d, crs, path=p, key="image_crs") for d, p in zip(opened, files, strict=True)
    )
    for path, grid in zip(files[1:], others, strict=True):
        same = (grid.height, grid.width, grid.crs) == (first.height, first.width, first.crs)
        if not (same and grid.transform.almost_equals(first.transform, precision=1e-6)):
            raise DataError(
                "band files of one image have different grids",
                path=path,
                expected=f"{_size(first)} as {files[0].name}",
                found=_size(grid),
                remedy="Warp them onto one grid with gdalwarp",
            )
    return first


def _size(grid: PixelGrid) -> str:
    a, b, c, d, e, f = grid.transform[:6]
    return f"{grid.height} by {grid.width} px at ({a}, {b}, {c}, {d}, {e}, {f})"


def common_dtype(opened: Sequence[Any], bands: Sequence[tuple[int, int]], path: Path) -> Any:
    """Return the type that all chosen bands share: any integer or float type up to 64 bits."""
    found = {opened[file].dtypes[index - 1] for file, index in bands}
    if len(found) > 1 or np.dtype(next(iter(found))).kind not in "uif":
        raise DataError(
            "bands cannot share one array",
            path=path,
            expected="one type, of integers or floats",
            found=", ".join(sorted(found)),
            remedy="Choose other bands, or convert them with gdal_translate -ot",
        )
    return np.dtype(found.pop())


OWN_MASK = 0
"""Stands among numbers of bands for the mask that a file keeps besides its bands."""


def validity_bands(dataset: Any) -> tuple[int, ...]:
    """Return the bands (from 1; or `OWN_MASK`) that are 0 where a raster has no image.

    GDAL's own mask leaves alpha out where there is nodata too, or another number of bands than 2
    or 4.
    """
    alpha = [i for i, use in enumerate(dataset.colorinterp, start=1) if use == ColorInterp.alpha]
    return tuple(alpha) + ((OWN_MASK,) if has_own_mask(dataset) else ())


def has_own_mask(dataset: Any) -> bool:
    """Return whether a raster keeps a mask besides its bands, inside the file or beside it."""
    flags = dataset.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def nodata_of(opened: Sequence[Any], bands: Sequence[tuple[int, int]]) -> tuple[float | None, ...]:
    """Return the value of each chosen band (file, number from 1) that means "no image here".

    A band that declares none has that of the first band that does.
    """
    first, *_ = *(value for d in opened for value in d.nodatavals if value is not None), None
    own = (opened[file].nodatavals[index - 1] for file, index in bands)
    return tuple(first if value is None else value for value in own)


def band_table(opened: Sequence[Any], files: Sequence[Path]) -> list[tuple[int, int, str]]:
    """Return file number, band number (from 1) and name of every band that is not alpha.

    The name is the band's description, else its colour, else ``band_<number>``; where an image
    is a list of files, the file's stem.
    """
    if len(opened) == 1:
        return [(0, i + 1, name) for i, name in _colours(opened[0])]
    table = []
    for number, (dataset, path) in enumerate(zip(opened, files, strict=True)):
        bands = _colours(dataset)
        if len(bands) != 1:
            what = "not a single-band file, though the image is a list of files"
            raise DataError(what, path=path, expected="1 band", found=len(bands))
        table.append((number, bands[0][0] + 1, path.stem))
    return table


def _colours(dataset: Any) -> list[tuple[int, str]]:
    unnamed = (ColorInterp.undefined, ColorInterp.gray, ColorInterp.palette)
    names = []
    for i, (text, colour) in enumerate(zip(dataset.descriptions, dataset.colorinterp, strict=True)):
        if colour != ColorInterp.alpha:
            plain = f"band_{i + 1}" if colour in unnamed else colour.name
            names.append((i, text or plain))
    return names


def choose_bands(
    table: Sequence[tuple[int, int, str]], bands: Sequence[int | str] | None, path: Path
) -> list[tuple[int, int, str]]:
    """Return the rows of a band table that `bands` (numbers from 1, or names) asks for."""
    if bands is None:
        return list(table)
    names = [name for _, _, name in table]
    chosen = []
    for band in bands:
        if isinstance(band, str):
            if band not in names:
                raise UnknownError.among("band", band, names, path=path)
            chosen.append(table[names.index(band)])
        elif 1 <= band <= len(table):
            chosen.append(table[band - 1])
        else:
            raise DataError(
                "no such band",
                path=path,
                expected=f"1 to {len(table)}",
                found=band,
                remedy="Mend `bands` of the image",
            )
    return chosen
