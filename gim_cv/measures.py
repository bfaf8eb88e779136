"""Measures of confusion counts on the backend's tensors, as ``scores.scores`` defines them.

The measures of one batch take ``(B, h, w, 1)`` class ids of any integer type, where 255 is skipped,
and ``(B, h, w, 1)`` sigmoid or ``(B, h, w, K)`` softmax probabilities; they return float32, NaN
where there is nothing to divide by. A mean of them over batches is not the measure of an epoch:
that is what the classes of ``metrics`` count.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from keras import ops

from gim_cv.errors import ConfigError
from gim_cv.patches import IGNORE
from gim_cv.serial import register

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

AVERAGES = ("auto", "macro", "micro", "none")


def check_average(average: str | int, classes: int) -> None:
    """Raise ConfigError unless `average` is one of `AVERAGES` or a class id under `classes`."""
    known = range(classes) if isinstance(average, int) else AVERAGES
    if average not in known:
        raise ConfigError(
            "unknown average",
            expected=f"a class id under {classes} or one of {AVERAGES}",
            found=average,
        )


def confusion(y_true: Tensor, y_pred: Tensor, *, classes: int, threshold: float) -> Tensor:
    """Return the confusion counts of one batch.

    Parameters
    ----------
    y_true, y_pred
        Class ids and probabilities.
    classes
        K, at least 2.
    threshold
        A sigmoid output of at least this is class 1; a softmax answers the likeliest class.

    Returns
    -------
    tensor
        ``(K, K)`` float32, axes (true, predicted); exact up to 2^24.
    """
    ids = ops.reshape(ops.cast(y_true, "int32"), (-1,))
    if y_pred.shape[-1] == 1:
        guess = ops.cast(ops.cast(y_pred, "float32") >= threshold, "int32")
    else:
        guess = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
    guess = ops.reshape(guess, (-1,))
    known = ops.arange(classes, dtype="int32")
    seen = ops.not_equal(ids, IGNORE)[:, None]
    truth = ops.cast(ops.logical_and(ids[:, None] == known, seen), "float32")
    return ops.matmul(ops.transpose(truth), ops.cast(guess[:, None] == known, "float32"))


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


def _measured(
    measure: str, y_true: Tensor, y_pred: Tensor, threshold: float, average: str | int
) -> Tensor:
    classes = max(y_pred.shape[-1], 2)
    check_average(average, classes)
    counts = confusion(y_true, y_pred, classes=classes, threshold=threshold)
    return averaged(counts, measure, average)


@register
def iou(
    y_true: Tensor, y_pred: Tensor, *, threshold: float = 0.5, average: str | int = "auto"
) -> Tensor:
    """Return intersection over union, ``TP / (TP + FP + FN)`` of one batch; see `metrics.IoU`.

    Parameters
    ----------
    y_true, y_pred
        Class ids and probabilities.
    threshold, average
        As in `metrics.ConfusionMetric`.

    Raises
    ------
    ConfigError
        No such average, or no class has that id.

    Examples
    --------
    >>> import numpy as np
    >>> ids = np.array([1, 1, 0, 255], "uint8").reshape(1, 2, 2, 1)
    >>> p = np.array([0.9, 0.2, 0.1, 0.9], "float32").reshape(1, 2, 2, 1)
    >>> float(iou(ids, p))
    0.5
    """
    return _measured("iou", y_true, y_pred, threshold, average)


@register
def f1(
    y_true: Tensor, y_pred: Tensor, *, threshold: float = 0.5, average: str | int = "auto"
) -> Tensor:
    """Return the Dice coefficient, ``2 TP / (2 TP + FP + FN)`` of one batch; see `iou`."""
    return _measured("f1", y_true, y_pred, threshold, average)


@register
def precision(
    y_true: Tensor, y_pred: Tensor, *, threshold: float = 0.5, average: str | int = "auto"
) -> Tensor:
    """Return ``TP / (TP + FP)`` of one batch; see `iou`."""
    return _measured("precision", y_true, y_pred, threshold, average)


@register
def recall(
    y_true: Tensor, y_pred: Tensor, *, threshold: float = 0.5, average: str | int = "auto"
) -> Tensor:
    """Return ``TP / (TP + FN)`` of one batch; see `iou`."""
    return _measured("recall", y_true, y_pred, threshold, average)


@register
def specificity(
    y_true: Tensor, y_pred: Tensor, *, threshold: float = 0.5, average: str | int = "auto"
) -> Tensor:
    """Return ``TN / (TN + FP)`` of one batch; see `iou`."""
    return _measured("specificity", y_true, y_pred, threshold, average)


@register
def npv(
    y_true: Tensor, y_pred: Tensor, *, threshold: float = 0.5, average: str | int = "auto"
) -> Tensor:
    """Return the negative predictive value, ``TN / (TN + FN)`` of one batch; see `iou`."""
    return _measured("npv", y_true, y_pred, threshold, average)


@register
def accuracy(y_true: Tensor, y_pred: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Return the share of one batch's valid pixels that are right."""
    return _measured("accuracy", y_true, y_pred, threshold, "auto")


@register
def tversky_index(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.7,
    beta: float = 0.3,
    class_id: int = 1,
    threshold: float = 0.5,
) -> Tensor:
    """Return ``TP / (TP + alpha FN + beta FP)`` of one class in one batch.

    Parameters
    ----------
    y_true, y_pred
        Class ids and probabilities.
    alpha, beta, class_id, threshold
        As in `metrics.TverskyIndex`.

    Raises
    ------
    ConfigError
        No class has that id.
    """
    classes = max(y_pred.shape[-1], 2)
    check_average(class_id, classes)
    counts = confusion(y_true, y_pred, classes=classes, threshold=threshold)
    return tversky_of(counts, class_id, alpha=alpha, beta=beta)


def tversky_of(counts: Tensor, class_id: int, *, alpha: float, beta: float) -> Tensor:
    """Return the Tversky index of a class in ``(K, K)`` counts, axes (true, predicted)."""
    hit = counts[class_id, class_id]
    missed, false = ops.sum(counts[class_id]) - hit, ops.sum(counts[:, class_id]) - hit
    return divide(hit, hit + alpha * missed + beta * false)
