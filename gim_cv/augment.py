"""Augmentation: the same geometry for image and mask, colours for the image alone.

Every augmenter is called with image (h, w, C) of any dtype, mask (h, w, 1) uint8 and a seed, and
returns both with the same shapes and dtypes. Same arguments, same result, in any thread.
What a warp opens at the border is 0 in the image and 255 (ignore) in the mask, as in the stores.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network at import otherwise

import albumentations as A  # noqa: N812  its own documentation's name
import cv2
import numpy as np
from numpy.typing import NDArray

from gim_cv.colour import FancyPCA
from gim_cv.patches import IGNORE

__all__ = ["FancyPCA", "get_aug_datagen", "light_aug", "strong_aug"]

Array = NDArray[Any]
log = logging.getLogger(__name__)
cv2.setNumThreads(0)  # callers run in threads of their own; OpenCV's on top are slower


class _ColourShift(A.ImageOnlyTransform):
    """`FancyPCA` as a step of albumentations."""

    def __init__(self, pca: FancyPCA) -> None:
        super().__init__(p=pca.p)
        self.sampler = pca.sampler

    def get_params(self) -> dict[str, Any]:
        """Return the shift of one patch."""
        return {"shift": self.sampler.shift(self.random_generator)}

    def apply(self, img: Array, shift: Array, **_params: Any) -> Array:
        """Return the image, bytes or 0–1 floats, with `shift` added to every pixel."""
        top = 255.0 if img.dtype == np.uint8 else 1.0
        # One table look-up for each band of bytes, one pass for floats.
        if img.dtype == np.uint8:
            levels = np.arange(256)[:, None] + shift * top
            table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
            return np.stack([table[img[..., b], b] for b in range(img.shape[-1])], axis=-1)
        return np.asarray(np.clip(img + shift.astype(np.float32), 0, 1))


@dataclass
class StrongAug:
    """The full list of augmentations; see `strong_aug`."""

    p: float
    fancy_pca: FancyPCA | None
    _own: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def __call__(self, image: Array, mask: Array, seed: int) -> tuple[Array, Array]:
        """Return image and mask, changed in a way that depends on `seed` alone."""
        unit, restore = _to_unit(image)
        steps = self._steps(unit.shape[-1], unit.dtype == np.uint8)
        steps.set_random_seed(seed)
        done = steps(image=unit, mask=mask)
        return restore(done["image"]), done["mask"]

    def __reduce__(self) -> tuple[object, ...]:
        return StrongAug, (self.p, self.fancy_pca)

    def _steps(self, bands: int, is_bytes: bool) -> A.Compose:  # noqa: FBT001
        """Return this thread's transforms: they hold a random state, so threads share none."""
        known: dict[Any, A.Compose] = self._own.__dict__
        if (bands, is_bytes) not in known:
            known[bands, is_bytes] = _strong_steps(self.p, self.fancy_pca, bands, is_bytes)
        return known[bands, is_bytes]


def _strong_steps(
    p: float,
    pca: FancyPCA | None,
    bands: int,
    is_bytes: bool,  # noqa: FBT001
) -> A.Compose:
    opened: dict[str, Any] = {
        "border_mode": cv2.BORDER_CONSTANT,
        "fill": 0,
        "fill_mask": IGNORE,
        "interpolation": cv2.INTER_LINEAR,
    }
    shifts = {"translate_percent": (-0.1, 0.1), "shear": (-10, 10)}
    small = {"translate_percent": (-0.0625, 0.0625), "scale": (0.9, 1.1), "rotate": (-45, 45)}
    kernel = 15 if is_bytes else 15 / 255
    rgb = bands == 3
    steps = [
        A.RandomRotate90(p=1.0),
        A.HorizontalFlip(p=0.5),
        *([_ColourShift(pca)] if pca is not None and len(pca.sampler.eig_vals) == bands else []),
        *([A.RGBShift(kernel, kernel, kernel, p=0.4)] if rgb else []),
        A.Affine(**shifts, **opened, p=0.01),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.2),
        A.OneOf(
            [A.MotionBlur(blur_limit=3), A.MedianBlur(blur_limit=3), A.Blur(blur_limit=3)], p=0.02
        ),
        A.Affine(**small, **opened, p=0.2),
        A.GridDistortion(distort_limit=(-0.1, 0.1), **opened, p=0.02),
        A.Sharpen(p=0.2),
        _contrast(bands, is_bytes),
        A.RandomBrightnessContrast(brightness_limit=(-0.2, 0.2), contrast_limit=0, p=0.3),
        *([A.HueSaturationValue(10, 15, 10, p=0.05)] if rgb else []),
        A.RandomGamma(gamma_limit=(90, 110), p=0.1),
    ]
    if not rgb:
        _say_once(f"{bands} bands: RGB shift, hue and saturation are left out of strong_aug")
    return A.Compose([A.Compose(steps, p=p)])


def _contrast(bands: int, is_bytes: bool) -> A.BasicTransform:  # noqa: FBT001
    plain = A.RandomBrightnessContrast(brightness_limit=0, contrast_limit=(-0.2, 0.2), p=1.0)
    if is_bytes and bands in {1, 3}:
        return A.OneOf([A.CLAHE(clip_limit=2.0), plain], p=0.4)
    return A.OneOf([plain], p=0.4)


@cache
def _say_once(text: str) -> None:
    log.info(text)


