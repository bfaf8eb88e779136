"""Cloud-optimised GeoTIFFs, written a strip of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import DTypeLike, NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from gim_cv.atomic import atomic_file
from gim_cv.errors import RunError
from gim_cv.grid import PixelGrid
from gim_cv.patches import Window

Array = NDArray[Any]
Colour = tuple[int, ...]
BLOCK_PX = 512
"""Side of a block of the file, px; strips of a multiple of it compress each block once."""


@contextmanager
def cog_writer(
    path: Path,
    grid: PixelGrid,
    *,
    bands: Mapping[str, int],
    dtype: DTypeLike,
    nodata: float,
    overviews: str,
    tags: Mapping[str, str],
    colours: Mapping[int, Colour] | None = None,
) -> Iterator[Callable[[Window, Array], None]]:
    """Yield a function that writes windows; the file is there when the block ends without an error.

    Parameters
    ----------
    path
        The file; its folder exists.
    grid
        Where the pixels lie.
    bands
        Name of each band → its number, from 1.
    dtype, nodata
        Type of the pixels, and the value that means "nothing here".
    overviews
        How pixels are put together in them: "average" or "mode".
    tags
        Texts to keep in the file.
    colours
        Value → red, green, blue, opacity (0–255) of an image of one uint8 band. A TIFF keeps no
        opacity: in the file, nodata alone is transparent.

    Yields
    ------
    callable
        Takes a window of whole rows, from the top down and `BLOCK_PX` rows at a time, and its
        pixels (rows, width, band).

    Raises
    ------
    RunError
        The disk is full, or broken.
    """
    plain = path.with_name(f".plain.{path.name}")
    profile = {"driver": "GTiff", "count": len(bands), "height": grid.height, "width": grid.width}
    layout = {"tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "bigtiff": "if_safer"}
    place = {"crs": grid.crs.to_wkt(), "transform": grid.transform, "nodata": nodata}
    try:
        with rasterio.open(
            plain,
            "w",
            **profile,
            **layout,
            **place,
            dtype=np.dtype(dtype).name,
            compress="zstd",
            zstd_level=1,
        ) as sink:
            sink.update_tags(**tags)
            for name, number in bands.items():
                sink.set_band_description(number, name)
            if colours is not None:
                sink.write_colormap(1, dict(colours))

            def write(window: Window, pixels: Array) -> None:
                rows, cols = window.slices
                with _writing(plain):
                    sink.write(np.moveaxis(pixels, -1, 0), window=(_ends(rows), _ends(cols)))

            yield write
        _check_whole(plain)
        with atomic_file(path) as part, _writing(path):
            rasterio.shutil.copy(
                plain,
                part,
                driver="COG",
                blocksize=BLOCK_PX,
                compress="deflate",
                predictor="no",
                overview_resampling=overviews,
                bigtiff="if_safer",
            )
            _check_whole(part)
    finally:
        plain.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what GDAL says of a file that it cannot write into an error of ours."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, SystemError) as err:
        raise RunError(
            f"could not be written ({err})", path=path, remedy="Make room on the disk"
        ) from err


def _check_whole(path: Path) -> None:
    """Return if all blocks are in the file: GDAL does not say what it cannot write at the end."""
    size = path.stat().st_size
    try:
        with rasterio.open(path) as raster:
            whole = all(end <= size for end in _block_ends(raster))
    except (RasterioError, TypeError):  # no directory, or a block without a place
        whole = False
    if not whole:
        raise RunError("could not be written", path=path, remedy="Make room on the disk")


def _block_ends(raster: Any) -> Iterator[int]:
    """Yield where each block of a TIFF ends, byte."""
    for band in raster.indexes:
        for (row, col), _ in raster.block_windows(band):
            begin, size = (
                raster.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band)
                for what in ("OFFSET", "SIZE")
            )
            yield int(begin) + int(size)


def _ends(part: slice) -> tuple[int, int]:
    return part.start, part.stop
