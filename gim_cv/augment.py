"""Random changes of patches for training. The only user of albumentations.

Every augmenter is called as ``augmenter(image, mask, seed)`` and returns image and mask of the same
shapes and types; equal seeds give equal results, in any thread. Geometry is the same for both; the
image is mirrored into the borders that a warp opens, and the mask is 255 (ignore) there. Ground
without an image (0 in all bands) stays 0, as the model will meet it.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gim_cv.colour import FancyPCA, blank_pixels
from gim_cv.datagen import get_aug_datagen
from gim_cv.errors import ConfigError
from gim_cv.patches import IGNORE

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network at import otherwise
import albumentations as A  # noqa: N812 - its own documentation's name
import cv2

__all__ = ["Augmenter", "FancyPCA", "affine_aug", "get_aug_datagen", "light_aug", "strong_aug"]

WARPED = frozenset({"uint8", "uint16", "int16", "float32", "float64"})
"""Types that OpenCV warps; others go through float64."""

TURNABLE = frozenset({1, 2, 3, 4, 6, 8, 12, 16, 24, 32})
"""Bytes of a pixel that OpenCV turns."""
TURNS = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
"""One, two and three quarters."""

log = logging.getLogger(__name__)
Array = NDArray[Any]
_here = threading.local()


class Kind(NamedTuple):
    """What a list of transforms depends on."""

    bands: int
    dtype: str
    square: bool

    @property
    def rgb(self) -> bool:
        """Whether operations on 8-bit red, green and blue apply."""
        return self.bands == 3 and self.dtype == "uint8"


Build = Callable[[Kind], Sequence[Any]]


@dataclass(frozen=True)
class Augmenter:
    """Geometry, then colour PCA, then light and texture, together with probability `p`.

    Parameters
    ----------
    geometry, photometry
        Functions of the patch's `Kind` that list albumentations transforms.
    p
        Probability that a patch is changed at all.
    fancy_pca
        Colour PCA with its own probability; None: none.
    """

    geometry: Build
    photometry: Build
    p: float
    fancy_pca: FancyPCA | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ConfigError("p of an augmentation", expected="0 to 1", found=self.p)

    def __call__(self, image: Array, mask: Array, seed: int) -> tuple[Array, Array]:
        """Return image and mask, changed as `seed` says.

        Parameters
        ----------
        image
            (row, col, band), any integer or float type.
        mask
            (row, col, label) uint8; where it is 255, pixels have no say in the range of the image.
        seed
            Not negative.
        """
        rng = np.random.default_rng(seed)
        if rng.random() >= self.p:
            return image, mask
        seeds = rng.integers(2**32, size=3).tolist()
        image, mask = self._warp(image, mask, seeds[0])
        blank = blank_pixels(image)
        if self.fancy_pca is not None:
            image, mask = self.fancy_pca(image, mask, seeds[1])
        image = self._shade(image, mask, seeds[2])
        if blank is not None:
            image = image.copy()
            image[blank] = 0
        return image, mask

    def _warp(self, image: Array, mask: Array, seed: int) -> tuple[Array, Array]:
        run = _composed(self.geometry, _kind(image))
        wide = image if image.dtype.name in WARPED else image.astype(np.float64)
        found = run(seed, image=wide, mask=mask[..., 0])
        return _back(found["image"], image.dtype), found["mask"][..., None]

    def _shade(self, image: Array, mask: Array, seed: int) -> Array:
        run = _composed(self.photometry, _kind(image))
        if image.dtype == np.uint8:
            return np.asarray(run(seed, image=image)["image"])
        seen = image[mask[..., 0] != IGNORE]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        if not high > low:
            return image
        unit = ((image - low) / (high - low)).clip(0, 1).astype(np.float32)
        changed = run(seed, image=unit)["image"].astype(np.float64) * (high - low) + low
        return _back(changed, image.dtype)


def strong_aug(p: float = 0.8, fancy_pca: FancyPCA | None = None) -> Augmenter:
    """Return the old project's list of augmentations, with its probabilities.

    Quarter turns and flips always or often; affine, shift-scale-rotate and local warps rarely;
    colour PCA with its own probability; band shifts, noise, blur, sharpening, local or global
    contrast, brightness, hue and gamma. What needs 8-bit RGB is left out for other images, which is
    logged once; there, light and texture work on the range of the patch's labelled pixels.

    Parameters
    ----------
    p
        Probability that a patch is changed at all.
    fancy_pca
        From the training images; None: no colour PCA.

    Raises
    ------
    ConfigError
        If `p` is not within 0–1.
    """
    return Augmenter(_strong_geometry, _strong_photometry, p, fancy_pca=fancy_pca)


def light_aug(p: float) -> Augmenter:
    """Return flips and quarter turns with mild brightness and contrast, for any bands and type.

    Parameters
    ----------
    p
        Probability that a patch is changed at all.

    Raises
    ------
    ConfigError
        If `p` is not within 0–1.
    """
    return Augmenter(_light_geometry, _light_photometry, p)


def affine_aug(p: float) -> Augmenter:
    """Return flips, quarter turns, rotation and zoom, with changes of light and colour.

    Half of the patches are also turned by any angle, sheared a little, and shown at 0.75 to 1.35
    times their size. For any bands and type; only 8-bit RGB changes in hue.

    Parameters
    ----------
    p
        Probability that a patch is changed at all.

    Raises
    ------
    ConfigError
        If `p` is not within 0–1.
    """
    return Augmenter(_affine_geometry, _affine_photometry, p)


# --- lists of transforms ----------------------------------------------------------------------


class _OpenBorder:
    """Mixin: the mask is not mirrored into the border that a warp opens, it is filled."""

    border_mode: int

    def apply_to_mask(self, mask: Array, *args: Any, **params: Any) -> Array:
        kept, self.border_mode = self.border_mode, cv2.BORDER_CONSTANT
        try:
            return np.asarray(super().apply_to_mask(mask, *args, **params))  # type: ignore[misc]
        finally:
            self.border_mode = kept


class _QuarterTurn(A.RandomRotate90):  # type: ignore[misc]
    """Turn squares with OpenCV: ten times as fast as the copy of a turned view."""

    def apply(self, img: Array, factor: int, **params: Any) -> Array:
        if img[0, 0].nbytes not in TURNABLE:
            return np.asarray(super().apply(img, factor, **params))
        return cv2.rotate(img, TURNS[factor - 1]).reshape(img.shape) if factor else img


class _Affine(_OpenBorder, A.Affine):  # type: ignore[misc]
    pass


class _GridDistortion(_OpenBorder, A.GridDistortion):  # type: ignore[misc]
    pass


class _ElasticTransform(_OpenBorder, A.ElasticTransform):  # type: ignore[misc]
    pass


BORDER: dict[str, Any] = {"border_mode": cv2.BORDER_REFLECT_101, "fill_mask": IGNORE}


def _turns(kind: Kind) -> list[Any]:
    """List the symmetries that keep the shape: all eight of a square, four of a rectangle."""
    if kind.square:
        return [_QuarterTurn(p=1.0), A.HorizontalFlip(p=0.5)]
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]


def _strong_geometry(kind: Kind) -> list[Any]:
    tenth = (-0.1, 0.1)
    warps = [_GridDistortion(p=1, **BORDER), _ElasticTransform(p=1, approximate=True, **BORDER)]
    return [
        *_turns(kind),
        _Affine(translate_percent=tenth, shear=(-10, 10), p=0.01, **BORDER),
        _Affine(
            translate_percent=(-0.0625, 0.0625), scale=(0.9, 1.1), rotate=(-45, 45), p=0.2, **BORDER
        ),
        A.OneOf(warps, p=0.02),
    ]


def _strong_photometry(kind: Kind) -> list[Any]:
    std = {"std_range": (0.0125, 0.028), "p": 1}
    contrast = A.RandomBrightnessContrast(brightness_limit=0, contrast_limit=0.2, p=1)
    steps = [
        A.OneOf([A.GaussNoise(**std), A.GaussNoise(per_channel=False, **std)], p=0.2),
        A.OneOf([A.MotionBlur(p=0.2), A.MedianBlur(3, p=0.1), A.Blur(3, p=0.1)], p=0.02),
        A.Sharpen(p=0.2),
        A.OneOf([contrast, A.CLAHE(clip_limit=2, p=1)] if kind.rgb else [contrast], p=0.4),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0, p=0.3),
        A.RandomGamma(gamma_limit=(90, 110), p=0.1),
    ]
    if not kind.rgb:
        _say_skipped(kind.bands, kind.dtype)
        return steps
    hue = A.HueSaturationValue(10, 10, 10, p=0.05)
    return [A.RGBShift(15, 15, 15, p=0.4), *steps[:-1], hue, steps[-1]]


@cache
def _say_skipped(bands: int, dtype: str) -> None:
    log.warning(
        "strong_aug leaves out RGBShift, CLAHE and HueSaturationValue: %d bands of %s are not "
        "8-bit RGB",
        bands,
        dtype,
    )


def _light_geometry(kind: Kind) -> list[Any]:
    return _turns(kind)


def _light_photometry(_kind: Kind) -> list[Any]:
    return [A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=0.5)]


def _affine_geometry(kind: Kind) -> list[Any]:
    zoom = _Affine(scale=(0.75, 1.35), rotate=(-45, 45), shear=(-5, 5), p=0.5, **BORDER)
    return [*_turns(kind), zoom]


def _affine_photometry(kind: Kind) -> list[Any]:
    light = A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.7)
    hue = [A.HueSaturationValue(8, 20, 10, p=0.5)] if kind.rgb else []
    return [light, *hue, A.RandomGamma(gamma_limit=(80, 120), p=0.3)]


# --- running them -----------------------------------------------------------------------------


class _Run:
    """A composition with one pair of generators, which every call seeds anew.

    Albumentations gives each transform a generator of its own with the same seed, so that all their
    first draws are equal and an operation with p = 0.2 comes only where those with 0.3 come.
    """

    def __init__(self, steps: Sequence[Any]) -> None:
        cv2.setNumThreads(0)  # its threads fight ours and slow them down
        self.rng = np.random.Generator(np.random.PCG64(0))
        self.draws = random.Random(0)
        self.compose = A.Compose(list(steps))
        self.compose.set_random_state(self.rng, self.draws)

    def __call__(self, seed: int, **arrays: Array) -> dict[str, Array]:
        self.rng.bit_generator.state = np.random.PCG64(seed).state
        self.draws.seed(seed)
        found: dict[str, Array] = self.compose(**arrays)
        return found


def _composed(build: Build, kind: Kind) -> _Run:
    """Return this thread's composition: one shared by threads would mix up their draws."""
    key = (build, kind)
    runs: dict[Any, _Run] = _here.__dict__.setdefault("runs", {})
    if key not in runs:
        runs[key] = _Run(build(kind))
    return runs[key]


def _kind(image: Array) -> Kind:
    return Kind(image.shape[-1], image.dtype.name, image.shape[0] == image.shape[1])


def _back(image: Array, dtype: np.dtype[Any]) -> Array:
    """Return `image` in the type `dtype`, rounded and kept in its range if that holds integers."""
    if image.dtype == dtype:
        return image
    if dtype.kind in "iu":
        range_ = np.iinfo(dtype)
        image = np.rint(image).clip(range_.min, range_.max)
    return image.astype(dtype)
