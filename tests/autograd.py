"""Gradients under whichever backend Keras runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def gradient(function: Callable[[Any], Any], at: Any) -> np.ndarray:
    """Return the gradient of a scalar function of one array."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(jax.numpy.asarray(at)))
    import tensorflow as tf

    point = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = function(point)
    return np.asarray(tape.gradient(value, point))
