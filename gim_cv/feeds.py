"""The batches of a run: train with augmentation, validation without, and samples of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.augment import affine_aug, light_aug, strong_aug
from gim_cv.backend import replica_count
from gim_cv.batches import Augmenter, Batches
from gim_cv.colour import FancyPCA
from gim_cv.errors import DataError, UnknownError
from gim_cv.regime import Regime
from gim_cv.schema import split_slice
from gim_cv.sheets import SHEETS, batch_sheet, write_sheet

Array = NDArray[Any]
SAMPLES = ("X0_train", "y0_train", "X0_val", "y0_val")
RECIPES = ("none", "light", "affine", "strong", "device")


class Feeds:
    """Train and validation batches of a combined store.

    Parameters
    ----------
    patches
        A combined store.
    regime
        Its `batch`, `oversample`, `workers` and `devices` are used.
    seed
        Of order and augmentation.
    augment
        Options of `make_augmenter`.

    Raises
    ------
    DataError
        The store has no train patch.
    """

    def __init__(
        self, patches: xr.Dataset, regime: Regime, *, seed: int, augment: Mapping[str, Any]
    ) -> None:
        self.dtype = patches["image"].dtype
        self.scale = float(patches.attrs["statistics"]["scale"])
        self.classes = len(patches.attrs["classes"])
        sizes = {split: _length(split_slice(patches, split)) for split in ("train", "val")}
        multiple = replica_count(regime.devices)
        if not sizes["train"]:
            raise DataError(
                "no train patch in the combined store",
                remedy="Give train a larger share in split.fractions, or list more datasets",
            )
        self.train = Batches(
            patches,
            "train",
            batch=regime.batch,
            seed=seed,
            shuffle=True,
            augmenter=make_augmenter(augment, patches),
            scale=self.scale,
            workers=regime.workers,
            oversample=regime.oversample,
            multiple=multiple,
        )
        self.val: Batches | None = None
        if sizes["val"]:
            self.val = Batches(
                patches,
                "val",
                batch=regime.batch,
                seed=seed,
                shuffle=False,
                scale=self.scale,
                workers=regime.workers,
                multiple=multiple,
            )

    def save_samples(self, folder: Path) -> None:
        """Write the first batch of both splits as ``X0_train.npy``, ``y0_train.npy`` and so on.

        Images are in the store's units and type, so that ``X / 255.0`` is what a model trained on
        uint8 saw; train images are augmented as they were in the first epoch. ``epochs/train.png``
        shows the first of them.
        """
        folder.mkdir(exist_ok=True)
        for split, batches in (("train", self.train), ("val", self.val)):
            if batches is not None:
                images, masks = batches.batch_at(0, 0)
                np.save(folder / f"X0_{split}.npy", self.raw(np.asarray(images)))
                np.save(folder / f"y0_{split}.npy", np.asarray(masks, np.uint8))
            if split == "train":
                sheet = batch_sheet(images, masks, classes=self.classes)
                write_sheet(folder / SHEETS / "train.png", sheet)

    def raw(self, images: Array) -> Array:
        """Return scaled images in the store's units and type."""
        values = images.astype(np.float64) * self.scale
        if np.issubdtype(self.dtype, np.integer):
            values = np.rint(values)
        return values.astype(self.dtype)


def make_augmenter(augment: Mapping[str, Any], patches: xr.Dataset) -> Augmenter | None:
    """Return the augmenter of the ``augment`` section of params.yaml; None for none.

    Parameters
    ----------
    augment
        ``recipe``: ``"none"``, ``"light"`` (flips, quarter turns, mild brightness), ``"affine"``
        (`augment.affine_aug`: rotation, zoom and colour too), ``"strong"`` (`augment.strong_aug`)
        or ``"device"`` (the light one, left to the model: see `models.turning`); ``p``:
        probability that a patch is changed;
        ``fancy_pca_alpha``: size of the colour PCA of the strong recipe, 0 is off.
    patches
        The combined store: its band covariance makes the colour PCA.

    Raises
    ------
    UnknownError
        The recipe has no such name.
    """
    recipe, p = augment["recipe"], float(augment["p"])
    if recipe in ("none", "device"):
        return None
    plain = {"light": light_aug, "affine": affine_aug}
    if recipe in plain:
        return plain[recipe](p)
    if recipe != "strong":
        raise UnknownError.among("augmentation recipe", recipe, RECIPES)
    alpha = float(augment["fancy_pca_alpha"])
    pca = FancyPCA.from_statistics(patches.attrs["statistics"], alpha_std=alpha) if alpha else None
    return strong_aug(p=p, fancy_pca=pca)


def turning(augment: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return what makes a model a `TurningSegmentalist`; empty if it is to be none."""
    if augment["recipe"] != "device":
        return {}
    return {"turn_p": float(augment["p"]), "turn_seed": seed}


def _length(where: slice) -> int:
    return int(where.stop - where.start)
