"""Rasters on disk: lazy, aligned, with a validity mask of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as FileWindow

from gim_cv.errors import DataError
from gim_cv.grid import PixelGrid
from gim_cv.patches import MOST_PX, Window, blank
from gim_cv.rasterfile import (
    OWN_MASK,
    Handles,
    band_table,
    choose_bands,
    common_dtype,
    common_grid,
    nodata_of,
    open_raster,
    unreadable,
    validity_bands,
)
from gim_cv.resample import STRIP_PX, Axis, Resampler

Array = NDArray[Any]
Bool = NDArray[np.bool_]
SQUARE_TOLERANCE = 0.1
"""How far (share) a pixel's height and width on the ground may differ."""


@dataclass(frozen=True)
class ImageSource:
    """A raster that is read by window, on a grid of any resolution. Picklable.

    Attributes
    ----------
    parts
        The files, each with the bands (from 1) read from it, in the order of `band_names`.
    band_names
        Name of each band.
    dtype
        Type of the pixels, as stored.
    marks
        Value of each band that means "no image here", or None.
    masks
        Of each file in `parts`, where validity comes from besides `marks`, NaN and infinity: see
        `rasterfile.validity_bands`.
    native
        Grid of the file, or of the part that `bounds` keeps.
    origin
        Row and column of that part in the file, px.
    grid
        Grid of `read`: `native`, or resampled.
    block
        Height and width of the blocks the file is stored in, px.
    """

    parts: tuple[tuple[str, tuple[int, ...]], ...]
    band_names: tuple[str, ...]
    dtype: np.dtype[Any]
    marks: tuple[float | None, ...]
    masks: tuple[tuple[int, ...], ...]
    native: PixelGrid
    origin: tuple[int, int]
    grid: PixelGrid
    block: tuple[int, int]
    resampler: Resampler | None
    _handles: Handles = field(default_factory=Handles, compare=False, repr=False)

    @property
    def nodata(self) -> float | None:
        """Pixel value that means "no image here", that of the first band; or None."""
        return self.marks[0]

    def read(self, window: Window) -> tuple[Array, Bool]:
        """Return image and validity of a window of `grid`.

        Returns
        -------
        image
            (window.height, window.width, C), source dtype, 0 where invalid.
        valid
            (window.height, window.width) bool; False beyond the raster.
        """
        inside = window.clipped(self.grid.height, self.grid.width)
        if self.resampler is None or 0 in (inside.height, inside.width):
            return self.read_native(window)
        image = np.empty((inside.height, inside.width, len(self.band_names)), self.dtype)
        valid = np.empty(image.shape[:2], bool)
        for strip in inside.strips(STRIP_PX):
            source = self.read_native(self.resampler.source_window(strip))
            place = strip.within(inside)
            image[place], valid[place] = self.resampler.image(*source, strip)
        return _placed(image, valid, inside, window)

    def read_native(self, window: Window) -> tuple[Array, Bool]:
        """Return image and validity, as `read`, of a window of `native`."""
        inside = window.clipped(self.native.height, self.native.width)
        image = np.empty((inside.height, inside.width, len(self.band_names)), self.dtype)
        if image.size == 0:
            return _placed(image, np.zeros(image.shape[:2], bool), inside, window)
        place = FileWindow(
            inside.col0 + self.origin[1], inside.row0 + self.origin[0], inside.width, inside.height
        )
        planes = np.moveaxis(image, -1, 0)
        valid = np.ones(image.shape[:2], bool)
        done = 0
        for (path, indexes), masks in zip(self.parts, self.masks, strict=True):
            try:
                dataset = self._handles(path)
                dataset.read(indexes, window=place, out=planes[done : done + len(indexes)])
                for mask in masks:
                    valid &= _shown(dataset, mask, place)
            except RasterioError as err:
                raise unreadable(err, inside, path) from err
            done += len(indexes)
        self._drop_by_value(valid, image)
        if not valid.all():
            blank(image, ~valid)
        return _placed(image, valid, inside, window)

    def _drop_by_value(self, valid: Bool, image: Array) -> None:
        """Clear `valid` where a pixel is NaN or infinite in any band, or nodata in all."""
        if image.dtype.kind == "f":
            valid &= np.isfinite(image).all(axis=-1)
        if all(_fits(mark, image.dtype) for mark in self.marks):
            same = len(set(self.marks)) == 1  # compared much faster with one number
            mark = np.array(self.marks[0] if same else self.marks, image.dtype)
            valid &= (image != mark).any(axis=-1)


