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


def traced(loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], tuple[Any, np.ndarray]]:
    """Return what computes a loss and its gradient as ``fit`` does: in a graph, of any size."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(jax.value_and_grad(loss, argnums=1))
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)
    def graph(ids: Any, p: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(ids, p)
        return value, tape.gradient(value, p)

    def compute(ids: Any, p: Any) -> tuple[Any, np.ndarray]:
        sizes = [tf.TensorSpec((None, None, None, x.shape[-1]), x.dtype) for x in (ids, p)]
        value, slope = graph.get_concrete_function(*sizes)(tf.constant(ids), tf.constant(p))
        return value, np.asarray(slope)

    return compute
