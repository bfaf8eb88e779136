"""Label rasters: raw values → class ids, on the image's own pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as FileWindow

from gim_cv.errors import DataError
from gim_cv.grid import PixelGrid, apply, transformer
from gim_cv.patches import IGNORE, Window
from gim_cv.rasterfile import Handles, grid_of, has_own_mask, open_raster, unreadable

Array = NDArray[Any]
Value = int | tuple[int, int, int]
"""Raw value of a pixel, or its RGB triple."""
_LEAST_PX = 0.5  # of the image; rasters that only share an edge have less in common
_LATTICE = 16  # px between the points whose place in the label raster is computed exactly


@dataclass(frozen=True)
class MaskRaster:
    """A label raster that burns by window of the image's grid, nearest pixel. Picklable.

    Attributes
    ----------
    path
        The file.
    own
        Its grid.
    grid
        Grid of the image, whose windows `burn` takes.
    ids
        Raw value (or RGB triple) → class id; 255 = ignore.
    masked
        Whether the file has a validity mask of its own.
    """

    path: str
    own: PixelGrid
    grid: PixelGrid
    ids: Mapping[Value, int]
    masked: bool
    _handles: Handles = field(default_factory=Handles, compare=False, repr=False)

    def burn(self, window: Window, background: int) -> Array:
        """Return (height, width) uint8 class ids of a window, `background` outside the raster."""
        shift = self._shift()
        if shift is not None:
            row0, col0 = window.row0 + shift[0], window.col0 + shift[1]
            return self._read(Window(row0, col0, window.height, window.width), background)
        rows, cols = self._places(window)
        row0, col0 = int(rows.min()), int(cols.min())
        height, width = int(rows.max()) - row0 + 1, int(cols.max()) - col0 + 1
        near = Window(row0, col0, height, width).clipped(self.own.height, self.own.width)
        near = near.grown(1)  # a rim of `background`, which all outside pixels are clipped to
        rows = np.clip(rows, near.row0, near.row1 - 1) - near.row0
        cols = np.clip(cols, near.col0, near.col1 - 1) - near.col0
        return self._read(near, background)[rows, cols]

    @property
    def cover(self) -> float:
        """Share of the image, 0 to 1, whose pixels have a place in the label raster."""
        step = max(1, self.grid.height // 64, self.grid.width // 64)
        rows = np.arange(0, self.grid.height, step)[:, None]
        cols = np.arange(0, self.grid.width, step)[None, :]
        r, c = self._exact(rows + 0.5, cols + 0.5)
        inside = (r >= 0) & (r < self.own.height) & (c >= 0) & (c < self.own.width)
        return float(inside.mean()) or self._small_cover()

    def _small_cover(self) -> float:
        """Return the share of the image under a label raster that falls between its samples."""
        rows, cols = self.own.outline(64)
        x, y = apply(self.own.transform, cols, rows)
        if self.own.crs != self.grid.crs:
            x, y = transformer(self.own.crs, self.grid.crs).transform(x, y)
        c, r = apply(~self.grid.transform, x, y)
        if not np.isfinite([c, r]).all():
            return 0.0
        image = shapely.box(0, 0, self.grid.width, self.grid.height)
        area = shapely.intersection(
            shapely.make_valid(shapely.polygons(np.stack([c, r], 1))), image
        ).area
        return float(area / image.area) if area >= _LEAST_PX else 0.0

    def _shift(self) -> tuple[int, int] | None:
        """Return rows and columns to add where both grids have the same pixels, else None."""
        if self.own.crs != self.grid.crs:
            return None
        rows = np.array([0.0, 0.0, self.grid.height])
        cols = np.array([0.0, self.grid.width, 0.0])
        r, c = self._exact(rows, cols)
        down, right = np.round(r - rows), np.round(c - cols)
        if max(np.abs(r - rows - down[0]).max(), np.abs(c - cols - right[0]).max()) > 0.01:
            return None
        return int(down[0]), int(right[0])

    def _exact(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        """Return positions (px) in the label raster of positions (px) on the image's grid."""
        x, y = apply(self.grid.transform, cols, rows)
        if self.own.crs != self.grid.crs:
            x, y = transformer(self.grid.crs, self.own.crs).transform(x, y)
        c, r = apply(~self.own.transform, x, y)
        return r, c

    def _places(self, window: Window) -> tuple[Array, Array]:
        """Return the label pixel (rows, cols), each (height, width) int, of each pixel centre.

        Between CRSs the places are interpolated from a lattice fixed to the image's grid.
        """
        rows = np.arange(window.row0, window.row1)[:, None]
        cols = np.arange(window.col0, window.col1)[None, :]
        if self.own.crs == self.grid.crs:
            r, c = self._exact(rows + 0.5, cols + 0.5)
        else:
            r, c = self._interpolated(rows, cols)
        return np.floor(r).astype(np.int64), np.floor(c).astype(np.int64)

    def _interpolated(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        first_row, first_col = int(rows[0, 0]) // _LATTICE, int(cols[0, 0]) // _LATTICE
        i, s = np.divmod(rows, _LATTICE)
        j, t = np.divmod(cols, _LATTICE)
        nodes_r = np.arange(first_row, int(i[-1, 0]) + 2)[:, None] * _LATTICE + 0.5
        nodes_c = np.arange(first_col, int(j[0, -1]) + 2)[None, :] * _LATTICE + 0.5
        i, j, s, t = i - first_row, j - first_col, s / _LATTICE, t / _LATTICE

        def blend(nodes: Array) -> Array:
            left = nodes[i, j] * (1 - s) + nodes[i + 1, j] * s
            right = nodes[i, j + 1] * (1 - s) + nodes[i + 1, j + 1] * s
            return np.asarray(left * (1 - t) + right * t)

        r, c = self._exact(*np.broadcast_arrays(nodes_r, nodes_c))
        return blend(r), blend(c)

    def _read(self, window: Window, background: int) -> Array:
        """Return class ids of a window of the label raster, `background` outside it."""
        inside = window.clipped(self.own.height, self.own.width)
        if inside.height == 0 or inside.width == 0:
            return np.full((window.height, window.width), background, np.uint8)
        place = FileWindow(inside.col0, inside.row0, inside.width, inside.height)
        colours = any(isinstance(value, tuple) for value in self.ids)
        try:
            dataset = self._handles(self.path)
            raw = dataset.read([1, 2, 3] if colours else [1], window=place)
            known = dataset.read_masks(1, window=place) != 0 if self.masked else None
        except RasterioError as err:
            raise unreadable(err, inside, self.path) from err
        ids = _translate(raw, self.ids, known, self.path)
        if inside == window:
            return ids
        out = np.full((window.height, window.width), background, np.uint8)
        out[inside.within(window)] = ids
        return out


def _translate(raw: Array, ids: Mapping[Value, int], known: Array | None, path: str) -> Array:
    """Return class ids (h, w) uint8 of raw values (bands, h, w); 255 where not `known` or NaN."""
    unknown = next(i for i in range(IGNORE, -1, -1) if i not in {IGNORE, *ids.values()})
    if raw.dtype.kind == "u" and raw.dtype.itemsize <= 2 and len(raw) == 1:
        table = np.full(np.iinfo(raw.dtype).max + 1, unknown, np.uint8)
        for value, class_id in ids.items():
            if isinstance(value, int) and 0 <= value < len(table):  # else no pixel has it
                table[value] = class_id
        # A byte is translated several times as fast as an index is taken.
        out = _bytewise(raw[0], table) if raw.dtype == np.uint8 else np.take(table, raw[0])
    else:
        out = np.full(raw.shape[1:], unknown, np.uint8)
        for value, class_id in ids.items():
            parts = value if isinstance(value, tuple) else (value,)
            hit = [band == part for band, part in zip(raw, parts, strict=True)]
            out[np.logical_and.reduce(hit)] = class_id
    if known is not None:
        out[~known] = IGNORE
    if raw.dtype.kind == "f":
        out[np.isnan(raw).any(axis=0)] = IGNORE
    strange = out == unknown
    if strange.any():
        values = np.unique(raw[:, strange], axis=1).T[:8].tolist()
        raise DataError(
            "label values without a class",
            path=path,
            expected=f"one of {', '.join(map(str, ids))}",
            found=", ".join(str(v[0] if len(v) == 1 else tuple(v)) for v in values),
            remedy="Add them to mask_values or ignore_values of the pair in data/catalog.yaml",
        )
    return np.asarray(out)


def _bytewise(raw: Array, table: Array) -> Array:
    """Return ``table[raw]`` of uint8 arrays; the result may be written to."""
    return np.frombuffer(bytearray(raw).translate(table.tobytes()), np.uint8).reshape(raw.shape)


def _own_grid(dataset: Any, grid: PixelGrid, crs: str | None, path: Path) -> PixelGrid:
    """Return the grid of a label raster: the image's, if it says nothing and has its size."""
    if dataset.crs or crs or not dataset.transform.is_identity:
        return grid_of(dataset, crs, path=path, key="labels_crs")
    if (dataset.height, dataset.width) != (grid.height, grid.width):
        raise DataError(
            "a label raster without georeference must have the image's size",
            path=path,
            expected=f"{grid.height} by {grid.width} px",
            found=f"{dataset.height} by {dataset.width} px",
            remedy="Georeference it, or leave `bounds` out",
        )
    return grid


def _of_one_kind(ids: Mapping[Value, int]) -> dict[Value, int]:
    """Return `ids` with triples only, if any is one: a number stands for itself in every band."""
    triples = {value: class_id for value, class_id in ids.items() if isinstance(value, tuple)}
    if not triples:
        return dict(ids)
    numbers: dict[Value, int] = {
        (v, v, v): class_id for v, class_id in ids.items() if isinstance(v, int)
    }
    return numbers | triples  # a colour with a class has it, whatever the file's nodata is


def open_mask_raster(
    path: Path,
    *,
    grid: PixelGrid,
    mask_values: Mapping[Value, int] | None,
    ignore_values: Sequence[Value],
    n_classes: int,
    labels_crs: str | None,
) -> MaskRaster:
    """Return a label raster on the image's grid; only its header is read now.

    Parameters
    ----------
    path
        Any raster that GDAL reads.
    grid
        Grid of the image, native resolution.
    mask_values
        Raw value, or RGB triple, → class id; where none has class 0, 0 or black has, unless it is
        nodata or to be ignored. None: the values are the ids 0 … n_classes - 1.
    ignore_values
        Raw values that mean "unknown". The file's nodata value joins them, unless `mask_values`
        gives it a class.
    n_classes
        Number of classes.
    labels_crs
        CRS of a file that has none. A file without CRS and geotransform but of the image's size
        lies on the image pixel by pixel.

    Raises
    ------
    DataError
        Unreadable, no CRS, too few bands for RGB triples, or no overlap with the image.
    """
    with open_raster(path) as dataset:
        own = _own_grid(dataset, grid, labels_crs, path)
        ids: dict[Value, int] = dict(mask_values or {i: i for i in range(n_classes)})
        nodata = dataset.nodata
        if nodata is not None and nodata == nodata // 1 and not (mask_values and nodata in ids):
            ids[int(nodata)] = IGNORE
        ids |= dict.fromkeys(ignore_values, IGNORE)
        if mask_values and 0 not in mask_values.values():
            ids.setdefault(0, 0)
        ids = _of_one_kind(ids)
        if any(isinstance(value, tuple) for value in ids) and dataset.count < 3:
            what = "mask_values or ignore_values has RGB triples, the raster too few bands"
            raise DataError(what, path=path, expected="3 bands", found=dataset.count)
        source = MaskRaster(str(path), own, grid, ids, has_own_mask(dataset))
    if source.cover == 0:
        remedy = "Check both CRSs and the file names"
        raise DataError("the label raster does not overlap the image", path=path, remedy=remedy)
    return source
