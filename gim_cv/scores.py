"""Scores from confusion counts: plain numpy, so that every stage and notebook agrees on them.

Counts are summed first and divided once. A mean of batch means is never taken, so the result
does not depend on how pixels were batched.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gim_cv.errors import DataError

IGNORE = 255
MEASURES = ("iou", "f1", "precision", "recall", "specificity", "npv")

Counts = NDArray[np.int64]


def confusion(y_true: ArrayLike, y_pred: ArrayLike, classes: int) -> Counts:
    """Return how many pixels of each true class were given each class; 255 in `y_true` is skipped.

    Parameters
    ----------
    y_true, y_pred
        Class ids, any equal shape.
    classes
        Number of classes K.

    Returns
    -------
    numpy.ndarray
        ``(K, K)`` int64, axes (true, predicted).

    Raises
    ------
    DataError
        Shapes differ, or an id lies outside 0..K-1.
    """
    truth, guess = np.asarray(y_true), np.asarray(y_pred)
    if truth.shape != guess.shape:
        raise DataError(
            "truth and prediction differ in shape", expected=truth.shape, found=guess.shape
        )
    seen = truth != IGNORE
    true_ids, guessed_ids = truth[seen].astype(np.int64), guess[seen].astype(np.int64)
    for name, ids in (("truth", true_ids), ("prediction", guessed_ids)):
        if ids.size and (ids.min() < 0 or ids.max() >= classes):
            raise DataError(
                f"{name} holds an unknown class",
                expected=f"ids 0 to {classes - 1} (255 in the truth is ignored)",
                found=f"{ids.min()} to {ids.max()}",
            )
    flat = np.bincount(true_ids * classes + guessed_ids, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def scores(counts: ArrayLike) -> dict[str, object]:
    """Return every measure of a confusion matrix; one whose denominator is 0 is None.

    Parameters
    ----------
    counts
        ``(K, K)`` integers, axes (true, predicted).

    Returns
    -------
    dict
        ``iou, f1, precision, recall, specificity, npv`` (of class 1 where K is 2, else the macro
        mean), ``accuracy``, and the same measures as ``per_class`` (list of K), ``macro`` (mean
        over the classes for which the measure exists) and ``micro`` (counts of all classes,
        each against the rest, summed first).

    Examples
    --------
    >>> scores([[5, 1], [2, 4]])["iou"]
    0.5714285714285714
    """
    matrix = as_counts(counts)
    per_class = [measures(*one_vs_rest(matrix, index)) for index in range(len(matrix))]
    macro = {name: _mean([row[name] for row in per_class]) for name in MEASURES}
    pooled = np.sum([one_vs_rest(matrix, index) for index in range(len(matrix))], axis=0)
    headline = per_class[1] if len(matrix) == 2 else macro
    return {
        **headline,
        "accuracy": ratio(int(np.trace(matrix)), int(matrix.sum())),
        "per_class": per_class,
        "macro": macro,
        "micro": measures(*(int(part) for part in pooled)),
    }


def measures(tp: int, fp: int, fn: int, tn: int) -> dict[str, float | None]:
    """Return the measures of one class from its true and false positives and negatives."""
    return {
        "iou": ratio(tp, tp + fp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
        "npv": ratio(tn, tn + fn),
    }


def one_vs_rest(counts: Counts, index: int) -> tuple[int, int, int, int]:
    """Return (tp, fp, fn, tn) of class `index` against all others."""
    tp = int(counts[index, index])
    fp = int(counts[:, index].sum()) - tp
    fn = int(counts[index].sum()) - tp
    return tp, fp, fn, int(counts.sum()) - tp - fp - fn


def vectorised(measure: str, classes: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a vectorised form of ``scores(counts)[measure]``, for resampled counts.

    Parameters
    ----------
    measure
        One of `MEASURES`.
    classes
        Number of classes K.

    Returns
    -------
    callable
        ``(..., K, K)`` counts to ``(...)`` values; NaN where the measure does not exist.
    """

    def of(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        tp = np.diagonal(counts, axis1=-2, axis2=-1)
        fp, fn = counts.sum(-2) - tp, counts.sum(-1) - tp
        tn = counts.sum((-2, -1))[..., None] - tp - fp - fn
        above, below = _terms(measure, tp, fp, fn, tn)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.where(below > 0, above / below, np.nan)
            if classes == 2:
                return np.asarray(values[..., 1])
            return np.asarray(np.nansum(values, -1) / np.isfinite(values).sum(-1))

    return of


def as_counts(counts: ArrayLike) -> Counts:
    """Return `counts` as a square int64 matrix.

    Raises
    ------
    DataError
        It is not square, or smaller than 2 × 2, or holds negative numbers.
    """
    matrix = np.asarray(counts, dtype=np.int64)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] >= 2
    if not square or matrix.min() < 0:
        raise DataError(
            "not a confusion matrix", expected="(K, K) counts, K >= 2", found=matrix.shape
        )
    return matrix


def ratio(above: float, below: float) -> float | None:
    """Return above / below, or None where there is nothing to divide by."""
    return above / below if below else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _terms(
    measure: str,
    tp: NDArray[np.float64],
    fp: NDArray[np.float64],
    fn: NDArray[np.float64],
    tn: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pairs = {
        "iou": (tp, tp + fp + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "npv": (tn, tn + fn),
    }
    return pairs[measure]
