"""Batch norm of images, as fast as the backend can."""

# mypy: allow-subclassing-any

from __future__ import annotations

from typing import Any

from keras import layers, ops

from gim_cv.backend import backend_name, fused_batch_norm
from gim_cv.serial import register

Tensor = Any
# Keras' default of 0.99 needs hundreds of steps to follow; small stores have a dozen per epoch.
MOMENTUM = 0.9


@register
class BatchNorm(layers.BatchNormalization):
    """Keras' batch norm of ``(B, h, w, C)`` with a momentum for short epochs.

    In training under TensorFlow it is one fused operation. Keras makes it of several, each of which
    reads the image again: on a CPU, that takes as long as a small convolution.

    Parameters
    ----------
    momentum
        Share of a running statistic that a step keeps.
    options
        Of ``keras.layers.BatchNormalization``.

    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 1.
    """

    def __init__(self, *, momentum: float = MOMENTUM, **options: Any) -> None:
        super().__init__(momentum=momentum, **options)

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Any:  # noqa: FBT001
        """Return the normalised images in the layer's compute type."""
        if not training or not self.trainable or backend_name() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        return ops.cast(self._fused(ops.cast(inputs, "float32")), self.compute_dtype)

    def _fused(self, images: Tensor) -> Tensor:
        gamma, beta = (ops.convert_to_tensor(weight) for weight in (self.gamma, self.beta))
        normal, mean, variance = fused_batch_norm(images, gamma, beta, epsilon=self.epsilon)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return normal
