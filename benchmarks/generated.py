"""Generated pair stores for the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

from gim_cv.store import write_store

PX, STORES = 256, 8


def picture(seed: int, side: int) -> np.ndarray:
    """Return (side, side, 3) uint8 whose bytes compress like an aerial photograph's: by a tenth."""
    rng = np.random.default_rng(seed)
    tone = np.zeros((side, side), np.float32)
    for octave in range(3, 9):
        cells = rng.normal(0, 1, (side >> octave, side >> octave)).astype(np.float32)
        tone += 2.0 ** (octave - 6) * 4 * ndimage.zoom(cells, 2**octave, order=1)
    noise = rng.normal(0, 7, (side, side, 3)).astype(np.float32)
    tint = np.array([10, 0, -14], np.float32)
    seen: np.ndarray = np.clip(110 + tone[..., None] + tint + noise, 1, 254)
    return seen.astype(np.uint8)


def patches(name: str, count: int, seed: int) -> Iterator[xr.Dataset]:
    """Yield `count` patches of a pair, 64 at a time: crops of one picture, each with own noise."""
    whole = picture(seed, 4 * PX)
    rng = np.random.default_rng(seed)
    pair = {"crs": "LOCAL", "transform": [0.5, 0, 0, 0, -0.5, 0], "height": PX, "width": PX}
    attrs = {"schema": 1, "classes": ["background", "building"], "ignore": 255}
    attrs["pairs"] = {name: pair | {"bands": ["red", "green", "blue"]}}
    for start in range(0, count, 64):
        number = np.arange(start, min(start + 64, count))
        corners = rng.integers(0, 3 * PX, (number.size, 2)).tolist()
        image = np.stack([whole[r : r + PX, c : c + PX] for r, c in corners])
        image += rng.integers(0, 2, image.shape, dtype=np.uint8)
        coarse = image[:, ::8, ::8, :1] > 125
        mask = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
        counts = np.stack([(mask == k).sum(axis=(1, 2, 3)) for k in (0, 1)], axis=1)
        split = rng.choice(3, number.size, p=(0.7, 0.15, 0.15)).astype(np.int8)
        yield xr.Dataset(
            {
                "image": (("patch", "row", "col", "band"), image),
                "mask": (("patch", "row", "col", "label"), mask),
            },
            coords={
                "pair": (
                    "patch",
                    np.zeros(number.size, np.int16),
                    {"flag_values": [0], "flag_meanings": name},
                ),
                "split": ("patch", split),
                "row0": ("patch", (number // 100 * PX).astype(np.int32)),
                "col0": ("patch", (number % 100 * PX).astype(np.int32)),
                "valid_fraction": ("patch", np.ones(number.size, np.float32)),
                "class_pixels": (("patch", "class"), counts.astype(np.int32)),
            },
            attrs=attrs,
        )


def write_pairs(folder: Path, count: int) -> None:
    """Write `STORES` pair stores with `count` patches of 256×256×3 uint8 in all."""
    for k in range(STORES):
        name, mine = f"pair_{k}", (k + 1) * count // STORES - k * count // STORES
        write_store(patches(name, mine, k), folder / f"{name}.zarr", recipe={"pair": name})
