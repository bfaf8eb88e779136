"""Which patches and which ground a report shows, and their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.footprints import Footprints, Ids, paste, put, windows_of
from gim_cv.patches import SPLITS, Window
from gim_cv.pictures import (
    Picture,
    cropped,
    display_bands,
    enlarged,
    is_blank,
    limits,
    panels,
    stretched,
    with_holes,
)
from gim_cv.schema import pair_names, split_slice
from gim_cv.scores import IGNORE, confusion, scores
from gim_cv.tally import read_predictions

PANEL_PX = 256
"""A patch's panel is enlarged to at least this side."""
GROUND_PX = 512
"""Largest side of a window of ground, px of the image."""
MAP_PX = 420
"""Largest side of a pair's map, px of the picture."""
MIN_FOREGROUND = 0.01
SPLIT_COLOURS = {"train": (120, 120, 120), "val": (255, 176, 0), "test": (0, 180, 255)}
READ_AT_ONCE = 64


@dataclass(frozen=True)
class Patch:
    """One scored patch: where it is in the store and on its pair's grid, IoU, share scored."""

    split: str
    index: int
    pair: str
    row0: int
    col0: int
    score: float
    seen: float


@dataclass(frozen=True)
class Figure:
    """A picture with the words for it; `name` is its file's stem."""

    name: str
    caption: str
    alt: str
    picture: Picture


