"""A pair → its patch dataset, streamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.catalog import Pair
from gim_cv.ground import GroundSplit
from gim_cv.labels import open_labels
from gim_cv.patches import IGNORE, SPLITS, Int, PatchGrid, step_px
from gim_cv.pruning import PruneFn, nothing_kept
from gim_cv.raster import open_image
from gim_cv.recycler import Recycler
from gim_cv.scene import Harvest, Scene
from gim_cv.scheduling import ordered_map
from gim_cv.schema import SCHEMA, layout
from gim_cv.territory import survey
from gim_cv.zones import read_zones

Array = NDArray[Any]


class PatchOptions(TypedDict):
    """How a pair is cut.

    Attributes
    ----------
    patch_px
        Side of a patch, px.
    overlap
        Share of a patch that its neighbour repeats, 0 to below 1.
    resolution_m
        Ground resolution of the patches, m; 0 = the image's own.
    resampling
        "bilinear" or "cubic", for enlarging; shrinking averages by area.
    mask_fraction
        Of two classes, a resampled pixel is 1 where class 1 covers more than this share of it.
    all_touched
        Whether a feature covers each pixel that it touches, unless the pair says otherwise.
    min_valid, min_labelled
        Least share of valid and of labelled pixels in a patch that is kept.
    split
        Which place belongs to which split.
    prune_fn
        Takes image (h, w, C) and mask (h, w, 1) of a patch; True drops it. May be left out.
    """

    patch_px: int
    overlap: float
    resolution_m: float
    resampling: str
    mask_fraction: float
    all_touched: bool
    min_valid: float
    min_labelled: float
    split: GroundSplit
    prune_fn: NotRequired[PruneFn | None]


def open_scene(pair: Pair, raw_dir: Path, **options: Unpack[PatchOptions]) -> Scene:
    """Return a pair on its aligned grid, ready to be cut; no pixel is read yet.

    Parameters
    ----------
    pair
        The catalog's entry.
    raw_dir
        Folder of the sources: ``data/raw``.
    options
        See `PatchOptions`.

    Raises
    ------
    DataError, MissingError, UnknownError, ConfigError
        See `raster.open_image`, `labels.open_labels` and `territory.survey`.
    """
    patch_px = options["patch_px"]
    image = open_image(
        pair.image_paths(raw_dir),
        **pair.image_options(),
        resolution_m=options["resolution_m"],
        resampling=options["resampling"],
    )
    labels = open_labels(
        pair.labels_path(raw_dir),
        grid=image.native,
        n_classes=len(pair.class_names),
        layer=pair.layer,
        where=pair.where,
        class_attribute=pair.class_attribute,
        classes=pair.classes,
        mask_values={v.value: v.id for v in pair.mask_values} if pair.mask_values else None,
        ignore_values=pair.ignore_values,
        all_touched=options["all_touched"] if pair.all_touched is None else pair.all_touched,
        buffer_m=pair.buffer_m,
        aoi=pair.aoi_path(raw_dir),
        labels_crs=pair.labels_crs,
    )
    grid, resampler = image.grid, image.resampler
    areas = pair.split_areas_path(raw_dir)
    territory = survey(
        grid,
        options["split"],
        pair=pair.name,
        forced=pair.split,
        zones=None if areas is None else read_zones(areas, grid, crs=pair.labels_crs),
        reach_px=0.0 if resampler is None else resampler.reach_px,
    )
    return Scene(
        image=image,
        labels=labels,
        territory=territory,
        patches=PatchGrid(grid.height, grid.width, patch_px, step_px(patch_px, options["overlap"])),
        n_classes=len(pair.class_names),
        mask_fraction=options["mask_fraction"],
        min_valid=options["min_valid"],
        min_labelled=options["min_labelled"],
        prune_fn=options.get("prune_fn"),
    )


class PairStream:
    """The patches of a pair, block by block in a fixed order; iterate over it once or again.

    Parameters
    ----------
    pair
        The catalog's entry.
    scene
        What `open_scene` returned for it.
    progress
        Title of a progress bar on stderr, or None.

    Attributes
    ----------
    scene : Scene
        The same.
    """

    def __init__(self, pair: Pair, scene: Scene, *, progress: str | None) -> None:
        self._pair, self.scene, self._progress = pair, scene, progress
        self._dropped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[xr.Dataset]:
        self._dropped.clear()
        shape, dtype = self.shape, self.scene.image.dtype
        room = layout(shape, dtype).shard
        images = Recycler((room, *shape), dtype, keep=2)
        masks = Recycler((room, *shape[:2], 1), np.uint8, keep=2)
        about, block = self.attrs(), _Block(images, masks)
        kept = 0
        for found in ordered_map(self.scene.cut, self.scene.tasks(), progress=self._progress):
            self._dropped.update(found.dropped)
            kept += len(found)
            start = 0
            while start < len(found):
                start = block.take(found, start)
                if block.room == 0:
                    yield self.dataset(*block.arrays(), about)
                    del block  # so that its memory can be used again
                    block = _Block(images, masks)
        if block.parts:
            yield self.dataset(*block.arrays(), about)
        if kept == 0:
            raise nothing_kept(self._dropped, pair=self._pair.name)

    def plan(self) -> tuple[list[Int], list[Harvest]]:
        """Read the pair once; return its tasks, and what each of them keeps, without pixels."""
        self._dropped.clear()
        tasks = self.scene.tasks()
        plans = list(ordered_map(self.scene.plan, tasks, progress=self._progress))
        for plan in plans:
            self._dropped.update(plan.dropped)
        if not any(len(plan) for plan in plans):
            raise nothing_kept(self._dropped, pair=self._pair.name)
        return tasks, plans

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and bands of a patch."""
        px = self.scene.patches.patch_px
        return px, px, len(self.scene.image.band_names)

    def dataset(
        self, image: Any, mask: Any, plans: Sequence[Harvest], about: dict[str, Any]
    ) -> xr.Dataset:
        """Return the patch dataset of `image` and `mask` (numpy or dask) and what `plans` say."""
        row0, col0, split = np.concatenate([plan.table for plan in plans]).T
        fraction = np.concatenate([plan.valid_fraction for plan in plans])
        counts = np.concatenate([plan.class_pixels for plan in plans])
        names = {"flag_values": list(range(len(SPLITS))), "flag_meanings": " ".join(SPLITS)}
        pair = {"flag_values": [0], "flag_meanings": self._pair.name}
        return xr.Dataset(
            {
                "image": (("patch", "row", "col", "band"), image),
                "mask": (("patch", "row", "col", "label"), mask),
            },
            coords={
                "pair": ("patch", np.zeros(len(row0), np.int16), pair),
                "split": ("patch", split.astype(np.int8), names),
                "row0": ("patch", row0.astype(np.int32), {"units": "px"}),
                "col0": ("patch", col0.astype(np.int32), {"units": "px"}),
                "valid_fraction": ("patch", fraction),
                "class_pixels": (("patch", "class"), counts),
            },
            attrs=about,
        )

    def attrs(self) -> dict[str, Any]:
        """Return the attributes of the patch dataset; `dropped` counts what was read so far."""
        scene, pair = self.scene, self._pair
        described = {
            **scene.image.grid.attrs(),
            "bands": list(scene.image.band_names),
            "nodata": None if scene.image.nodata is None else float(scene.image.nodata),
            "labels": dict(scene.labels.report),
            "ground": scene.territory.attrs(),
            "dropped": dict(sorted(self._dropped.items())),
        }
        return {
            "schema": SCHEMA,
            "classes": list(pair.class_names),
            "ignore": IGNORE,
            "pairs": {pair.name: described},
        }


