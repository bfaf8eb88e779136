"""Stochastic weight averaging that reaches the saved weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[Any]]


class WeightAverage:
    """The equal-weight mean of a model's weights over several epochs, in float64.

    Source: Izmailov et al. 2018, "Averaging weights leads to wider optima and better
    generalization", algorithm 1.
    """

    def __init__(self, count: int = 0, mean: Arrays | None = None) -> None:
        self.count = count
        self.mean: Arrays = mean or []

    def take(self, weights: Arrays) -> None:
        """Add the weights of one more epoch."""
        self.count += 1
        if self.count == 1:
            self.mean = [np.asarray(weight, np.float64) for weight in weights]
            return
        share = 1.0 / self.count
        self.mean = [
            mean + share * (weight - mean) for mean, weight in zip(self.mean, weights, strict=True)
        ]

    def assign(self, model: keras.Model, images: Iterable[NDArray[np.float32]]) -> None:
        """Give a model the averaged weights, and batch-norm statistics that fit them.

        Parameters
        ----------
        model
            The model whose weights were averaged.
        images
            Train batches ``(B, h, w, C)``: the running mean and variance of each batch norm become
            the mean over these batches, since those of the averaged epochs belong to other weights.
        """
        model.set_weights(
            [
                np.asarray(mean, weight.dtype)
                for mean, weight in zip(self.mean, model.get_weights(), strict=True)
            ]
        )
        reestimate_norms(model, images)


def reestimate_norms(model: keras.Model, images: Iterable[NDArray[np.float32]]) -> None:
    """Set each batch norm's running statistics to their mean over these batches.

    Without a batch norm in the model, or without a batch, nothing changes.
    """
    norms = [layer for layer in _layers(model) if isinstance(layer, _Norm)]
    moments = WeightAverage()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        for batch in images if norms else ():
            model(batch, training=True)
            moments.take([np.asarray(array) for array in _statistics(norms)])
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    if moments.count:
        for variable, mean in zip(_variables(norms), moments.mean, strict=True):
            variable.assign(mean.astype(np.float32))


_Norm = keras.layers.BatchNormalization


def _layers(layer: Any) -> list[Any]:
    """Return all layers inside a layer, at any depth."""
    return list(layer._flatten_layers(include_self=False, recursive=True))  # noqa: SLF001


def _variables(norms: list[Any]) -> list[Any]:
    return [variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)]


def _statistics(norms: list[Any]) -> Arrays:
    return [keras.ops.convert_to_numpy(variable) for variable in _variables(norms)]
