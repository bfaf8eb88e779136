"""Flips and shifts of whole pixels: the simplest augmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.errors import ConfigError
from gim_cv.patches import IGNORE

Array = NDArray[Any]


@dataclass(frozen=True)
class Datagen:
    """An augmenter that flips and shifts; see `get_aug_datagen`."""

    rescale: float | None
    horizontal_flip: bool
    vertical_flip: bool
    width_shift_range: float
    height_shift_range: float

    def __post_init__(self) -> None:
        for name in ("width_shift_range", "height_shift_range"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(name, expected="0 to below 1", found=getattr(self, name))

    def moves_like(self, other: Datagen) -> bool:
        """Return whether `other` moves pixels in the same way, whatever it does to values."""
        return replace(self, rescale=None) == replace(other, rescale=None)

    def __call__(self, image: Array, mask: Array, seed: int) -> tuple[Array, Array]:
        """Return image (h, w, C) and mask (h, w, 1), moved as `seed` says, else unchanged."""
        rng = np.random.default_rng(seed)
        horizontal, vertical = (rng.random(2) < 0.5).tolist()
        reach = np.array([self.height_shift_range, self.width_shift_range]) * image.shape[:2]
        rows, cols = np.rint(rng.uniform(-reach, reach)).astype(int).tolist()
        moved = []
        for array, border in ((image, {"mode": "symmetric"}), (mask, {"constant_values": IGNORE})):
            part = array[:, ::-1] if horizontal and self.horizontal_flip else array
            part = part[::-1] if vertical and self.vertical_flip else part
            moved.append(_shifted(part, rows, cols, border))
        return moved[0], moved[1]


def _shifted(array: Array, rows: int, cols: int, border: dict[str, Any]) -> Array:
    """Return `array` moved down and right; what opens is filled as ``np.pad`` does."""
    height, width = array.shape[:2]
    pad = [(max(rows, 0), max(-rows, 0)), (max(cols, 0), max(-cols, 0)), (0, 0)]
    padded = np.pad(array, pad, **border)
    top, left = max(-rows, 0), max(-cols, 0)
    return np.ascontiguousarray(padded[top : top + height, left : left + width])


def get_aug_datagen(
    rescale: float | None = 1 / 255.0,
    *,
    horizontal_flip: bool = True,
    vertical_flip: bool = True,
    width_shift_range: float = 0.0,
    height_shift_range: float = 0.0,
) -> Datagen:
    """Return an augmenter with the same geometry for image and mask.

    The image is mirrored into what a shift opens; the mask is 255 (ignore) there.

    Parameters
    ----------
    rescale
        Factor for images, applied by the batch generator; masks are never rescaled.
    horizontal_flip, vertical_flip
        Whether half of the patches are flipped left-right, and upside-down.
    width_shift_range, height_shift_range
        Largest shift either way, as a share of the patch; below 1.

    Raises
    ------
    ConfigError
        A range is not within 0 to 1.
    """
    return Datagen(rescale, horizontal_flip, vertical_flip, width_shift_range, height_shift_range)