def _shown(dataset: Any, mask: int, place: Any) -> Bool:
    """Return where one of `validity_bands` is not 0 in a window of a file."""
    own = mask == OWN_MASK
    found = dataset.read_masks(1, window=place) if own else dataset.read(mask, window=place)
    return np.asarray(found != 0)


def _fits(value: float | None, dtype: np.dtype[Any]) -> bool:
    """Return whether a pixel of `dtype` can have this value; -9999 in a uint8 file cannot."""
    if value is None or np.isnan(value):
        return False
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max and value == round(value))


def _placed(image: Array, valid: Bool, inside: Window, window: Window) -> tuple[Array, Bool]:
    """Return the arrays of `inside` in larger ones of `window`, zero and False around."""
    if inside == window:
        return image, valid
    at = inside.within(window)
    wide_image = np.zeros((window.height, window.width, image.shape[2]), image.dtype)
    wide_valid = np.zeros((window.height, window.width), bool)
    wide_image[at], wide_valid[at] = image, valid
    return wide_image, wide_valid


def open_image(
    paths: Path | Sequence[Path],
    *,
    bands: Sequence[int | str] | None,
    bounds: tuple[float, float, float, float] | None,
    nodata: float | None,
    image_crs: str | None,
    resolution_m: float,
    resampling: str,
) -> ImageSource:
    """Return an image that is read by window; only its header is read now.

    Parameters
    ----------
    paths
        One raster, or single-band rasters of equal grids in band order.
    bands
        Bands to keep, numbers from 1 or names (description or colour); None: all but alpha.
    bounds
        left, bottom, right, top in the image's CRS: keep this window, to whole pixels. None: all.
    nodata
        Pixel value that means "no image here"; None: what the file says.
    image_crs
        CRS of an image that has none.
    resolution_m
        Ground resolution of the result, m; 0, or within 1 % of the file's own: native.
    resampling
        "bilinear" or "cubic", for enlarging; shrinking averages by area.

    Raises
    ------
    MissingError
        A file is not there.
    DataError
        Unreadable, no CRS, unknown band, grids that differ, or bounds off the image.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    opened = [open_raster(path) for path in files]
    try:
        whole = common_grid(opened, files, image_crs)
        chosen = choose_bands(band_table(opened, files), bands, files[0])
        window = whole.window if bounds is None else whole.bounds_window(bounds, path=files[0])
        native = whole.part(window)
        places = [(number, index) for number, index, _ in chosen]
        parts = [
            (number, tuple(index for _, index in rows))
            for number, rows in groupby(places, key=lambda place: place[0])
        ]
        _check_size(native, files[0])
        factors = native.factors(resolution_m)
        _check_square(native.resampled(factors), files[0])
        return ImageSource(
            parts=tuple((str(files[number]), indexes) for number, indexes in parts),
            band_names=tuple(name for _, _, name in chosen),
            dtype=common_dtype(opened, places, files[0]),
            marks=nodata_of(opened, places) if nodata is None else (nodata,) * len(places),
            masks=tuple(validity_bands(opened[number]) for number, _ in parts),
            native=native,
            origin=(window.row0, window.col0),
            grid=native if factors == (1, 1) else native.resampled(factors),
            block=opened[0].block_shapes[0],
            resampler=_resampler(native, factors, resampling),
        )
    finally:
        for dataset in opened:
            dataset.close()


def _check_size(grid: PixelGrid, path: Path) -> None:
    if max(grid.height, grid.width) > MOST_PX:
        raise DataError(
            "the image is too large",
            path=path,
            expected=f"at most {MOST_PX} px a side",
            found=f"{grid.height} by {grid.width} px",
            remedy="Make several pairs of it by `bounds`",
        )


def _check_square(grid: PixelGrid, path: Path) -> None:
    down, across = grid.resolution_m
    if abs(down / across - 1) > SQUARE_TOLERANCE:
        raise DataError(
            "pixels are not square on the ground",
            path=path,
            expected=f"height and width equal within {SQUARE_TOLERANCE:.0%}",
            found=f"{down:.3g} m by {across:.3g} m",
            remedy="Set prepare.resolution_m in params.yaml, which resamples each axis",
        )


def _resampler(
    native: PixelGrid, factors: tuple[float, float], resampling: str
) -> Resampler | None:
    target = native.resampled(factors)
    rows = Axis(native.height, target.height, factors[0])
    cols = Axis(native.width, target.width, factors[1])
    return None if factors == (1, 1) else Resampler(rows, cols, resampling)
