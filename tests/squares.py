"""A store that a small model learns in seconds: bright squares on dark noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from patchsets import patch_set

from gim_cv.combine import combine_stores
from gim_cv.store import write_store


def write_squares(
    folder: Path,
    count: int = 24,
    *,
    px: int = 32,
    bands: int = 3,
    classes: tuple[str, ...] = ("background", "building"),
    splits: tuple[float, float, float] = (0.6, 0.4, 0.0),
) -> Path:
    """Write a combined store of `count` patches; class k is a square of brightness 100 + 60 k."""
    rng = np.random.default_rng(0)
    patches = patch_set("squares", count, px=px, bands=bands, classes=classes, splits=splits)
    image, mask = patches["image"].to_numpy(), patches["mask"].to_numpy()
    image[:] = rng.integers(30, 70, image.shape)
    mask[:] = 0
    for n in range(count):
        for k in range(1, len(classes)):
            row, col = rng.integers(0, px // 2, 2)
            where = np.s_[n, row : row + px // 3, col : col + px // 3]
            image[where] = 100 + 60 * k + rng.integers(-10, 10, image[where].shape)
            mask[where] = k
    mask[:, -2:] = 255
    pixels = [(mask == k).sum(axis=(1, 2, 3)) for k in range(len(classes))]
    patches["class_pixels"].values[:] = np.stack(pixels, axis=1)
    write_store(patches, folder / "squares.zarr", recipe={"squares": count})
    combine_stores([folder / "squares.zarr"], folder / "combined.zarr", seed=0, memory_mib=256)
    return folder / "combined.zarr"
