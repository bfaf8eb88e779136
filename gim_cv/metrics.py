"""Metrics from one confusion matrix that is summed over the epoch: never a mean of batch means.

Counts are kept as two float32 parts, a multiple of 2^20 and a rest: whole numbers stay exact up to
2^44 pixels on every backend (JAX has no int64 by default, and float32 alone stops counting at
2^24). Within one batch a count may reach 2^24, that is 256 patches of 256 × 256 px.

The definitions are those of ``scores.scores``, so that an epoch's ``val_iou`` and the evaluation
of its checkpoint agree. A function of a class's lower-case name measures one batch.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from gim_cv.errors import ConfigError, UnknownError
from gim_cv.losses.targets import Tensor
from gim_cv.measures import (
    FRACTIONS,
    accuracy,
    averaged,
    check_average,
    confusion,
    f1,
    iou,
    npv,
    precision,
    recall,
    specificity,
    tversky_index,
    tversky_of,
)
from gim_cv.serial import register

CARRY = 2.0**20


class ConfusionMetric(keras.metrics.Metric):
    """Counts of (true, predicted) classes over all valid pixels since the last reset.

    Parameters
    ----------
    n_classes
        1 or 2 for background and positive; K for a softmax over K classes.
    threshold
        A sigmoid output of at least this is positive; of no use for a softmax, where the largest
        probability wins.
    average
        ``"auto"``: class 1 if there are two classes, else macro. ``"macro"``: mean over the classes
        for which the measure exists. ``"micro"``: counts of all classes, each against the rest,
        summed first. ``"none"``: one value per class, ``(K,)``. Or an int: that class alone.
        A measure with nothing to divide by (an absent class) is NaN.
    name
        Name in logs.

    Raises
    ------
    ConfigError
        `average` is none of these, or no class has that id.
    """

    measure: ClassVar[str]

    def __init__(
        self,
        *,
        n_classes: int = 1,
        threshold: float = 0.5,
        average: str | int = "auto",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype="float32")
        classes = max(n_classes, 2)
        check_average(average, classes)
        self.n_classes = n_classes
        self.threshold = threshold
        self.average = average
        shape = (classes, classes)
        self.carried = self.add_weight(shape=shape, initializer="zeros", name="carried")
        self.rest = self.add_weight(shape=shape, initializer="zeros", name="rest")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Add one batch.

        Parameters
        ----------
        y_true
            ``(B, h, w, 1)`` class ids; 255 is skipped.
        y_pred
            ``(B, h, w, 1)`` or ``(B, h, w, K)`` probabilities.
        sample_weight
            Not supported: a pixel counts once, or not at all (255).

        Raises
        ------
        ConfigError
            Weights were given.
        """
        if sample_weight is not None:
            raise ConfigError(
                "confusion counts take no sample weights",
                remedy="Mark pixels that should not count with 255 in y_true",
            )
        total = self.rest + confusion(
            y_true, y_pred, classes=self.rest.shape[0], threshold=self.threshold
        )
        carry = ops.floor(total / CARRY)
        self.carried.assign(self.carried + carry)
        self.rest.assign(total - carry * CARRY)

    def counts(self) -> Tensor:
        """Return the ``(K, K)`` float32 counts so far, axes (true, predicted)."""
        return self.carried * CARRY + self.rest

    def result(self) -> Tensor:
        """Return the measure of the counts so far, averaged as told."""
        return averaged(self.counts(), self.measure, self.average)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "n_classes": self.n_classes,
            "threshold": self.threshold,
            "average": self.average,
            "name": self.name,
        }


@register
class IoU(ConfusionMetric):
    """Intersection over union (Jaccard index): ``TP / (TP + FP + FN)``."""

    measure = "iou"


@register
class F1(ConfusionMetric):
    """Dice coefficient: ``2 TP / (2 TP + FP + FN)``."""

    measure = "f1"


@register
class Precision(ConfusionMetric):
    """Share of the predicted pixels that are right: ``TP / (TP + FP)``."""

    measure = "precision"


@register
class Recall(ConfusionMetric):
    """Share of the true pixels that were found: ``TP / (TP + FN)``."""

    measure = "recall"


@register
class Specificity(ConfusionMetric):
    """Share of the other pixels that were left alone: ``TN / (TN + FP)``."""

    measure = "specificity"


@register
class NPV(ConfusionMetric):
    """Negative predictive value: ``TN / (TN + FN)``."""

    measure = "npv"


@register
class Accuracy(ConfusionMetric):
    """Share of all valid pixels that are right; one number whatever `average` says."""

    measure = "accuracy"


@register
class TverskyIndex(ConfusionMetric):
    """``TP / (TP + alpha FN + beta FP)`` of the hard predictions for one class.

    Parameters
    ----------
    alpha, beta
        Weight of false negatives and of false positives.
    class_id
        The class.
    n_classes, threshold, name
        As in `ConfusionMetric`.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.7,
        beta: float = 0.3,
        class_id: int = 1,
        n_classes: int = 1,
        threshold: float = 0.5,
        name: str | None = None,
    ) -> None:
        super().__init__(n_classes=n_classes, threshold=threshold, average=class_id, name=name)
        self.alpha, self.beta, self.class_id = alpha, beta, class_id

    def result(self) -> Tensor:
        """Return the index of the counts so far."""
        return tversky_of(self.counts(), self.class_id, alpha=self.alpha, beta=self.beta)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        own = {"alpha": self.alpha, "beta": self.beta, "class_id": config.pop("average")}
        return {**config, **own}


@register
class Scores(ConfusionMetric):
    """Several measures of one confusion matrix, which is counted once a batch.

    Parameters
    ----------
    measures
        ``"accuracy"`` or names of `FRACTIONS`; each appears under its name in Keras' logs.
    n_classes, threshold, average, name
        As in `ConfusionMetric`; the average ``"none"`` leaves no scalar to log.

    Raises
    ------
    UnknownError
        A measure has no such name.
    """

    def __init__(
        self,
        *,
        measures: Sequence[str] = ("iou", "f1"),
        n_classes: int = 1,
        threshold: float = 0.5,
        average: str | int = "auto",
        name: str = "scores",
    ) -> None:
        super().__init__(n_classes=n_classes, threshold=threshold, average=average, name=name)
        for measure in measures:
            if measure not in (*FRACTIONS, "accuracy"):
                raise UnknownError.among("measure", measure, [*FRACTIONS, "accuracy"])
        self.measures = tuple(measures)

    def result(self) -> dict[str, Tensor]:
        """Return each measure of the counts so far, by name."""
        counts = self.counts()
        return {name: averaged(counts, name, self.average) for name in self.measures}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "measures": list(self.measures)}


Jaccard, jaccard = IoU, iou
Dice, dice = F1, f1

__all__ = [
    "CARRY",
    "F1",
    "NPV",
    "Accuracy",
    "ConfusionMetric",
    "Dice",
    "IoU",
    "Jaccard",
    "Precision",
    "Recall",
    "Scores",
    "Specificity",
    "TverskyIndex",
    "accuracy",
    "dice",
    "f1",
    "iou",
    "jaccard",
    "npv",
    "precision",
    "recall",
    "specificity",
    "tversky_index",
]