def _to_unit(image: Array) -> tuple[Array, Callable[[Array], Array]]:
    """Return bytes as they are and others as float32 in 0–1, with the function that undoes it."""
    if image.dtype == np.uint8:
        return image, lambda changed: changed
    low = min(0.0, float(image.min()))
    span = (float(image.max()) - low) or 1.0

    def restore(changed: Array) -> Array:
        values = changed.astype(np.float64) * span + low
        if image.dtype.kind in "iu":
            values = np.rint(values)
        return values.astype(image.dtype)

    return ((image.astype(np.float64) - low) / span).astype(np.float32), restore


def strong_aug(p: float = 0.8, fancy_pca: FancyPCA | None = None) -> StrongAug:
    """Return the seed's full list of augmentations, for any band count and dtype.

    A quarter turn, flips, colour PCA, RGB shift, affine and shift-scale-rotate, noise, blur, a
    local warp, sharpening, CLAHE or contrast, brightness, hue and saturation, gamma: each with its
    own probability, the whole with `p`. What only RGB has is left out for other band counts, CLAHE
    for images that are not bytes. Strengths are shares of 255, or of the patch's range.

    Parameters
    ----------
    p
        Probability that a patch is changed at all.
    fancy_pca
        Colour PCA of the training data, or None.

    Examples
    --------
    >>> image, mask = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 1), np.uint8)
    >>> changed, same_geometry = strong_aug(p=1.0)(image, mask, 7)
    >>> changed.shape, same_geometry.dtype
    ((32, 32, 3), dtype('uint8'))
    """
    return StrongAug(p, fancy_pca)


@dataclass(frozen=True)
class LightAug:
    """Flips, quarter turns, mild brightness and contrast; see `light_aug`."""

    p: float
    contrast: float = 0.2
    brightness: float = 0.1

    def __call__(self, image: Array, mask: Array, seed: int) -> tuple[Array, Array]:
        """Return image and mask, changed in a way that depends on `seed` alone."""
        rng = np.random.default_rng(seed)
        if rng.random() >= self.p:
            return image, mask
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        image, mask = (_turned(array, turns, flip) for array in (image, mask))
        gain = 1 + rng.uniform(-self.contrast, self.contrast)
        shift = rng.uniform(-self.brightness, self.brightness)
        return _relit(image, gain, shift), np.ascontiguousarray(mask)


def _turned(array: Array, turns: int, flip: bool) -> Array:  # noqa: FBT001
    array = np.rot90(array, turns)
    return array[:, ::-1] if flip else array


def _relit(image: Array, gain: float, shift: float) -> Array:
    """Return gain · image + shift · range, within the range; black (no image) stays black."""
    if image.dtype == np.uint8:
        table = np.clip(np.rint(np.arange(256) * gain + 255 * shift), 1, 255).astype(np.uint8)
        bright = table[image]
    else:
        low, top = min(0.0, float(image.min())), float(image.max())
        values = image.astype(np.float64) * gain + (top - low) * shift
        values = np.rint(values) if image.dtype.kind in "iu" else values
        bright = np.clip(values, low, top).astype(image.dtype)
    bright[~image.any(axis=-1)] = 0
    return np.ascontiguousarray(bright)


def light_aug(p: float) -> LightAug:
    """Return flips and quarter turns with mild brightness (±10 %) and contrast (±20 %).

    Parameters
    ----------
    p
        Probability that a patch is changed at all.
    """
    return LightAug(p)


@dataclass(frozen=True)
class FlipShift:
    """Flips and shifts; see `get_aug_datagen`."""

    horizontal_flip: bool
    vertical_flip: bool
    width_shift_range: float
    height_shift_range: float

    def __call__(self, image: Array, mask: Array, seed: int) -> tuple[Array, Array]:
        """Return image and mask, moved in a way that depends on `seed` alone."""
        rng = np.random.default_rng(seed)
        flips = rng.random(2) < 0.5
        reach = np.array([self.height_shift_range, self.width_shift_range]) * image.shape[:2]
        rows, cols = np.rint(rng.uniform(-reach, reach)).astype(int).tolist()
        moved = []
        for array, fill in ((image, 0), (mask, IGNORE)):
            part = array[:, ::-1] if flips[0] and self.horizontal_flip else array
            part = part[::-1] if flips[1] and self.vertical_flip else part
            moved.append(_shifted(part, rows, cols, fill))
        return moved[0], moved[1]


def _shifted(array: Array, rows: int, cols: int, fill: int) -> Array:
    """Return `array` moved down and right, `fill` where nothing moved to."""
    out = np.full(array.shape, fill, array.dtype)
    height, width = array.shape[:2]
    top, left = max(rows, 0), max(cols, 0)
    source = array[max(-rows, 0) : height - top, max(-cols, 0) : width - left]
    out[top : top + source.shape[0], left : left + source.shape[1]] = source
    return out


def get_aug_datagen(
    horizontal_flip: bool = True,  # noqa: FBT001, FBT002  the seed's signature
    vertical_flip: bool = True,  # noqa: FBT001, FBT002
    width_shift_range: float = 0.0,
    height_shift_range: float = 0.0,
) -> FlipShift:
    """Return the basic augmentation: flips and shifts, the same for image and mask.

    Parameters
    ----------
    horizontal_flip, vertical_flip
        Whether to flip left-right and upside-down, each with probability ½.
    width_shift_range, height_shift_range
        Largest shift, as a share of the patch.
    """
    return FlipShift(horizontal_flip, vertical_flip, width_shift_range, height_shift_range)
