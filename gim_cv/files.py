"""What a caller gives by hand: files instead of a catalog's entry, shares, functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray
from pydantic import PrivateAttr

from gim_cv.catalog import NAME, MaskValue, Pair
from gim_cv.cuts import Cut
from gim_cv.errors import ConfigError
from gim_cv.functions import function_name
from gim_cv.ground import GroundSplit
from gim_cv.pruning import PruneFn
from gim_cv.raster import open_image

Source = str | Path | Sequence[str | Path]


class FilePair(Pair):
    """A pair whose files lie where the caller says; its entry has their names only."""

    _images: tuple[Path, ...] = PrivateAttr()
    _labels: Path = PrivateAttr()

    @classmethod
    def of(cls, image: Source, labels: str | Path, name: str | None = None) -> Self:
        """Return the pair of an image (or single-band files of one) and its labels.

        Parameters
        ----------
        image, labels
            The files.
        name
            Of the pair; None: the first image's, with other characters than letters, digits, - and
            _ replaced.

        Raises
        ------
        ConfigError
            `name` has other characters.
        """
        images = paths_of(image)
        check_name(name)
        entry = {
            "name": name or name_of(images[0]),
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


def paths_of(image: Source) -> tuple[Path, ...]:
    """Return the files of an image: one, or single-band files."""
    paths = tuple(map(Path, [image] if isinstance(image, str | Path) else image))
    if not paths:
        raise ConfigError("no image", expected="a raster, or single-band rasters of one grid")
    return paths


def name_of(path: Path) -> str:
    """Return a file's stem, with other characters than letters, digits, - and _ replaced."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)


def check_name(name: str | None) -> None:
    """Return if a name that was given has letters, digits, - and _ only, or else ConfigError."""
    if name is not None and not re.fullmatch(NAME, name):
        raise ConfigError("name of a pair", expected="letters, digits, - and _", found=name)


def pair_of(
    image: Source | Pair, labels: str | Path | None, cut: Cut, name: str | None = None
) -> Pair:
    """Return the pair with the bands and the meaning of mask values that the pipelines ask for.

    Parameters
    ----------
    image
        A catalog's pair, or raster files.
    labels
        The label file; None with a pair.
    cut
        Read off the pipelines.
    name
        Of the pair of files; None: the image's.

    Raises
    ------
    ConfigError
        Files without `labels`, a catalog's pair with a `name`, or channels that it has not.
    """
    if isinstance(image, Pair) and name is not None:
        raise ConfigError("a pair of the catalog has its name", expected=image.name, found=name)
    if not isinstance(image, Pair):
        if labels is None:
            raise ConfigError("no mask_src", expected="a vector file or raster of labels")
        image = FilePair.of(image, labels, name)
    more: dict[str, Any] = {}
    if cut.bands is not None:
        more["bands"] = chosen_bands(image.bands, cut.bands, f"pair {image.name}")
    if cut.positive is not None:
        more["mask_values"] = tuple(
            MaskValue.model_validate(row) for row in cut.mask_values() or ()
        )
    return image.model_copy(update=more) if more else image


def chosen_bands(
    own: Sequence[int | str] | None, channels: Sequence[int], name: str
) -> tuple[int | str, ...]:
    """Return those of an image's bands that a pipeline's channels (here from 1) choose.

    Parameters
    ----------
    own
        The bands that are said of the image; None: all.
    channels
        Their numbers among these, from 1.
    name
        Of the image, for the error.

    Raises
    ------
    ConfigError
        There are fewer bands.
    """
    if own is None:
        return tuple(channels)
    if not all(1 <= channel <= len(own) for channel in channels):
        raise ConfigError(
            f"the pipeline's channels are not among the bands of {name}",
            expected=f"channels from 0 to {len(own) - 1}",
            found=[channel - 1 for channel in channels],
        )
    return tuple(own[channel - 1] for channel in channels)


def native_resolution(pair: Pair, raw_dir: Path) -> float:
    """Return the ground size of a pixel of the pair's image, m; only its header is read."""
    image = open_image(
        pair.image_paths(raw_dir),
        **pair.image_options(),
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


def prune_name(function: PruneFn) -> str:
    """Return what a recipe says of a prune function; errors: `function_name`."""
    if isinstance(function, Either):
        return f"{prune_name(function.one)} or {prune_name(function.other)}"
    return function_name(function)


def check_names(pairs: Sequence[Pair]) -> None:
    """Return if no two pairs that are to be pooled have one name.

    Raises
    ------
    ConfigError
        Two have; the files of both are named.
    """
    first: dict[str, Pair] = {}
    for pair in pairs:
        if pair.name in first:
            both = [other.image_paths(Path())[0] for other in (first[pair.name], pair)]
            raise ConfigError(
                f"two training datasets are named {pair.name!r}",
                found=" and ".join(map(str, both)),
                remedy="Leave one out, or give it another name: TrainingDataset(…, name=…)",
            )
        first[pair.name] = pair