class Gallery:
    """Draws what a run predicted on the validation and test ground of a store.

    Parameters
    ----------
    patches
        The combined store.
    predictions
        The zarr group that evaluation left.
    level
        Level that cuts a binary model's probabilities.
    """

    def __init__(self, patches: xr.Dataset, predictions: Path, level: int) -> None:
        self._patches, self._predictions, self._level = patches, predictions, level
        self._classes = patches.sizes["class"]
        self._limits: dict[str, NDArray[np.float64]] = {}

    def scored(self, splits: Sequence[str] = ("test", "val")) -> list[Patch]:
        """Return the patches worth showing with their IoU, best first.

        A patch with less than 1 % of foreground in truth is left out: its score says little.
        """
        found = [patch for split in splits for patch in self._scored_in(split)]
        return sorted(found, key=lambda patch: (-patch.score, patch.split, patch.index))

    def strip(self, patch: Patch) -> list[Picture]:
        """Return the panels of one patch: image, outlines, errors (see `pictures.panels`)."""
        part = self._patches.isel(patch=self._place(patch))
        guess = self._decided(next(read_predictions(self._predictions, patch.split, [patch.index])))
        image, truth = part["image"].to_numpy(), part["mask"].to_numpy()[..., 0]
        times = max(1, -(-PANEL_PX // len(image)))
        picture = self._stretched(image, patch.pair)
        holes = enlarged(is_blank(image) & (truth == IGNORE), times)
        drawn = panels(picture, truth, guess, classes=self._classes, times=times)
        return [with_holes(panel, holes) for panel in drawn] if holes.any() else drawn

    def ground(self, split: str, *, most: int) -> Iterator[Figure]:
        """Yield, for up to `most` pairs, the window of a split with most foreground.

        The picture has what the model finds, invents and misses as outlines over the image;
        ground of other splits is transparent.
        """
        part = self._patches.isel(patch=split_slice(self._patches, split))
        places = Footprints.of(part)
        foreground = part["class_pixels"].to_numpy()[:, 1:].sum(1)
        names = pair_names(self._patches)
        totals = [(int(foreground[places.pair == code].sum()), code) for code in range(len(names))]
        for total, code in sorted(totals, key=lambda item: (-item[0], item[1]))[:most]:
            if total:
                windows = windows_of(places, code, GROUND_PX)
                window, members = max(windows, key=lambda item: int(foreground[item[1]].sum()))
                picture = self._ground(part, split, window, members, names[code])
                caption = f"{names[code]}, {split} ground"
                alt = f"Outlines of truth and prediction over the {split} ground of {names[code]}"
                yield Figure(f"ground_{split}_{names[code]}", caption, alt, picture)

    def maps(self, *, most: int) -> list[Figure]:
        """Return a map of each of the first `most` pairs: patches in grey, tinted by split."""
        places = Footprints.of(self._patches)
        names = pair_names(self._patches)[:most]
        steps = [self._map_step(name) for name in names]
        maps = [self._empty_map(name, step) for name, step in zip(names, steps, strict=True)]
        split = self._patches["split"].to_numpy()
        wanted = np.flatnonzero(places.pair < len(names))
        for start in range(0, len(wanted), READ_AT_ONCE):
            chosen = wanted[start : start + READ_AT_ONCE]
            images = self._patches["image"].isel(patch=chosen).to_numpy()
            for index, image in zip(chosen, images, strict=True):
                code = int(places.pair[index])
                tinted = self._tinted(image, names[code], SPLITS[split[index]])
                origin = int(places.row0[index]), int(places.col0[index])
                put(maps[code], tinted, *origin, step=steps[code], over=True)
        return [
            Figure(f"map_{name}", name, f"Where {name} trains, validates and tests", picture)
            for name, picture in zip(names, maps, strict=True)
        ]

    # --- inside -------------------------------------------------------------------------------

    def _scored_in(self, split: str) -> Iterator[Patch]:
        part = self._patches.isel(patch=split_slice(self._patches, split))
        places, names = Footprints.of(part), pair_names(self._patches)
        for start in range(0, len(places), READ_AT_ONCE):
            stop = min(start + READ_AT_ONCE, len(places))
            masks = part["mask"].isel(patch=slice(start, stop)).to_numpy()[..., 0]
            kept = read_predictions(self._predictions, split, range(start, stop))
            for index, truth, levels in zip(range(start, stop), masks, kept, strict=True):
                score = self._score(truth, levels)
                if score is not None:
                    row0, col0 = int(places.row0[index]), int(places.col0[index])
                    seen = float((truth != IGNORE).mean())
                    yield Patch(split, index, names[places.pair[index]], row0, col0, score, seen)

    def _score(self, truth: NDArray[np.uint8], levels: NDArray[np.uint8]) -> float | None:
        foreground = (truth != 0) & (truth != IGNORE)
        if foreground.mean() < MIN_FOREGROUND:
            return None
        found = scores(confusion(truth, self._decided(levels), self._classes))["iou"]
        return float(found) if isinstance(found, float) else None

    def _decided(self, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return (levels >= self._level).astype(np.uint8) if self._classes == 2 else levels

    def _place(self, patch: Patch) -> int:
        return int(split_slice(self._patches, patch.split).start) + patch.index

    def _bands(self, pair: str) -> list[int]:
        return display_bands(self._patches.attrs["pairs"][pair]["bands"])

    def _stretched(self, image: NDArray[np.generic], pair: str) -> Picture:
        if pair not in self._limits:
            self._limits[pair] = self._find_limits(pair)
        return stretched(image[..., self._bands(pair)], self._limits[pair])

    def _find_limits(self, pair: str) -> NDArray[np.float64]:
        """Percentiles of up to 16 patches of the pair, so that all its pictures look alike."""
        code = pair_names(self._patches).index(pair)
        members = np.flatnonzero(self._patches["pair"].to_numpy() == code)
        chosen = members[np.unique(np.linspace(0, len(members) - 1, 16).astype(int))]
        parts = [self._patches.isel(patch=int(index)) for index in chosen]
        images = np.stack([part["image"].to_numpy() for part in parts])[..., self._bands(pair)]
        seen = np.stack([part["mask"].to_numpy()[..., 0] != IGNORE for part in parts])
        return limits(images, seen)

    def _ground(
        self, part: xr.Dataset, split: str, window: Window, members: Ids, pair: str
    ) -> Picture:
        places, cut = Footprints.of(part), part.isel(patch=members)

        def pasted(values: NDArray[np.uint8], fill: int) -> NDArray[np.uint8]:
            return paste(values, members, places, window, fill=fill)

        levels = np.stack(list(read_predictions(self._predictions, split, members)))
        images, masks = cut["image"].to_numpy(), cut["mask"].to_numpy()[..., 0]
        image, truth = pasted(self._stretched(images, pair), 0), pasted(masks, IGNORE)
        guess = pasted(self._decided(levels), 0)
        times = max(1, 2 * GROUND_PX // max(window.height, window.width, GROUND_PX))
        drawn = panels(image, truth, guess, classes=self._classes, times=times)[-2]
        holes = pasted((is_blank(images) & (masks == IGNORE)).astype(np.uint8), 1)
        return cropped(with_holes(drawn, enlarged(holes == 1, times)))

    def _map_step(self, pair: str) -> int:
        grid = self._patches.attrs["pairs"][pair]
        return max(1, -(-int(max(grid["height"], grid["width"])) // MAP_PX))

    def _empty_map(self, pair: str, step: int) -> Picture:
        grid = self._patches.attrs["pairs"][pair]
        return np.zeros((-(-grid["height"] // step), -(-grid["width"] // step), 4), np.uint8)

    def _tinted(self, image: NDArray[np.generic], pair: str, split: str) -> Picture:
        grey = self._stretched(image, pair).mean(-1, keepdims=True)
        tinted = grey * 0.55 + np.array(SPLIT_COLOURS[split]) * 0.45
        return with_holes(tinted.astype(np.uint8), is_blank(image))


def choose(
    scored: Sequence[Patch], count: int, *, patch_px: int, seed: int
) -> dict[str, list[Patch]]:
    """Return up to `count` patches each as "best", "random" and "worst", without overlap.

    Patches of which less than half is scored are left out, unless there are no others.

    Parameters
    ----------
    scored
        Patches, best first.
    count
        How many of each kind.
    patch_px
        Side of a patch, px.
    seed
        Seed of the random ones.
    """
    scored = [patch for patch in scored if patch.seen >= 0.5] or scored
    shuffled = [scored[i] for i in np.random.default_rng(seed).permutation(len(scored))]
    taken: list[Patch] = []
    found = {}
    for kind, order in (("best", scored), ("worst", scored[::-1]), ("random", shuffled)):
        found[kind] = _apart(order, count, patch_px, taken)
        taken += found[kind]
    return found


def _apart(order: Sequence[Patch], count: int, patch_px: int, taken: list[Patch]) -> list[Patch]:
    chosen: list[Patch] = []
    for patch in order:
        if len(chosen) == count:
            break
        if not any(_overlap(patch, other, patch_px) for other in (*taken, *chosen)):
            chosen.append(patch)
    return chosen


def _overlap(one: Patch, other: Patch, patch_px: int) -> bool:
    near = abs(one.row0 - other.row0) < patch_px and abs(one.col0 - other.col0) < patch_px
    return one.pair == other.pair and near
