"""Pixel windows: where patches begin, how they are cut and put back. Slices and arrays only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.errors import ConfigError, UnknownError

SPLITS = ("train", "val", "test")
"""Names of the splits; the index is the code in a store."""
IGNORE = 255
"""Class id of a pixel that no loss, metric, count or sampler may use."""
MOST_PX = 2**19
"""Longest side of a raster, px."""

Array = NDArray[Any]
Int = NDArray[np.int64]


def split_code(split: str) -> int:
    """Return the code of a split in a store.

    Raises
    ------
    UnknownError
        It is not one of `SPLITS`.
    """
    if split not in SPLITS:
        raise UnknownError.among("split", split, SPLITS)
    return SPLITS.index(split)


@dataclass(frozen=True, order=True, slots=True)
class Window:
    """A rectangle of pixels: origin and size in px; it may reach beyond its raster."""

    row0: int
    col0: int
    height: int
    width: int

    @property
    def row1(self) -> int:
        """First row below the window, px."""
        return self.row0 + self.height

    @property
    def col1(self) -> int:
        """First column right of the window, px."""
        return self.col0 + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slice of the window in its raster."""
        return slice(self.row0, self.row1), slice(self.col0, self.col1)

    def grown(self, margin: int) -> Window:
        """Return the window with `margin` px more on each side."""
        return Window(
            self.row0 - margin,
            self.col0 - margin,
            self.height + 2 * margin,
            self.width + 2 * margin,
        )

    def clipped(self, height: int, width: int) -> Window:
        """Return the part inside a raster of `height` × `width` px; it may be empty."""
        row0, col0 = min(max(self.row0, 0), height), min(max(self.col0, 0), width)
        row1, col1 = min(max(self.row1, row0), height), min(max(self.col1, col0), width)
        return Window(row0, col0, row1 - row0, col1 - col0)

    def strips(self, most_px: int) -> Iterator[Window]:
        """Yield the window in strips of whole rows, each of about `most_px` px or one row."""
        rows = max(1, most_px // max(self.width, 1))
        for row in range(self.row0, self.row1, rows):
            yield Window(row, self.col0, min(rows, self.row1 - row), self.width)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return the slices of this window in an array that holds `outer`."""
        row, col = self.row0 - outer.row0, self.col0 - outer.col0
        return slice(row, row + self.height), slice(col, col + self.width)


def step_px(patch_px: int, overlap: float) -> int:
    """Return the distance between neighbouring patches, px.

    Parameters
    ----------
    patch_px
        Side of a patch, px.
    overlap
        Share of a patch that its neighbour repeats: 0 (none), 0.5 (half), below 1.

    Raises
    ------
    ConfigError
        The patch is empty, or the overlap is outside [0, 1).

    Examples
    --------
    >>> step_px(256, 0.0), step_px(256, 0.5)
    (256, 128)
    """
    if patch_px < 1:
        raise ConfigError("patch_px is not a size", expected="1 or more", found=patch_px)
    if not 0 <= overlap < 1:
        raise ConfigError("overlap is not a share", expected="0 ≤ overlap < 1", found=overlap)
    return max(1, round(patch_px * (1 - overlap)))


def starts(length: int, patch_px: int, step: int) -> Int:
    """Return where patches begin along an axis so that they cover all of it.

    The last patch is shifted back to end at the edge; an axis shorter than a patch has one
    patch, which begins at 0.

    Parameters
    ----------
    length
        Length of the axis, px.
    patch_px
        Side of a patch, px.
    step
        Distance between neighbours, px; at most `patch_px`.

    Examples
    --------
    >>> starts(10, 4, 4).tolist(), starts(3, 4, 4).tolist()
    ([0, 4, 6], [0])
    """
    last = max(length - patch_px, 0)
    regular = np.arange(0, last, step, dtype=np.int64)
    return np.append(regular, last)


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """The patches of a raster of `height` × `width` px: square, `step` px apart, all of it covered.

    Parameters
    ----------
    height, width
        Size of the raster, px.
    patch_px
        Side of a patch, px.
    step
        Distance between neighbouring patches, px, from 1 to `patch_px`.
    """

    height: int
    width: int
    patch_px: int
    step: int

    @property
    def rows(self) -> Int:
        """First row of each row of patches, px."""
        return starts(self.height, self.patch_px, self.step)

    @property
    def cols(self) -> Int:
        """First column of each column of patches, px."""
        return starts(self.width, self.patch_px, self.step)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what the patches cover, px: the raster, or one patch if larger."""
        return max(self.height, self.patch_px), max(self.width, self.patch_px)

    @property
    def origins(self) -> Int:
        """Origins (n, 2) of all patches, row by row: row0, col0, px."""
        rows, cols = np.meshgrid(self.rows, self.cols, indexing="ij")
        return np.stack([rows.ravel(), cols.ravel()], axis=1)

    def __len__(self) -> int:
        return self.rows.size * self.cols.size

    def __iter__(self) -> Iterator[Window]:
        for row, col in self.origins.tolist():
            yield Window(row, col, self.patch_px, self.patch_px)


def padded(array: Array, height: int, width: int, fill: float = 0) -> Array:
    """Return `array` (h, w, …), enlarged by `fill` at the bottom and right to height × width px."""
    h, w = array.shape[:2]
    if h >= height and w >= width:
        return array
    out = np.full((max(h, height), max(w, width), *array.shape[2:]), fill, array.dtype)
    out[:h, :w] = array
    return out


def cut(
    array: Array, origins: Int, patch_px: int, fill: float = 0, out: Array | None = None
) -> Array:
    """Return the patches (n, patch_px, patch_px, …) that begin at `origins`.

    Parameters
    ----------
    array
        Raster (h, w, …) of any dtype.
    origins
        (n, 2) row0, col0 in px, at or above 0.
    patch_px
        Side of a patch, px.
    fill
        Value of pixels beyond the bottom and right edge.
    out
        Array to fill, instead of a new one.
    """
    if len(origins):
        height, width = (int(edge) + patch_px for edge in origins.max(axis=0))
        array = padded(array, height, width, fill)
    if out is None:
        out = np.empty((len(origins), patch_px, patch_px, *array.shape[2:]), array.dtype)
    for patch, (row, col) in zip(out, origins.tolist(), strict=True):
        patch[:] = array[row : row + patch_px, col : col + patch_px]
    return out


def blank(image: Array, where: Array) -> None:
    """Set the pixels of `image` (h, w, C, contiguous) that `where` (h, w) says to 0, in place."""
    pixels = _pixels(image)
    pixels[where] = np.zeros((), pixels.dtype)


def transposed(image: Array) -> Array:
    """Return `image` (h, w, C, contiguous) with rows as columns: (w, h, C), contiguous."""
    turned = np.ascontiguousarray(_pixels(image).T)
    return turned.view(image.dtype).reshape(*turned.shape, image.shape[2])


def _pixels(image: Array) -> Array:
    """Return `image` (h, w, C, contiguous) as (h, w) whole pixels: moved 2 to 5 times as fast."""
    return image.view(np.dtype((np.void, image.itemsize * image.shape[2])))[..., 0]


def stitch(patches: Array, origins: Int, height: int, width: int) -> Array:
    """Return the raster (height, width, …) that `patches` were cut from: the inverse of `cut`.

    Where patches overlap the later one wins; what no patch covers is 0.

    Parameters
    ----------
    patches
        (n, patch_px, patch_px, …).
    origins
        (n, 2) row0, col0 of each patch, px.
    height, width
        Size of the raster, px.
    """
    out = np.zeros((height, width, *patches.shape[3:]), patches.dtype)
    for patch, (row, col) in zip(patches, origins.tolist(), strict=True):
        target = out[row : row + patches.shape[1], col : col + patches.shape[2]]
        target[:] = patch[: target.shape[0], : target.shape[1]]
    return out
