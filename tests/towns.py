"""A small town of rectangular roofs, cut into a combined store, and predictions of known skill."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from pyproj import CRS

SPLITS = ("train", "val", "test")


def town(side: int, *, seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return a side × side × 3 uint8 picture and its class ids; bright roofs on dull ground."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((side, side), np.uint8)
    for row in range(4, side - 14, 16):
        for col in range(4, side - 14, 16):
            if rng.random() < 0.7:
                height, width = rng.integers(6, 12, 2)
                truth[row : row + height, col : col + width] = rng.integers(1, classes)
    ground = rng.normal(80, 12, (side, side, 1)) + np.array([10, 5, -15])
    image = np.where(truth[..., None] > 0, 170 + 12 * truth[..., None], ground)
    image = image + rng.normal(0, 8, image.shape)
    truth[: side // 8, : side // 8] = 255
    return np.clip(image, 0, 255).astype(np.uint8), truth


def combined(
    *, px: int = 32, side: int = 128, pairs: int = 2, overlap: int = 0, classes: int = 2
) -> xr.Dataset:
    """Return a combined store's dataset in memory: patches sorted by split, as combine leaves them.

    Columns of the town are split 60 : 20 : 20 from left to right.
    """
    step = px - overlap
    rows = []
    names = [f"town_{index}" for index in range(pairs)]
    for pair in range(pairs):
        image, truth = town(side, seed=pair, classes=classes)
        for row0 in range(0, side - px + 1, step):
            for col0 in range(0, side - px + 1, step):
                centre = (col0 + px / 2) / side
                split = 0 if centre < 0.5 else 1 if centre < 0.75 else 2
                window = np.s_[row0 : row0 + px, col0 : col0 + px]
                rows.append((split, pair, row0, col0, image[window], truth[window]))
    order = np.random.default_rng(0).permutation(len(rows))
    rows = sorted((rows[index] for index in order), key=lambda row: row[0])
    split, pair, row0, col0 = (np.array([row[k] for row in rows]) for k in range(4))
    images = np.stack([row[4] for row in rows])
    masks = np.stack([row[5] for row in rows])[..., None]
    pixels = np.stack([(masks == k).sum(axis=(1, 2, 3)) for k in range(classes)], axis=1)
    return xr.Dataset(
        {
            "image": (("patch", "row", "col", "band"), images),
            "mask": (("patch", "row", "col", "label"), masks),
        },
        coords={
            "pair": (
                "patch",
                pair.astype(np.int16),
                {"flag_values": list(range(pairs)), "flag_meanings": " ".join(names)},
            ),
            "split": (
                "patch",
                split.astype(np.int8),
                {"flag_values": [0, 1, 2], "flag_meanings": "train val test"},
            ),
            "row0": ("patch", row0.astype(np.int32)),
            "col0": ("patch", col0.astype(np.int32)),
            "valid_fraction": (
                "patch",
                (masks != 255).mean(axis=(1, 2, 3)).astype(np.float32),
            ),
            "class_pixels": (("patch", "class"), pixels.astype(np.int32)),
        },
        attrs=_attrs(names, side, images, masks, split, classes),
    )


def _attrs(names, side, images, masks, split, classes) -> dict:
    grid = {
        "crs": CRS.from_epsg(32636).to_wkt(),
        "transform": [0.5, 0.0, 450_000.0, 0.0, -0.5, 40_000.0],
        "height": side,
        "width": side,
        "resolution_m": [0.5, 0.5],
        "nodata": None,
        "bands": ["red", "green", "blue"],
        "dropped": {"labelled": 1},
        "ground": {"rule": {"mode": "pairs", "block_m": 16.0}},
    }
    train = split == 0
    stops = np.searchsorted(split, [0, 1, 2, 3]).tolist()
    return {
        "schema": 1,
        "classes": ["background", "building", "road", "water"][:classes],
        "ignore": 255,
        "pairs": dict.fromkeys(names, grid),
        "splits": {name: [stops[k], stops[k + 1]] for k, name in enumerate(SPLITS)},
        "statistics": {
            "count": int(train.sum()),
            "mean": images[train].mean(axis=(0, 1, 2)).tolist(),
            "class_pixels": [int((masks[train] == k).sum()) for k in range(classes)],
            "scale": 255.0,
        },
        "recipe": "{}",
        "recipe_sha256": "0" * 64,
        "test_digest": "abcdef0123456789" * 4,
    }


def batches(patches: xr.Dataset, split: str, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the batches of a split in store order."""
    part = patches.isel(patch=np.flatnonzero(patches["split"] == SPLITS.index(split)))
    for start in range(0, part.sizes["patch"], size):
        cut = part.isel(patch=slice(start, start + size))
        yield cut["image"].to_numpy().astype(np.float32) / 255, cut["mask"].to_numpy()


def bright(images: np.ndarray) -> np.ndarray:
    """Predict roofs from brightness: (B, h, w, 1) probability, wrong where noise is strong."""
    return 1 / (1 + np.exp(-12 * (images.mean(-1, keepdims=True) - 0.45)))
