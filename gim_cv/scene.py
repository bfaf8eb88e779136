"""One pair ready to be cut: image, labels and ground on one grid, read task by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.labels import LabelSource
from gim_cv.patches import IGNORE, PatchGrid, Window, blank, cut
from gim_cv.pruning import PruneFn, reason_to_drop
from gim_cv.raster import ImageSource
from gim_cv.resample import STRIP_PX
from gim_cv.tasks import Cost, group_tasks
from gim_cv.territory import Territory

Array = NDArray[Any]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Harvest:
    """What a task gives: the pixels it read, and which patches of them are kept.

    Attributes
    ----------
    image
        (h, w, C) of the whole task, source dtype; 0 where invalid.
    mask
        (h, w) uint8 of the whole task: class ids, 255 = ignore.
    origin
        Row and column of `image` on the pair's grid, px.
    px
        Side of a patch, px.
    table
        (n, 3) row0, col0 (px) and split code of the patches.
    hidden
        Position in `table` → (px, px) bool: pixels that the patch must not show.
    valid_fraction
        (n,) float32: share of valid pixels.
    class_pixels
        (n, K) int32: pixels of each class.
    dropped
        Reason → patches dropped.
    """

    image: Array
    mask: Array
    origin: tuple[int, int]
    px: int
    table: Int
    hidden: Mapping[int, Bool]
    valid_fraction: Array
    class_pixels: Array
    dropped: dict[str, int]

    def __len__(self) -> int:
        return len(self.table)

    def patches(self, start: int, stop: int) -> tuple[Array, Array]:
        """Return image (n, px, px, C) and mask (n, px, px, 1) of the patches [start, stop)."""
        shape = (stop - start, self.px, self.px)
        image = np.empty((*shape, self.image.shape[2]), self.image.dtype)
        mask = np.empty((*shape, 1), np.uint8)
        self.cut_into(image, mask, start)
        return image, mask

    def cut_into(self, images: Array, masks: Array, start: int) -> None:
        """Fill images (n, px, px, C) and masks (n, px, px, 1) with the patches from `start` on."""
        origins = self.table[start : start + len(images), :2] - self.origin
        cut(self.image, origins, self.px, out=images)
        cut(self.mask[..., None], origins, self.px, out=masks)
        for i in range(len(origins)):
            hidden = self.hidden.get(start + i)
            if hidden is not None:
                blank(images[i], hidden)
                ids = masks[i, ..., 0]
                np.maximum(ids, hidden * np.uint8(IGNORE), out=ids)

    def part(self, start: int, stop: int) -> Harvest:
        """Return what is said of the patches [start, stop), without their pixels."""
        return replace(
            self,
            image=self.image[:0, :0].copy(),
            mask=self.mask[:0, :0].copy(),
            hidden={},
            table=self.table[start:stop],
            valid_fraction=self.valid_fraction[start:stop],
            class_pixels=self.class_pixels[start:stop],
        )


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
        resampler, grid = self.image.resampler, self.image.grid
        if resampler is None:
            return self.labels.burn(window)
        inside = window.clipped(grid.height, grid.width)
        out = np.full((window.height, window.width), IGNORE, np.uint8)
        for strip in inside.strips(STRIP_PX):
            source = self.labels.burn(resampler.source_window(strip))
            part = resampler.classes(source, strip, self.n_classes, self.mask_fraction)
            out[strip.within(window)] = part
        return out

    def tasks(self) -> list[Int]:
        """Return the patches, (n, 3) row0, col0 and split code, in groups to be read at once."""
        bands, itemsize = len(self.image.band_names), self.image.dtype.itemsize
        pixel_bytes, factors = float(bands * itemsize + 4), (1.0, 1.0)  # mask, and who may see it
        if self.image.resampler is not None:
            pixel_bytes += 4 * bands  # the sums of its strips, which the allocator does not return
            factors = self.image.resampler.rows.factor, self.image.resampler.cols.factor
        table = self.territory.patches(self.patches)
        return group_tasks(table, self.patches, Cost(self.image.block, factors, pixel_bytes))

    def cut(self, task: Int) -> Harvest:
        """Return the patches of a task: cut, blanked where another split owns, pruned."""
        px, rect = self.patches.patch_px, self._around(task)
        image, mask, valid = self.read(rect)
        areas = {
            code: self._around(task[task[:, 2] == code]) for code in np.unique(task[:, 2]).tolist()
        }
        others = {code: self.territory.foreign(area, code) for code, area in areas.items()}
        dropped: Counter[str] = Counter()
        kept: list[int] = []
        hidden: dict[int, Bool] = {}
        shares: list[float] = []
        counts: list[list[int]] = []
        for i, (row, col, code) in enumerate(task.tolist()):
            window = Window(row, col, px, px)
            place = window.within(rect)
            foreign = _some(others[code], window.within(areas[code]))
            if foreign is not None and self._owns_nothing(foreign, window):
                continue
            reason, share, count = self._judge(image[place], mask[place], valid[place], foreign)
            if reason is not None:
                dropped[reason] += 1
                continue
            if foreign is not None:
                hidden[len(kept)] = foreign
            kept.append(i)
            shares.append(share)
            counts.append(count)
        return Harvest(
            image=image,
            mask=mask,
            origin=(rect.row0, rect.col0),
            px=px,
            table=task[kept],
            hidden=hidden,
            valid_fraction=np.array(shares, np.float32),
            class_pixels=np.array(counts, np.int32).reshape(-1, self.n_classes),
            dropped=dict(dropped),
        )

    def _around(self, task: Int) -> Window:
        """Return the window of all patches of a task."""
        px = self.patches.patch_px
        row0, col0 = (int(edge) for edge in task[:, :2].min(axis=0))
        row1, col1 = (int(edge) + px for edge in task[:, :2].max(axis=0))
        return Window(row0, col0, row1 - row0, col1 - col0)

    def _judge(
        self, image: Array, ids: Array, valid: Bool, foreign: Bool | None
    ) -> tuple[str | None, float, list[int]]:
        """Return why a patch is dropped (or None), its share of valid pixels, its class pixels."""
        if foreign is not None:
            valid, ids = valid & ~foreign, np.maximum(ids, foreign * np.uint8(IGNORE))
            if self.prune_fn is not None:  # it may look at blanked pixels
                image = image.copy()
                blank(image, foreign)
        valid_px = int(np.count_nonzero(valid))
        labelled_px = ids.size - int(np.count_nonzero(ids == IGNORE))
        classes = [int(np.count_nonzero(ids == k)) for k in range(1, self.n_classes)]
        reason = reason_to_drop(
            image,
            ids[..., None],
            valid,
            valid_px=valid_px,
            labelled_px=labelled_px,
            min_valid=self.min_valid,
            min_labelled=self.min_labelled,
            prune_fn=self.prune_fn,
        )
        return reason, valid_px / valid.size, [labelled_px - sum(classes), *classes]

    def plan(self, task: Int) -> Harvest:
        """Return `cut` of a task without its pixels."""
        found = self.cut(task)
        return found.part(0, len(found))

    def _owns_nothing(self, foreign: Bool, window: Window) -> bool:
        """Return whether other splits own all pixels of a window that lie in the raster."""
        inside = window.clipped(self.image.grid.height, self.image.grid.width)
        return bool(foreign[inside.within(window)].all())


def _some(where: Bool | None, place: tuple[slice, slice]) -> Bool | None:
    """Return a part of `where`, or None if nothing in it is True."""
    part = None if where is None else where[place]
    return part if part is not None and part.any() else None
