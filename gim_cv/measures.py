"""Measures of confusion counts on the backend's tensors, as ``scores.scores`` defines them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from keras import ops

Tensor = Any

FRACTIONS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = MappingProxyType(
    {
        "iou": ((1, 0, 0, 0), (1, 1, 1, 0)),
        "f1": ((2, 0, 0, 0), (2, 1, 1, 0)),
        "precision": ((1, 0, 0, 0), (1, 1, 0, 0)),
        "recall": ((1, 0, 0, 0), (1, 0, 1, 0)),
        "specificity": ((0, 0, 0, 1), (0, 1, 0, 1)),
        "npv": ((0, 0, 0, 1), (0, 0, 1, 1)),
    }
)
"""Measure → how often (TP, FP, FN, TN) stand above and below its fraction line."""


def averaged(counts: Tensor, measure: str, average: str | int) -> Tensor:
    """Return a measure of confusion counts; NaN where there is nothing to divide by.

    Parameters
    ----------
    counts
        ``(K, K)`` float32, axes (true, predicted).
    measure
        A name of `FRACTIONS`, or ``"accuracy"``, which is one number whatever `average` says.
    average
        As in `metrics.ConfusionMetric`.

    Returns
    -------
    tensor
        A scalar, or ``(K,)`` for the average ``"none"``.
    """
    tp = ops.diagonal(counts)
    if measure == "accuracy":
        return divide(ops.sum(tp), ops.sum(counts))
    fp, fn = ops.sum(counts, axis=0) - tp, ops.sum(counts, axis=1) - tp
    tn = ops.sum(counts) - tp - fp - fn
    parts = ops.stack([tp, fp, fn, tn])
    if average == "micro":
        parts = ops.sum(parts, axis=1)
    above, below = (
        ops.tensordot(ops.convert_to_tensor(side, "float32"), parts, axes=1)
        for side in FRACTIONS[measure]
    )
    return _reduced(divide(above, below), below, average)


def _reduced(values: Tensor, below: Tensor, average: str | int) -> Tensor:
    """Return the average of the measures that exist, those with `below` over 0."""
    if average in ("micro", "none"):
        return values
    if isinstance(average, int) or (average == "auto" and values.shape[0] == 2):
        return values[1 if isinstance(average, str) else average]
    exists = ops.cast(below > 0, "float32")
    return divide(ops.sum(ops.where(below > 0, values, 0.0)), ops.sum(exists))


def divide(above: Tensor, below: Tensor) -> Tensor:
    """Return above / below, NaN where there is nothing to divide by."""
    safe = ops.where(below > 0, below, 1.0)
    return ops.where(below > 0, above / safe, float("nan"))
