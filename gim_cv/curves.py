"""Threshold curves from histograms of predicted probability, in memory that never grows.

A probability is kept as one of 256 levels, ``floor(255 p + 1/2)``. Counts, curves, pictures
and objects are all read from the levels, so they agree with each other exactly. The decision
"level >= L" is the decision "p >= (L - 1/2) / 255"; level 128 is p >= 0.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gim_cv.errors import DataError
from gim_cv.scores import IGNORE, Counts, ratio

LEVELS = 256


def as_levels(probability: ArrayLike) -> NDArray[np.uint8]:
    """Return probabilities (0–1, any shape) as levels 0–255.

    Raises
    ------
    DataError
        See `check_probability`.
    """
    values = np.asarray(probability, dtype=np.float64)
    check_probability(values)
    return np.floor(values * 255 + 0.5).astype(np.uint8)


def check_probability(values: NDArray[np.floating]) -> None:
    """Return if all values (any shape) are from 0 to 1.

    Raises
    ------
    DataError
        A value is not finite, or lies outside 0–1: the weights have diverged.
    """
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise DataError(
            "the model's output is no probability",
            expected="values from 0 to 1",
            found=f"{values.min()} to {values.max()}",
            remedy="Look at the training curves: lower train.learning_rate if they diverge",
        )


def level_of(threshold: float) -> int:
    """Return the level that begins nearest to a probability threshold (0–1).

    A threshold of 0 takes every pixel, and one of 1 those of level 255.
    """
    if threshold <= 0:
        return 0
    return min(max(int(np.floor(threshold * 255 + 1)), 1), LEVELS - 1)


def threshold_of(level: int) -> float:
    """Return the probability at which `level` begins, to four digits."""
    return round(max(level - 0.5, 0.0) / 255, 4)


def histogram(y_true: ArrayLike, levels: ArrayLike) -> Counts:
    """Return ``(2, 256)`` int64: pixels by truth (0 or not 0; 255 is skipped) and by level."""
    truth, level = np.asarray(y_true), np.asarray(levels)
    seen = truth != IGNORE
    flat = (truth[seen] != 0).astype(np.int64) * LEVELS + level[seen]
    return np.bincount(flat, minlength=2 * LEVELS).reshape(2, LEVELS).astype(np.int64)


def counts_at(histograms: Counts, level: int) -> Counts:
    """Return ``(..., 2, 2)`` confusion counts of ``(..., 2, 256)`` histograms cut at `level`."""
    above = histograms[..., level:].sum(-1)
    return np.stack([histograms.sum(-1) - above, above], axis=-1)


def best_level(histograms: Counts, *, otherwise: int = 128) -> int:
    """Return the level with the highest IoU; of equals, the one nearest to p = 0.5.

    Parameters
    ----------
    histograms
        ``(2, 256)`` int64, of the validation split alone: a threshold chosen on test pixels
        would flatter the test score.
    otherwise
        The answer where the split has no positive pixel, so that no IoU tells levels apart.
    """
    if not histograms[1].sum():
        return otherwise
    iou = np.array([_iou_at(histograms, level) for level in range(1, LEVELS)])
    best = np.flatnonzero(iou == iou.max()) + 1
    return int(best[np.argmin(np.abs(best - 128))])


def _iou_at(histograms: Counts, level: int) -> float:
    (_, fp), (fn, tp) = counts_at(histograms, level)
    return float(tp / (tp + fp + fn))


def precision_recall(histograms: Counts) -> list[dict[str, float]]:
    """Return ``{precision, recall, threshold}`` for each level at which the counts change.

    Levels without a positive prediction have no precision and are left out, as are all levels
    of a split without positive pixels.
    """
    rows: list[dict[str, float]] = []
    for level in range(LEVELS):
        (_, fp), (fn, tp) = (tuple(map(int, row)) for row in counts_at(histograms, level))
        precision, recall = ratio(tp, tp + fp), ratio(tp, tp + fn)
        if precision is None or recall is None:
            continue
        if level and not histograms[:, level - 1].sum():
            continue
        rows.append(
            {
                "precision": round(precision, 6),
                "recall": round(recall, 6),
                "threshold": threshold_of(level),
            }
        )
    return rows


def average_precision(histograms: Counts) -> float | None:
    """Return the area under the precision-recall steps, None without positive pixels.

    Source: ``sum (R_n - R_(n-1)) P_n`` over falling thresholds, as scikit-learn's
    ``average_precision_score`` [1]_; ties are the pixels of one level.

    References
    ----------
    .. [1] Pedregosa et al., Scikit-learn: Machine Learning in Python, JMLR 12, 2011.
    """
    positive = int(histograms[1].sum())
    if not positive:
        return None
    tp, fp = (histograms[row, ::-1].cumsum() for row in (1, 0))
    gained = histograms[1, ::-1] / positive
    precision = tp / np.maximum(tp + fp, 1)
    return float((gained * precision).sum())


def reliability(histograms: Counts, bins: int = 15) -> list[dict[str, float]]:
    """Return per occupied probability bin: mean ``predicted``, ``observed`` share, ``weight``.

    Parameters
    ----------
    histograms
        ``(2, 256)`` int64.
    bins
        Equal bins of probability; `weight` is each bin's share of pixels.
    """
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    centre = np.arange(LEVELS) / 255
    which = np.digitize(centre, edges)
    total = int(histograms.sum())
    rows = []
    for index in range(bins):
        part = histograms[:, which == index]
        pixels = int(part.sum())
        if pixels:
            predicted = float((part.sum(0) * centre[which == index]).sum() / pixels)
            rows.append(
                {
                    "predicted": round(predicted, 6),
                    "observed": round(int(part[1].sum()) / pixels, 6),
                    "weight": round(pixels / total, 6),
                }
            )
    return rows


def calibration_error(histograms: Counts, bins: int = 15) -> float | None:
    """Return the expected calibration error: the weighted mean of |predicted - observed|.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3, with
    the probability of the positive class in place of the confidence.
    """
    rows = reliability(histograms, bins)
    if not rows:
        return None
    return sum(row["weight"] * abs(row["predicted"] - row["observed"]) for row in rows)
