"""What a caller gives by hand: files instead of a catalog's entry, shares, functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray
from pydantic import PrivateAttr

from gim_cv.catalog import MaskValue, Pair
from gim_cv.cuts import Cut
from gim_cv.errors import ConfigError
from gim_cv.ground import GroundSplit
from gim_cv.pruning import PruneFn
from gim_cv.raster import open_image

Source = str | Path | Sequence[str | Path]


class FilePair(Pair):
    """A pair whose files lie where the caller says; its entry has their names only."""

    _images: tuple[Path, ...] = PrivateAttr()
    _labels: Path = PrivateAttr()

    @classmethod
    def of(cls, image: Source, labels: str | Path) -> Self:
        """Return the pair of an image (or single-band files of one) and its labels.

        Its name is the first image's, with other characters than letters, digits, - and _ replaced.
        """
        images = tuple(map(Path, [image] if isinstance(image, str | Path) else image))
        entry = {
            "name": re.sub(r"[^A-Za-z0-9_-]+", "_", images[0].stem),
            "source": "files",
            "image": tuple(path.name for path in images),
            "labels": Path(labels).name,
        }
        pair = cls.model_validate(entry)
        pair._images, pair._labels = images, Path(labels)  # noqa: SLF001 - its own kind
        return pair

    def image_paths(self, raw_dir: Path) -> list[Path]:  # noqa: ARG002
        """Return the image files; `raw_dir` has no part in them."""
        return list(self._images)

    def labels_path(self, raw_dir: Path) -> Path:  # noqa: ARG002
        """Return the label file; `raw_dir` has no part in it."""
        return self._labels


def pair_of(image: Source | Pair, labels: str | Path | None, cut: Cut) -> Pair:
    """Return the pair with the bands and the meaning of mask values that the pipelines ask for.

    Parameters
    ----------
    image
        A catalog's pair, or raster files.
    labels
        The label file; None with a pair.
    cut
        Read off the pipelines.

    Raises
    ------
    ConfigError
        Files without `labels`.
    """
    if not isinstance(image, Pair):
        if labels is None:
            raise ConfigError("no mask_src", expected="a vector file or raster of labels")
        image = FilePair.of(image, labels)
    more: dict[str, Any] = {}
    if cut.bands is not None:
        own = image.bands
        more["bands"] = cut.bands if own is None else tuple(own[band - 1] for band in cut.bands)
    if cut.positive is not None:
        more["mask_values"] = tuple(
            MaskValue.model_validate(row) for row in cut.mask_values() or ()
        )
    return image.model_copy(update=more) if more else image


def native_resolution(pair: Pair, raw_dir: Path) -> float:
    """Return the ground size of a pixel of the pair's image, m; only its header is read."""
    image = open_image(
        pair.image_paths(raw_dir),
        bands=pair.bands,
        bounds=pair.bounds,
        nodata=pair.nodata,
        image_crs=pair.image_crs,
        resolution_m=0.0,
        resampling="bilinear",
    )
    return float(image.native.resolution_m[0])


def ground_split(fractions: Sequence[float]) -> GroundSplit:
    """Return the rule that gives cells of 64 m to train, val and, with three shares, test.

    Raises
    ------
    ConfigError
        `fractions` are not two or three shares that sum to 1.
    """
    return GroundSplit("blocks", 64.0, tuple(fractions), seed=1, buffer_m=0.0, folds=0, fold=0)


@dataclass(frozen=True)
class Either:
    """A prune function that drops what one of two drops."""

    one: PruneFn
    other: PruneFn

    def __call__(self, image: NDArray[Any], mask: NDArray[Any]) -> bool:
        """Return whether to drop a patch: image (h, w, C) and mask (h, w, 1)."""
        return self.one(image, mask) or self.other(image, mask)


def function_name(function: Callable[..., Any]) -> str:
    """Return a function's name without its address."""
    if isinstance(function, Either):
        return f"{function_name(function.one)} or {function_name(function.other)}"
    inner = function.func if isinstance(function, partial) else function
    return f"{inner.__module__}.{inner.__qualname__}"
