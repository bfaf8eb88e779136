"""Patch datasets whose content tells where each patch came from."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import xarray as xr

from gim_cv import feed, schema


def patch_set(
    name: str,
    count: int,
    *,
    px: int = 8,
    bands: int = 3,
    dtype: str = "uint8",
    classes: tuple[str, ...] = ("background", "building"),
    seed: int = 0,
    splits: tuple[float, float, float] = (0.6, 0.2, 0.2),
    ignore: float = 0.1,
) -> xr.Dataset:
    """Return `count` random patches of the pair `name`; a mask is a function of its image.

    The first pixel of each image carries the patch's number (low byte, high byte), and the mask is
    the parity of band 0, so that a patch whose mask went astray is found out.
    """
    rng = np.random.default_rng([seed, sum(name.encode())])
    if np.dtype(dtype).kind == "f":
        image = rng.normal(100.0, 20.0, (count, px, px, bands)).astype(dtype)
    else:
        image = rng.integers(0, 255, (count, px, px, bands), dtype=dtype)
    number = np.arange(count)
    image[:, 0, 0, 0], image[:, 0, 1, 0] = number % 251, number // 251
    mask = (image[..., :1].astype(np.int64) % len(classes)).astype(np.uint8)
    if ignore:
        hidden = rng.random(mask.shape) < ignore
        hidden[:, 0, :2] = False
        mask[hidden] = 255
    split = rng.choice(3, count, p=splits).astype(np.int8)
    if count:
        split[0] = 0
    side = max(1, int(np.ceil(np.sqrt(count))))
    pixels = np.stack([(mask == k).sum(axis=(1, 2, 3)) for k in range(len(classes))], axis=1)
    pair_attrs = {
        "crs": "LOCAL",
        "transform": [0.5, 0, 0, 0, -0.5, 0],
        "height": side * px,
        "width": side * px,
        "resolution_m": [0.5, 0.5],
        "nodata": None,
        "bands": [f"b{k}" for k in range(bands)],
        "dropped": {},
    }
    return xr.Dataset(
        {
            "image": (("patch", "row", "col", "band"), image),
            "mask": (("patch", "row", "col", "label"), mask),
        },
        coords={
            "pair": (
                ("patch",),
                np.zeros(count, np.int16),
                {"flag_values": [0], "flag_meanings": name},
            ),
            "split": (
                ("patch",),
                split,
                {"flag_values": [0, 1, 2], "flag_meanings": "train val test"},
            ),
            "row0": (("patch",), (number // side * px).astype(np.int32)),
            "col0": (("patch",), (number % side * px).astype(np.int32)),
            "valid_fraction": (
                ("patch",),
                (mask != 255).mean(axis=(1, 2, 3)).astype(np.float32),
            ),
            "class_pixels": (("patch", "class"), pixels.astype(np.int32)),
        },
        attrs={
            "schema": 1,
            "classes": list(classes),
            "ignore": 255,
            "pairs": {name: pair_attrs},
        },
    )


@contextmanager
def small_layout(patch_bytes: int, *, block: int = 4, shard: int = 16, window: int = 8):
    """Make blocks, shards and windows of so many patches, for images of so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "BLOCK_BYTES", block * patch_bytes)
        patch.setattr(schema, "SHARD_BYTES", shard * patch_bytes)
        # A window counts masks too.
        patch.setattr(feed, "WINDOW_BYTES", window * 2 * patch_bytes)
        yield


def same(found: xr.Dataset, wanted: xr.Dataset) -> bool:
    """Return whether two patch datasets have equal values and types, whatever their attributes."""
    found, wanted = found.compute(), wanted.compute()
    kinds = all(found[name].dtype == wanted[name].dtype for name in wanted.variables)
    return kinds and found.equals(wanted)


def watermarks(patches: xr.Dataset) -> list[int]:
    """Return the number that each patch carries in its first two pixels."""
    corner = patches["image"].to_numpy()[:, 0, :2, 0].astype(int)
    return (corner[:, 0] + 251 * corner[:, 1]).tolist()


def follows(patches: xr.Dataset) -> bool:
    """Return whether every labelled pixel of every mask is the function of its image it was."""
    image, mask = patches["image"].to_numpy(), patches["mask"].to_numpy()
    wanted = image[..., :1].astype(np.int64) % patches.sizes["class"]
    return bool(((mask == wanted) | (mask == 255)).all())
