"""Augmentation on the training device: flips, quarter turns and brightness inside the model.

The model turns its input, predicts, and turns the prediction back, so that masks stay as they are
and no backend needs a train step of its own.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from gim_cv.models.segmentalist import Segmentalist
from gim_cv.serial import register

Tensor = Any
BRIGHTNESS = 0.1
"""Largest relative change of brightness, as of the recipe light."""


@register
class TurningSegmentalist(Segmentalist):
    """A `Segmentalist` that in training sees each patch turned, mirrored and lit at random.

    Its weights are those of a `Segmentalist`, which is what loads them. Patches must be square.

    Parameters
    ----------
    turn_p
        Probability that a patch is changed at all.
    turn_seed
        Seed of the changes.
    name, options
        As of `Segmentalist`.
    """

    def __init__(
        self, *, turn_p: float, turn_seed: int, name: str = "Segmentalist", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        self.turn_p, self.turn_seed = turn_p, turn_seed
        self.turns = keras.random.SeedGenerator(turn_seed)

    def call(self, inputs: Tensor, training: Any = None, mask: Tensor = None) -> Tensor:
        """Return probabilities (B, h, w, n_classes) of images (B, h, w, bands)."""
        if not training:
            return super().call(inputs, training=training, mask=mask)
        # One row of draws a patch: changed at all, two flips, transposed, brightness.
        draws = keras.random.uniform((ops.shape(inputs)[0], 5, 1, 1, 1), seed=self.turns)
        changed = draws[:, 0] < self.turn_p
        flips = [ops.logical_and(changed, draws[:, k] < 0.5) for k in (1, 2, 3)]
        light = 1 + BRIGHTNESS * (2 * draws[:, 4] - 1)
        images = turned(inputs, *flips) * ops.where(changed, light, 1.0)
        return turned_back(super().call(images, training=training, mask=mask), *flips)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "turn_p": self.turn_p, "turn_seed": self.turn_seed}


def turned(x: Tensor, upside_down: Tensor, mirrored: Tensor, transposed: Tensor) -> Tensor:
    """Return (B, h, w, C) with some patches flipped along rows, then columns, then transposed.

    Parameters
    ----------
    x
        (B, h, w, C), h = w.
    upside_down, mirrored, transposed
        (B, 1, 1, 1) bool.
    """
    x = ops.where(upside_down, ops.flip(x, 1), x)
    x = ops.where(mirrored, ops.flip(x, 2), x)
    return ops.where(transposed, ops.transpose(x, (0, 2, 1, 3)), x)


def turned_back(x: Tensor, upside_down: Tensor, mirrored: Tensor, transposed: Tensor) -> Tensor:
    """Return what `turned` was given, from its result; each of the three undoes itself."""
    x = ops.where(transposed, ops.transpose(x, (0, 2, 1, 3)), x)
    x = ops.where(mirrored, ops.flip(x, 2), x)
    return ops.where(upside_down, ops.flip(x, 1), x)
