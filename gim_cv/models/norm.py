"""Batch norm of images, as fast as the backend can, with running statistics that settle."""

# mypy: allow-subclassing-any

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from gim_cv.backend import fused_batch_norm
from gim_cv.serial import register

Tensor = Any
SETTLING_STEPS = 10.0


@register
class BatchNorm(layers.BatchNormalization):
    """Keras' batch norm of ``(B, h, w, C)``, whose momentum rises with the steps seen.

    The running statistics of a small store would be those of the last few batches if they followed
    fast, and those of other weights if they followed slowly: they begin fast and end slowly. With n
    steps seen, a step keeps ``min(momentum, (1 + n) / (10 + n))`` of them.

    In training under TensorFlow it is one fused operation. Keras makes it of several, each of which
    reads the image again: on a CPU, that takes as long as a small convolution.

    Parameters
    ----------
    options
        Of ``keras.layers.BatchNormalization``; `momentum` is the largest.

    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 1.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights, and the count of the steps seen."""
        super().build(input_shape)
        self.seen = self.add_weight(
            name="seen", shape=(), initializer="zeros", trainable=False, autocast=False
        )

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Any:  # noqa: FBT001
        """Return the normalised images in the layer's compute type."""
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        normal, mean, variance = self._normal(ops.cast(inputs, "float32"))
        kept = ops.minimum(self.momentum, (1.0 + self.seen) / (SETTLING_STEPS + self.seen))
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * kept + batch * (1.0 - kept))
        self.seen.assign(self.seen + 1.0)
        return ops.cast(normal, self.compute_dtype)

    def _normal(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised images, and the batch's mean and variance."""
        gamma, beta = (ops.convert_to_tensor(weight) for weight in (self.gamma, self.beta))
        if keras.backend.backend() == "tensorflow":
            return fused_batch_norm(images, gamma, beta, epsilon=self.epsilon)
        mean, variance = ops.moments(images, axes=(0, 1, 2))
        normal = ops.batch_normalization(
            images, mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=self.epsilon
        )
        return normal, mean, variance
