"""Contact sheets of a run: what it is taught, and what it says of validation patches meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gim_cv.patches import IGNORE

Array = NDArray[Any]
SHEETS = "epochs"
"""Their folder inside a run's samples."""
SHEET_ROWS = 6
GAP_PX = 4
UNKNOWN = 90
"""Grey of pixels to ignore."""


def contact_sheet(images: Array, masks: Array, probabilities: Array) -> NDArray[np.uint8]:
    """Return an RGB picture with a row for each patch: image, truth, prediction.

    Truth and prediction are grey: black is class 0, white is the last class, or probability 1.
    Images are stretched together, from the darkest to the brightest hundredth.

    Parameters
    ----------
    images
        (patch, h, w, band) float, about 0–1; the first three bands are shown, or the first.
        Only `SHEET_ROWS` patches are.
    masks
        (patch, h, w, 1) uint8 class ids; where they are 255, all is dark grey.
    probabilities
        (patch, h, w, n_classes), or (patch, h, w, 1) of the one class beyond the background.
    """
    last = max(probabilities.shape[-1] - 1, 1)
    sure = probabilities.shape[-1] > 1
    guess = probabilities.argmax(-1) / last if sure else probabilities[..., 0]
    return _sheet(images, masks, [masks[..., 0] / last, guess])


def batch_sheet(images: Array, masks: Array, *, classes: int) -> NDArray[np.uint8]:
    """Return the same without a prediction, of masks with so many classes."""
    return _sheet(images, masks, [masks[..., 0] / max(classes - 1, 1)])


def _sheet(images: Array, masks: Array, greys: Sequence[Array]) -> NDArray[np.uint8]:
    """Return rows of images and of grey pictures (patch, h, w) of 0 to 1."""
    images, masks, *greys = (part[:SHEET_ROWS] for part in (images, masks, *greys))
    bands = [0, 1, 2] if images.shape[-1] >= 3 else [0, 0, 0]
    unknown = masks == IGNORE
    columns = [
        np.where(unknown, UNKNOWN / 255, column)
        for column in (
            _stretched(images[..., bands], ~unknown[..., 0]),
            *(np.repeat(grey[..., None], 3, -1) for grey in greys),
        )
    ]
    edge = ((0, 0), (0, GAP_PX), (0, GAP_PX), (0, 0))
    row = np.concatenate([np.pad(column, edge, constant_values=1.0) for column in columns], axis=2)
    levels = np.floor(np.clip(row, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.concatenate(list(levels))


def _stretched(images: Array, known: Array) -> Array:
    """Return images (patch, h, w, 3) whose known pixels (patch, h, w) fill 0 to 1."""
    pixels = images[known] if known.any() else images.reshape(-1, 3)
    low, high = np.percentile(pixels, (1, 99), axis=0)
    stretched: Array = (images - low) / np.maximum(high - low, 1e-6)
    return stretched


def write_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a PNG without text or time."""
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(sheet).save(path, format="PNG", optimize=True)
