"""Labels: a vector file or a label raster that burns by window onto the image's pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.catalog import RASTERS, attribute_text
from gim_cv.errors import DataError
from gim_cv.grid import PixelGrid
from gim_cv.maskraster import MaskRaster, Value, open_mask_raster
from gim_cv.patches import IGNORE, Window
from gim_cv.shapes import Shapes, grown, on_lattice
from gim_cv.vectors import read_features

Array = NDArray[Any]


@dataclass(frozen=True)
class LabelSource:
    """Class ids of any window of an image's native grid. Picklable.

    Attributes
    ----------
    grid
        The image's native grid.
    report
        What was found: features, repaired, cover_percent (share of the image that the labels'
        bounding box covers).
    """

    grid: PixelGrid
    report: Mapping[str, float]
    _source: Shapes | MaskRaster
    _aoi: Shapes | None

    def burn(self, window: Window) -> Array:
        """Return (height, width) uint8 class ids of a window: 255 where nothing is known.

        That is outside the image, outside `aoi`, outside a label raster and on its nodata.
        """
        background = IGNORE if isinstance(self._source, MaskRaster) else 0
        out = self._source.burn(window, background)
        if self._aoi is not None:
            known = self._aoi.covers(window)
            out[... if known is None else ~known] = IGNORE
        inside = window.clipped(self.grid.height, self.grid.width)
        if inside != window:
            known = np.zeros(out.shape, bool)
            known[inside.within(window)] = True
            out[~known] = IGNORE
        return out


def open_labels(
    path: Path,
    *,
    grid: PixelGrid,
    n_classes: int,
    layer: str | None,
    where: str | None,
    class_attribute: str | None,
    classes: Mapping[str, int] | None,
    mask_values: Mapping[Value, int] | None,
    ignore_values: Sequence[Value | str | None],
    all_touched: bool,
    buffer_m: float,
    aoi: Path | None,
    labels_crs: str | None,
) -> LabelSource:
    """Return labels that burn by window onto the pixels of `grid`.

    Vector features near the image are read, reprojected and repaired now; later features win
    where they overlap. A label raster is read by window, nearest pixel.

    Parameters
    ----------
    path
        Vector file, or label raster (see `catalog.RASTERS`).
    grid
        The image's native grid.
    n_classes
        Number of classes, background included.
    layer, where
        Layer of a vector file with several; OGR attribute filter.
    class_attribute, classes
        Column, and the class id of each of its values. None: every feature is class 1.
    mask_values
        Raw value (or RGB triple) of a label raster → class id. None: values are ids.
    ignore_values
        Values (of the raster, or of `class_attribute`) that mean "unknown": 255.
    all_touched
        True: a feature covers each pixel it touches; False: each whose centre it holds.
    buffer_m
        Grows (below 0: shrinks) each feature, m on the ground.
    aoi
        Vector file: pixels whose centre is outside its features are 255.
    labels_crs
        CRS of a label file, or `aoi`, that has none.

    Raises
    ------
    MissingError, UnknownError
        No such file, layer or column.
    DataError
        No CRS, no overlap with the image, or a value without a class.
    """
    area = None if aoi is None else _area(aoi, grid, labels_crs)
    if path.suffix.lower() in RASTERS:
        raster = open_mask_raster(
            path,
            grid=grid,
            mask_values=mask_values,
            ignore_values=[value for value in ignore_values if isinstance(value, int | tuple)],
            n_classes=n_classes,
            labels_crs=labels_crs,
        )
        return LabelSource(grid, {"cover_percent": _percent(raster.cover)}, raster, area)
    found = read_features(
        path,
        grid,
        layer=layer,
        where=where,
        attribute=class_attribute,
        crs=labels_crs,
        reach_m=buffer_m,
    )
    ids = _class_ids(found.attribute, len(found.geometries), classes, ignore_values, path)
    shapes = grown(found.geometries, buffer_m, grid) if buffer_m else found.geometries
    report = {
        "features": len(shapes),
        "repaired": found.repaired,
        "cover_percent": _percent(found.cover),
    }
    return LabelSource(grid, report, Shapes(on_lattice(shapes), ids, all_touched), area)


def _area(path: Path, grid: PixelGrid, crs: str | None) -> Shapes:
    found = read_features(
        path, grid, layer=None, where=None, attribute=None, crs=crs, reach_m=0, own_crs=True
    )
    ones = np.ones(len(found.geometries), np.uint8)
    return Shapes(on_lattice(found.geometries), ones, all_touched=False)


def _percent(share: float) -> float:
    return round(100 * share, 1)


def _class_ids(
    values: Array | None,
    count: int,
    classes: Mapping[str, int] | None,
    ignore_values: Sequence[Value | str | None],
    path: Path,
) -> Array:
    """Return the class id (n,) uint8 of each feature."""
    if values is None:
        return np.ones(count, np.uint8)
    known = {**(classes or {}), **{attribute_text(value): IGNORE for value in ignore_values}}
    texts = [attribute_text(value) for value in values]
    strange = sorted(set(texts) - set(known))
    if strange:
        raise DataError(
            "class_attribute has values without a class",
            path=path,
            expected=f"one of {', '.join(known)}",
            found=", ".join(text or "'' (empty)" for text in strange[:8]),
            remedy="Add them to classes or ignore_values, or leave them out by `where`",
        )
    return np.array([known[text] for text in texts], np.uint8)
