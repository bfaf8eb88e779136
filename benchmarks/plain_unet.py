"""What a user would write without this project: a residual U-Net, Dice + BCE, arrays in memory.

``learn.py --case script`` trains it on the train patches of the same store for the same CPU time,
so that a default of this project can be held against it.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
import xarray as xr
from keras import layers, ops
from numpy.typing import NDArray

from gim_cv.schema import split_slice

Images = NDArray[np.float32]
WIDTHS = (16, 32, 64, 128)
BATCH = 8


def block(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Return relu(x + two 3×3 convolutions of x)."""
    shortcut = layers.Conv2D(filters, 1)(x)
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    y = layers.Activation("relu")(layers.BatchNormalization()(y))
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
    return layers.Activation("relu")(shortcut + layers.BatchNormalization()(y))


def unet(bands: int, px: int) -> keras.Model:
    """Return a residual U-Net of half a million weights."""
    image = x = keras.Input((px, px, bands))
    skips = []
    for filters in WIDTHS[:-1]:
        x = block(x, filters)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = block(x, WIDTHS[-1])
    for filters, skip in zip(WIDTHS[-2::-1], reversed(skips), strict=True):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = block(x, filters)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))


def dice_bce(truth: keras.KerasTensor, guess: keras.KerasTensor) -> keras.KerasTensor:
    """Return 1 - Dice + binary cross-entropy over the pixels that are not 255."""
    known = ops.cast(truth < 255, "float32")
    truth = ops.cast(truth, "float32") * known
    guess = ops.clip(guess, 1e-6, 1 - 1e-6)
    both = ops.sum(truth * guess * known)
    dice = (2 * both + 1) / (ops.sum(truth) + ops.sum(guess * known) + 1)
    bce = -(truth * ops.log(guess) + (1 - truth) * ops.log(1 - guess))
    return 1 - dice + ops.sum(bce * known) / (ops.sum(known) + 1)


class Turned(keras.utils.PyDataset):
    """Shuffled batches, flipped and turned at random."""

    def __init__(self, images: Images, masks: NDArray[np.uint8], seed: int) -> None:
        super().__init__()
        self.images, self.masks, self.rng = images, masks, np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self.images) / BATCH)

    def on_epoch_end(self) -> None:
        """Shuffle anew."""
        self.order = self.rng.permutation(len(self.images))

    def __getitem__(self, index: int) -> tuple[Images, NDArray[np.uint8]]:
        chosen = self.order[index * BATCH : (index + 1) * BATCH]
        turned = [self.turn(self.images[k], self.masks[k]) for k in chosen]
        return np.stack([x for x, _ in turned]), np.stack([y for _, y in turned])

    def turn(self, x: Images, y: NDArray[np.uint8]) -> tuple[Images, NDArray[np.uint8]]:
        """Return a patch after a random quarter turn and flip."""
        quarter, flip = int(self.rng.integers(4)), bool(self.rng.integers(2))
        x, y = np.rot90(x, quarter), np.rot90(y, quarter)
        return (x[::-1], y[::-1]) if flip else (x, y)


def train(
    patches: xr.Dataset, *, epochs: int, seed: int
) -> tuple[Callable[[Images], NDArray[np.float32]], int]:
    """Return what predicts with a trained network, and its number of weights."""
    keras.utils.set_random_seed(seed)
    part = patches.isel(patch=split_slice(patches, "train"))
    scale = float(patches.attrs["statistics"]["scale"])
    images = part["image"].to_numpy().astype(np.float32) / np.float32(scale)
    data = Turned(images, part["mask"].to_numpy(), seed)
    model = unet(images.shape[-1], images.shape[1])
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * len(data))
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), loss=dice_bce)
    model.fit(data, epochs=epochs, shuffle=False, verbose=0)

    def predict(batch: Images) -> NDArray[np.float32]:
        return np.asarray(model.predict_on_batch(batch))

    return predict, model.count_params()
