"""The labels of a pair put together on its grid, and what became of each pixel of ground.

A pair's store holds patches that may overlap, and where splits meet each has its own view; on the
ground a pixel has one label. Strips of the grid are put together one after the other, so that
memory depends on a raster's width, not on its area or on the number of patches.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gim_cv.patches import IGNORE, Window
from gim_cv.pictures import is_blank
from gim_cv.store import Source, open_arrays, open_store

STRIP_PX = 2**22
"""Pixels of a strip, about."""

Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]


class LabelMap:
    """Labels and image of one pair's store, by windows of its grid.

    Parameters
    ----------
    source
        The store of one pair.
    """

    def __init__(self, source: Source) -> None:
        patches = open_store(source)
        ((self.pair, self.grid),) = patches.attrs["pairs"].items()
        self.recipe: dict[str, Any] = json.loads(patches.attrs["recipe"])
        self.classes: list[str] = list(patches.attrs["classes"])
        self.patch_px = int(patches.sizes["row"])
        self._arrays = open_arrays(source)
        self._row0, self._col0 = (patches[name].to_numpy() for name in ("row0", "col0"))

    @property
    def pixel_m2(self) -> float:
        """Area of a pixel on the ground, m²."""
        return float(np.prod(self.grid["resolution_m"]))

    def labels(self, window: Window) -> Labels:
        """Return ``(height, width)`` class ids; 255 where no patch has a label."""
        canvas = np.full((window.height, window.width), IGNORE, np.uint8)
        for mask, place, part in self._cut("mask", window):
            np.copyto(canvas[place], mask[part][..., 0], where=mask[part][..., 0] != IGNORE)
        return canvas

    def image(self, window: Window) -> NDArray[Any]:
        """Return ``(height, width, band)`` in the store's type; 0 where there is no patch."""
        stored = self._arrays["image"]
        canvas = np.zeros((window.height, window.width, stored.shape[3]), stored.dtype)
        for image, place, part in self._cut("image", window):
            np.copyto(canvas[place], image[part], where=~is_blank(image[part])[..., None])
        return canvas

    def _cut(
        self, name: str, window: Window
    ) -> Iterator[tuple[NDArray[Any], tuple[slice, slice], tuple[slice, slice]]]:
        """Yield the patches that reach into a window, a block in memory at a time."""
        px, array = self.patch_px, self._arrays[name]
        down = (self._row0 < window.row1) & (self._row0 + px > window.row0)
        across = (self._col0 < window.col1) & (self._col0 + px > window.col0)
        members, step = np.flatnonzero(down & across), array.chunks[0]
        for number in np.unique(members // step).tolist():
            block = np.asarray(array[number * step : (number + 1) * step])
            for index in members[members // step == number].tolist():
                box = Window(int(self._row0[index]), int(self._col0[index]), px, px)
                yield block[index - number * step], *_overlap(window, box)


def _overlap(window: Window, box: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the common ground of two windows, as slices of the one and of the other."""
    top, bottom = max(window.row0, box.row0), min(window.row1, box.row1)
    left, right = max(window.col0, box.col0), min(window.col1, box.col1)
    common = Window(top, left, bottom - top, right - left)
    return common.within(window), common.within(box)


class Flips(NamedTuple):
    """A square of ground with pixels whose label is another now."""

    pixels: int
    pair: str
    window: Window


def count_changes(
    before: LabelMap | None, after: LabelMap | None, names: Sequence[str], *, keep: int
) -> tuple[Counts, list[Flips]]:
    """Return how many pixels of ground had which label before and have which after.

    Parameters
    ----------
    before, after
        Maps on one grid; None where there is no ground at all.
    names
        All classes of both, each once.
    keep
        How many squares to return.

    Returns
    -------
    numpy.ndarray
        ``(K + 1, K + 1)`` int64, axes (before, after); the last is "no label".
    list
        The `keep` squares of a patch's size with most pixels that went from one class to another.
    """
    size, known = len(names) + 1, before or after
    counts, flips = np.zeros((size, size), np.int64), list[Flips]()
    if known is None:
        return counts, flips
    height, width, px = int(known.grid["height"]), int(known.grid["width"]), known.patch_px
    step = max(STRIP_PX // width // px, 1) * px
    for top in range(0, height, step):
        strip = Window(top, 0, min(step, height - top), width)
        was, now = (named_labels(one, strip, names) for one in (before, after))
        counts += np.bincount((was * size + now).ravel(), minlength=size * size).reshape(size, size)
        changed = (was != now) & (was < size - 1) & (now < size - 1)
        flips = worst([*flips, *_squares(changed, strip, px, known.pair)], keep)
    return counts, flips


def worst(flips: Iterable[Flips], count: int) -> list[Flips]:
    """Return the `count` squares with most flipped pixels, worst first."""
    return heapq.nsmallest(count, flips, key=lambda one: (-one.pixels, one[1:]))


def named_labels(
    source: LabelMap | None, window: Window, names: Sequence[str]
) -> NDArray[np.uint16]:
    """Return ``(height, width)`` indices into `names`, and ``len(names)`` where no label is."""
    if source is None:
        return np.full((window.height, window.width), len(names), np.uint16)
    table = np.full(256, len(names), np.uint16)
    table[: len(source.classes)] = [names.index(name) for name in source.classes]
    return np.asarray(table[source.labels(window)])


def _squares(changed: NDArray[np.bool_], strip: Window, px: int, pair: str) -> Iterator[Flips]:
    rows, cols = (np.arange(0, length, px) for length in changed.shape)
    if not changed.any():
        return
    sums = np.add.reduceat(np.add.reduceat(changed, rows, 0, np.int64), cols, 1)
    for row, col in np.argwhere(sums).tolist():
        yield Flips(int(sums[row, col]), pair, Window(strip.row0 + row * px, col * px, px, px))
