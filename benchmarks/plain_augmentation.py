"""What a user would write without this project: the strong augmentations, by albumentations alone.

The list and the probabilities are those of `gim_cv.augment.strong_aug`. ``batches.py`` shows its
time beside the floor, which a faster augmentation of ours makes lower.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network at import otherwise
import albumentations as A  # noqa: N812 - its own documentation's name
import cv2

Array = NDArray[Any]
NOISE: dict[str, Any] = {"std_range": (0.0125, 0.028), "p": 1}
BORDER: dict[str, Any] = {"border_mode": cv2.BORDER_REFLECT_101}


class ColourPCA(A.ImageOnlyTransform):
    """A random shift along the colour axes of the data set."""

    def __init__(self, covariance: Array, alpha_std: float, p: float) -> None:
        super().__init__(p=p)
        self.alpha_std = alpha_std
        self.values, self.vectors = np.linalg.eigh(covariance / 255.0**2)

    def apply(self, img: Array, **_: Any) -> Array:
        """Return the image, shifted."""
        alpha = self.random_generator.normal(0.0, self.alpha_std, 3)
        shift = self.vectors @ (alpha * self.values)
        moved: Array = np.clip(img + shift * 255.0, 0, 255)
        return moved.astype(np.uint8)


def plain_strong(covariance: Array, alpha_std: float) -> Callable[[Array, Array], Any]:
    """Return what augments image (h, w, 3) uint8 and mask (h, w, 1) at random."""
    turns = [A.RandomRotate90(p=1.0), A.HorizontalFlip(p=0.5)]
    warps = [
        A.Affine(translate_percent=(-0.1, 0.1), shear=(-10, 10), p=0.01, **BORDER),
        A.Affine(
            translate_percent=(-0.0625, 0.0625), scale=(0.9, 1.1), rotate=(-45, 45), p=0.2, **BORDER
        ),
        A.OneOf(
            [A.GridDistortion(p=1, **BORDER), A.ElasticTransform(p=1, approximate=True, **BORDER)],
            p=0.02,
        ),
    ]
    texture = [
        A.OneOf([A.GaussNoise(**NOISE), A.GaussNoise(per_channel=False, **NOISE)], p=0.2),
        A.OneOf([A.MotionBlur(p=0.2), A.MedianBlur(3, p=0.1), A.Blur(3, p=0.1)], p=0.02),
        A.Sharpen(p=0.2),
    ]
    light = [
        A.OneOf(
            [
                A.RandomBrightnessContrast(brightness_limit=0, contrast_limit=0.2, p=1),
                A.CLAHE(clip_limit=2, p=1),
            ],
            p=0.4,
        ),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0, p=0.3),
        A.HueSaturationValue(10, 10, 10, p=0.05),
        A.RandomGamma(gamma_limit=(90, 110), p=0.1),
    ]
    pca = ColourPCA(covariance, alpha_std, p=1.0)
    steps = [*turns, *warps, pca, A.RGBShift(15, 15, 15, p=0.4), *texture, *light]
    compose = A.Compose(steps, p=0.8, seed=0)
    return lambda image, mask: compose(image=image, mask=mask)
