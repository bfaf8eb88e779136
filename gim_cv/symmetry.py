"""What a model answers for images, as it is or averaged over the eight symmetries of a square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Predict = Callable[[Image], NDArray[np.floating]]
TURNS = range(4)


def answers(model: Any, *, symmetries: bool) -> Predict:
    """Return what predicts with a Keras model; with `symmetries`, `averaged`."""

    def predict(images: Image) -> NDArray[np.floating]:
        return np.asarray(model.predict_on_batch(images))

    return averaged(predict) if symmetries else predict


def averaged(predict: Predict) -> Predict:
    """Return what predicts the mean over all quarter turns of an image and of its mirror image.

    From straight above, the ground has no up: a prediction should not depend on how it is turned,
    and where it does, the mean is nearer to the truth than most. Seen at an angle, buildings lean
    one way, and the mean may be worse. It costs eight predictions.

    Parameters
    ----------
    predict
        Images ``(B, h, w, C)`` to probabilities ``(B, h, w, K)``, at any height and width.
    """

    def mean(images: Image) -> NDArray[np.floating]:
        total: NDArray[np.floating] = np.zeros((), np.float32)
        for turns in TURNS:
            for flip in (1, -1):
                seen = np.rot90(images, turns, axes=(1, 2))[:, ::flip]
                found = predict(np.ascontiguousarray(seen))[:, ::flip]
                total = total + np.rot90(found, -turns, axes=(1, 2))
        return total / (2 * len(TURNS))

    return mean
