"""One pair ready to be cut: image, labels and ground on one grid, read task by task."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.labels import LabelSource
from gim_cv.patches import IGNORE, PatchGrid, Window, blank, cut
from gim_cv.pruning import PruneFn, reason_to_drop
from gim_cv.raster import ImageSource
from gim_cv.territory import Territory

Array = NDArray[Any]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]
TASK_BYTES = 16 * 2**20
"""About what one task may hold, as patches and as source pixels, bytes."""


@dataclass(frozen=True)
class Batch:
    """Patches that one task gives, after pruning.

    Attributes
    ----------
    image
        (n, h, w, C), source dtype; 0 where invalid.
    mask
        (n, h, w, 1) uint8 class ids, 255 = ignore.
    table
        (n, 3) row0, col0 (px) and split code.
    valid_fraction
        (n,) float32: share of valid pixels.
    class_pixels
        (n, K) int32: pixels of each class.
    dropped
        Reason → patches dropped.
    """

    image: Array
    mask: Array
    table: Int
    valid_fraction: Array
    class_pixels: Array
    dropped: dict[str, int]


@dataclass(frozen=True)
class Scene:
    """A pair on its aligned grid. Picklable.

    Attributes
    ----------
    image, labels, territory
        Pixels, class ids, and who may see them.
    patches
        The grid of patches.
    n_classes
        Number of classes.
    mask_fraction
        Share of a resampled pixel above which it is positive (two classes).
    min_valid, min_labelled, prune_fn
        See `pruning.reason_to_drop`.
    """

    image: ImageSource
    labels: LabelSource
    territory: Territory
    patches: PatchGrid
    n_classes: int
    mask_fraction: float
    min_valid: float
    min_labelled: float
    prune_fn: PruneFn | None

    def read(self, window: Window) -> tuple[Array, Array, Bool]:
        """Return image (h, w, C), mask (h, w) and validity (h, w) of a window, all splits alike."""
        image, valid = self.image.read(window)
        mask = self._mask(window)
        if not valid.all():
            mask[~valid] = IGNORE
        return image, mask, valid

    def _mask(self, window: Window) -> Array:
        resampler = self.image.resampler
        grid = self.image.grid
        inside = window.clipped(grid.height, grid.width)
        if resampler is None:
            return self.labels.burn(window)
        out = np.full((window.height, window.width), IGNORE, np.uint8)
        source = self.labels.burn(resampler.source_window(inside))
        part = resampler.classes(source, inside, self.n_classes, self.mask_fraction)
        out[inside.within(window)] = part
        return out

    def tasks(self) -> list[Int]:
        """Return the patches, (n, 3) row0, col0 and split code, in groups to be read at once.

        Groups are as square as the file's blocks allow, so that each block is decoded about once.
        """
        table = self.territory.patches(self.patches)
        down, across = self._group()
        rows, cols = self.patches.rows, self.patches.cols
        row_group = np.searchsorted(rows, table[:, 0]) // down
        col_group = np.searchsorted(cols, table[:, 1]) // across
        group = row_group * (len(cols) // across + 1) + col_group
        order = np.argsort(group, kind="stable")
        edges = np.flatnonzero(np.diff(group[order])) + 1
        return np.split(table[order], edges) if len(table) else []

    def _group(self) -> tuple[int, int]:
        """Return how many rows and columns of patches make a task."""
        px, step, bands = self.patches.patch_px, self.patches.step, len(self.image.band_names)
        itemsize, resampler = self.image.dtype.itemsize, self.image.resampler
        patch = px * px * (bands * itemsize + 1)
        source = step * step * (bands * itemsize + 1)
        if resampler is not None:  # source pixels, and a float copy of them
            larger = max(1.0, resampler.rows.factor * resampler.cols.factor)
            source = int(step * step * larger * (bands * (itemsize + 8) + 1))
        count = max(1, TASK_BYTES // max(patch, source))
        n_cols = len(self.patches.cols)
        if self.image.block[1] * 2 > self.image.native.width:  # strips: take them whole
            return max(1, count // n_cols), min(count, n_cols)
        side = max(1, math.isqrt(count))
        return side, side

    def cut(self, task: Int) -> Batch:
        """Return the patches of a task: cut, blanked where another split owns, pruned."""
        px = self.patches.patch_px
        row0, col0 = (int(edge) for edge in task[:, :2].min(axis=0))
        row1, col1 = (int(edge) + px for edge in task[:, :2].max(axis=0))
        rect = Window(row0, col0, row1 - row0, col1 - col0)
        image, mask, valid = self.read(rect)
        origins = task[:, :2] - (row0, col0)
        images, masks = cut(image, origins, px), cut(mask[..., None], origins, px)
        valids = cut(valid, origins, px)
        own = self._blank(images, masks, valids, task)
        kept, dropped = self._prune(images, masks, valids, own)
        if len(kept) < len(task):
            images, masks, valids, task = images[kept], masks[kept], valids[kept], task[kept]
        counts = _counts(masks, self.n_classes)
        return Batch(images, masks, task, _shares(valids), counts, dropped)

    def _prune(
        self, images: Array, masks: Array, valids: Bool, own: Bool
    ) -> tuple[Int, dict[str, int]]:
        """Return the indices of the patches to keep, and how many were dropped for what."""
        dropped: Counter[str] = Counter()
        kept = []
        for i in np.flatnonzero(own).tolist():
            reason = reason_to_drop(
                images[i],
                masks[i],
                valids[i],
                min_valid=self.min_valid,
                min_labelled=self.min_labelled,
                prune_fn=self.prune_fn,
            )
            if reason is None:
                kept.append(i)
            else:
                dropped[reason] += 1
        return np.array(kept, np.int64), dict(dropped)

    def plan(self, task: Int) -> Batch:
        """Return `cut` of a task without its pixels: `image` and `mask` of length 0."""
        batch = self.cut(task)
        return replace(batch, image=batch.image[:0].copy(), mask=batch.mask[:0].copy())

    def _blank(self, images: Array, masks: Array, valids: Bool, task: Int) -> Bool:
        """Blank the patches (in place) where other splits own; return which own a pixel at all."""
        own = np.ones(len(task), bool)
        grid, px = self.image.grid, self.patches.patch_px
        for i, (row, col, code) in enumerate(task.tolist()):
            window = Window(row, col, px, px)
            foreign = self.territory.foreign(window, code)
            if foreign is not None:
                blank(images[i], foreign)
                masks[i, ..., 0][foreign] = IGNORE
                valids[i] &= ~foreign
                inside = window.clipped(grid.height, grid.width)
                own[i] = not foreign[inside.within(window)].all()
        return own


def _shares(valids: Bool) -> Array:
    return np.array([np.count_nonzero(v) / v.size for v in valids], np.float32)


def _counts(masks: Array, n_classes: int) -> Array:
    counts = [[np.count_nonzero(mask == k) for k in range(n_classes)] for mask in masks]
    return np.array(counts, np.int32).reshape(-1, n_classes)
