"""Batch norm of images, as fast as the backend can."""

# mypy: allow-subclassing-any

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

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
        if not training or not self.trainable or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        return ops.cast(self._fused(ops.cast(inputs, "float32")), self.compute_dtype)

    def _fused(self, images: Tensor) -> Tensor:
        import tensorflow as tf  # noqa: PLC0415  (only this backend has the operation)

        none = tf.zeros([0])
        normal, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=ops.convert_to_tensor(self.gamma),
            offset=ops.convert_to_tensor(self.beta),
            mean=none,
            variance=none,
            epsilon=self.epsilon,
            is_training=True,
        )
        # The operation returns the variance of the population that the batch is a sample of.
        count = tf.cast(tf.reduce_prod(tf.shape(images)[:3]), "float32")
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance * (count - 1) / count)
        return normal

    def _follow(self, moving: keras.Variable, batch: Tensor) -> None:
        moving.assign(moving * self.momentum + batch * (1 - self.momentum))
