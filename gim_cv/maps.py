"""What was predicted for a scene as maps on the scene's own grid, with a picture of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.cog import BLOCK_PX, cog_writer
from gim_cv.patches import IGNORE, Window
from gim_cv.pictures import (
    PALETTE,
    Picture,
    class_map,
    display_bands,
    limits,
    side_by_side,
    stretched,
)
from gim_cv.raster import ImageSource
from gim_cv.resample import STRIP_PX, Axis, Resampler
from gim_cv.strips import Levels, Strips

Array = NDArray[Any]
Ids = NDArray[np.uint8]
PROBABILITY, CLASSES = "probability.tif", "classes.tif"
PICTURE_PX = 1200
"""Longest side of the picture's halves, px."""


@dataclass
class Summary:
    """What the maps hold, gathered while they are written.

    Attributes
    ----------
    pixels
        (K,) int64: pixels of each class.
    without
        Pixels without an image.
    """

    image: ImageSource
    pixels: NDArray[np.int64]
    without: int = 0
    _rows: list[tuple[Array, Ids]] = field(default_factory=list)

    def add(self, window: Window, pixels: Array, ids: Ids) -> None:
        """Take a strip of rows: the image (h, w, C) and class ids (h, w), 255 = no image."""
        counts = np.bincount(ids.ravel(), minlength=IGNORE + 1)
        self.pixels += counts[: len(self.pixels)]
        self.without += int(counts[IGNORE])
        step = self._step()
        first = -window.row0 % step
        self._rows.append((pixels[first::step, ::step].copy(), ids[first::step, ::step].copy()))

    def picture(self) -> Picture:
        """Return the image and, beside it, the image under the classes' colours."""
        image, ids = (np.concatenate(part) for part in zip(*self._rows, strict=True))
        shown = image[..., display_bands(self.image.band_names)]
        seen = ids != IGNORE
        plain = stretched(shown, limits(shown[None], seen[None]))
        return side_by_side([plain, class_map(plain, ids)])

    def _step(self) -> int:
        return -(-max(self.image.native.height, self.image.native.width) // PICTURE_PX)


def write_maps(
    folder: Path,
    image: ImageSource,
    strips: Strips,
    names: tuple[str, ...],
    level: int,
    *,
    tags: Mapping[str, str],
    bar: Callable[[Iterable[Window], int], Iterable[Window]],
) -> Summary:
    """Write the maps of a scene into `folder`; return what they hold.

    ``probability.tif``: float32, of class 1, or a band for each of more classes; NaN where there is
    no image. ``classes.tif``: uint8 class ids, 255 where there is no image.

    Parameters
    ----------
    folder
        An existing folder.
    image
        The scene, predicted on its `grid`; the maps are on its `native` grid.
    strips
        All rows of `grid`.
    names
        Name of each class.
    level
        From which level a pixel is of class 1, where there are two classes.
    tags
        Texts for both files.
    bar
        Given windows and how many there are, returns them, and may show how far they are.
    """
    grid, read = image.native, _on_native(image, strips)
    found = Summary(image, np.zeros(len(names), np.int64))
    shown = names[1:] if len(names) == 2 else names
    place: dict[str, Any] = {"grid": grid, "tags": tags}
    with ExitStack() as files:
        keep_probability = files.enter_context(
            cog_writer(
                folder / PROBABILITY,
                bands={name: number for number, name in enumerate(shown, start=1)},
                dtype=np.float32,
                nodata=np.nan,
                overviews="average",
                **place,
            )
        )
        keep_classes = files.enter_context(
            cog_writer(
                folder / CLASSES,
                bands={"class": 1},
                dtype=np.uint8,
                nodata=IGNORE,
                overviews="mode",
                colours=_colours(len(names)),
                **place,
            )
        )
        windows = list(grid.window.strips(BLOCK_PX * grid.width))
        for window in bar(windows, len(windows)):
            levels, (pixels, valid) = read(window), image.read_native(window)
            ids = _classes(levels, level)
            ids[~valid] = IGNORE
            probability = levels / np.float32(255)
            probability[~valid] = np.nan
            keep_probability(window, probability)
            keep_classes(window, ids[..., None])
            found.add(window, pixels, ids)
    return found


def _classes(levels: Levels, level: int) -> Ids:
    if levels.shape[-1] == 1:
        return (levels[..., 0] >= level).astype(np.uint8)
    return np.asarray(levels.argmax(-1), np.uint8)


def _on_native(image: ImageSource, strips: Strips) -> Callable[[Window], Levels]:
    """Return what reads levels on the image's native grid, whichever they were predicted on."""
    if image.resampler is None:
        return strips.read
    rows, cols = (
        Axis(axis.target, axis.source, 1 / axis.factor)
        for axis in (image.resampler.rows, image.resampler.cols)
    )
    back = Resampler(rows, cols, "bilinear")

    def read(window: Window) -> Levels:
        return np.concatenate(list(_resampled(back, strips, window)))

    return read


def _resampled(back: Resampler, strips: Strips, window: Window) -> Iterator[Levels]:
    for strip in window.strips(STRIP_PX):
        levels = strips.read(back.source_window(strip))
        yield back.image(levels, np.ones(levels.shape[:2], bool), strip)[0]


def _colours(classes: int) -> dict[int, tuple[int, ...]]:
    """Return value → colour; what is no class is transparent."""
    return {IGNORE: (0, 0, 0, 0), **{k: (*PALETTE[k % len(PALETTE)], 255) for k in range(classes)}}