def stream_pair(
    pair: Pair, raw_dir: Path, *, progress: str | None = None, **options: Unpack[PatchOptions]
) -> PairStream:
    """Return the patches of a pair as blocks to be read once, in a fixed order.

    Each pixel is read about once, memory is bounded by a few tasks, and the content does not
    depend on the number of workers.

    Parameters
    ----------
    pair, raw_dir
        The catalog's entry, and the folder of the sources.
    options
        See `PatchOptions`.
    progress
        Title of a progress bar on stderr, or None.

    Raises
    ------
    DataError
        While iterating: pixels cannot be read, a label has no class, or no patch is left.
    """
    return PairStream(pair, open_scene(pair, raw_dir, **options), progress=progress)


class _Block:
    """Patches of several tasks, cut straight into the arrays of one shard of a store."""

    def __init__(self, images: Recycler, masks: Recycler) -> None:
        self.room = images.shape[0]
        self._image, self._mask = images.take(self.room), masks.take(self.room)
        self.parts: list[Harvest] = []

    def take(self, found: Harvest, start: int) -> int:
        """Cut the patches of `found` from `start` on, as far as there is room; return the next."""
        stop = min(start + self.room, len(found))
        first = len(self._image) - self.room
        self.room -= stop - start
        place = slice(first, first + stop - start)
        found.cut_into(self._image[place], self._mask[place], start)
        self.parts.append(found.part(start, stop))
        return stop

    def arrays(self) -> tuple[Array, Array, list[Harvest]]:
        """Return images, masks and what is said of them."""
        filled = len(self._image) - self.room
        return self._image[:filled], self._mask[:filled], self.parts
