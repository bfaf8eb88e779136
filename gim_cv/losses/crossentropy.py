"""Losses of single pixels: cross-entropy, plain, weighted, adaptive and focal.

With K > 1 channels the binary losses are the mean over the classes, each against the rest; the
adaptive ones become categorical cross-entropies whose class weights are counted in the batch.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import keras
from keras import ops

from gim_cv.losses.coefficients import LIMITS, SHARE, Limits
from gim_cv.losses.targets import (
    Pixels,
    SegmentationLoss,
    Tensor,
    count,
    mean_over,
    pixel_weights,
    pixels,
)
from gim_cv.serial import register


def _logs(probability: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p and log(1 - p), with p kept 1e-7 away from 0 and 1."""
    epsilon = keras.config.epsilon()
    clipped = ops.clip(probability, epsilon, 1.0 - epsilon)
    return ops.log(clipped), ops.log(1.0 - clipped)


def _binary(batch: Pixels, positive: Tensor | float, negative: Tensor | float) -> Tensor:
    """Return -(positive t log p + negative (1 - t) log(1 - p)) of each pixel, ``(B, h, w, 1)``."""
    log_p, log_q = _logs(batch.probability)
    terms = positive * batch.target * log_p + negative * (1.0 - batch.target) * log_q
    return -ops.mean(terms, axis=-1, keepdims=True)


def _categorical(batch: Pixels, weights: Tensor | float) -> Tensor:
    """Return -Σ_k weights_k t_k log p_k of each pixel, ``(B, h, w, 1)``; K is at least 2."""
    log_p, _ = _logs(batch.probability)
    return -ops.sum(weights * batch.target * log_p, axis=-1, keepdims=True)


def _two_channels(batch: Pixels) -> Pixels:
    """Return a sigmoid output as (background, positive) channels; others as they are."""
    if batch.target.shape[-1] > 1:
        return batch
    target = ops.concatenate([1.0 - batch.target, batch.target], axis=-1) * batch.valid
    probability = ops.concatenate([1.0 - batch.probability, batch.probability], axis=-1)
    return Pixels(target, probability, batch.valid)


@register
def bce(y_true: Tensor, y_pred: Tensor, *, class_weights: Sequence[float] | None = None) -> Tensor:
    """Return the binary cross-entropy; see `BCE`."""
    batch = pixels(y_true, y_pred)
    weights = pixel_weights(batch.target, class_weights)
    return mean_over(_binary(batch, 1.0, 1.0) * weights, batch.valid)


@register
def wbce(y_true: Tensor, y_pred: Tensor, *, pos_weight: float = 2.0) -> Tensor:
    """Return the cross-entropy with a fixed weight on positives; see `WBCE`."""
    batch = pixels(y_true, y_pred)
    return mean_over(_binary(batch, pos_weight, 1.0), batch.valid)


@register
def wbce_adaptive(y_true: Tensor, y_pred: Tensor, *, max_weight: float = 1000.0) -> Tensor:
    """Return the cross-entropy with positives weighed by n_neg / n_pos; see `WBCEAdaptive`."""
    batch = pixels(y_true, y_pred)
    total, present = ops.sum(batch.valid), count(batch.target)
    if batch.target.shape[-1] == 1:
        ratio = (total - present) / ops.maximum(present, 1.0)
        pos_weight = ops.clip(ratio, 1.0 / max_weight, max_weight)
        return mean_over(_binary(batch, pos_weight, 1.0), batch.valid)
    share = total / (present.shape[0] * ops.maximum(present, 1.0))
    return mean_over(_categorical(batch, ops.minimum(share, max_weight)), batch.valid)


@register
def bbce_adaptive(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the balanced cross-entropy with beta = n_neg / n; see `BBCEAdaptive`."""
    batch = pixels(y_true, y_pred)
    total = ops.maximum(ops.sum(batch.valid), 1.0)
    beta = 1.0 - count(batch.target) / total
    if batch.target.shape[-1] == 1:
        return mean_over(_binary(batch, beta, 1.0 - beta), batch.valid)
    return mean_over(_categorical(batch, beta), batch.valid)


@register
def categorical_crossentropy(
    y_true: Tensor, y_pred: Tensor, *, class_weights: Sequence[float] | None = None
) -> Tensor:
    """Return -log of the true class's probability; see `CategoricalCrossentropy`."""
    batch = pixels(y_true, y_pred)
    weights = pixel_weights(batch.target, class_weights)
    return mean_over(_categorical(_two_channels(batch), 1.0) * weights, batch.valid)


@register
def focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float = 0.25,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """Return the focal cross-entropy; see `FocalCrossentropy`."""
    batch = pixels(y_true, y_pred)
    weights = pixel_weights(batch.target, class_weights)
    spread = _two_channels(batch)
    share = [1.0 - alpha, alpha] if batch.target.shape[-1] == 1 else alpha
    p_true = ops.sum(spread.target * spread.probability, axis=-1, keepdims=True)
    epsilon = keras.config.epsilon()
    easy = ops.power(ops.clip(1.0 - p_true, epsilon, 1.0), gamma)
    terms = easy * _categorical(spread, ops.convert_to_tensor(share, "float32"))
    return mean_over(terms * weights, batch.valid)


@register
class BCE(SegmentationLoss):
    """``-mean(y log p + (1 - y) log(1 - p))`` over the valid pixels.

    Parameters
    ----------
    class_weights
        One weight per class (for a sigmoid output two: background, positive) on its pixels.
    name
        Name in logs.
    """

    def __init__(self, *, class_weights: Sequence[float] | None = None, name: str = "bce") -> None:
        super().__init__(bce, name=name, class_weights=class_weights)


@register
class WBCE(SegmentationLoss):
    """``-mean(w y log p + (1 - y) log(1 - p))`` with a fixed w (`pos_weight`)."""

    def __init__(self, *, pos_weight: float = 2.0, name: str = "wbce") -> None:
        super().__init__(wbce, name=name, pos_weight=pos_weight)


@register
class WBCEAdaptive(SegmentationLoss):
    """``-mean(w y log p + (1 - y) log(1 - p))`` with w = n_neg / n_pos of the batch.

    Positives and negatives of a batch then weigh the same in total.

    Parameters
    ----------
    max_weight
        At least 1: w stays between 1/max_weight and max_weight, so that one stray pixel cannot
        steer a step and a batch that is all of one class still teaches.
    name
        Name in logs.

    With K > 1 channels: ``-mean(w_k log p_k)`` with w_k = n / (K n_k), at most `max_weight`.
    """

    def __init__(self, *, max_weight: float = 1000.0, name: str = "wbce_adaptive") -> None:
        super().__init__(wbce_adaptive, name=name, max_weight=max_weight)


@register
class BBCEAdaptive(SegmentationLoss):
    """``-mean(b y log p + (1 - b)(1 - y) log(1 - p))`` with b = n_neg / n of the batch.

    A batch of one class only has loss 0. With K > 1 channels: ``-mean((1 - n_k / n) log p_k)``.

    Source: Xie & Tu 2015, "Holistically-nested edge detection", eq. 2.
    """

    def __init__(self, *, name: str = "bbce_adaptive") -> None:
        super().__init__(bbce_adaptive, name=name)


@register
class CategoricalCrossentropy(SegmentationLoss):
    """``-mean(w_k log p_k)``, k the true class; a sigmoid output counts as two classes.

    Parameters
    ----------
    class_weights
        w, one per class; None is 1 each.
    name
        Name in logs.
    """

    def __init__(
        self,
        *,
        class_weights: Sequence[float] | None = None,
        name: str = "categorical_crossentropy",
    ) -> None:
        super().__init__(categorical_crossentropy, name=name, class_weights=class_weights)


@register
class FocalCrossentropy(SegmentationLoss):
    """``-mean(a (1 - p_t)^gamma log p_t)``, p_t the probability of the true class.

    Parameters
    ----------
    gamma
        0 is plain cross-entropy; larger values turn down the pixels that are already right.
    alpha
        a. For a sigmoid output alpha on positives and 1 - alpha on background; with K > 1
        channels the same alpha on every class.
    class_weights
        One further weight per class.
    name
        Name in logs.

    Source: Lin et al. 2017, "Focal loss for dense object detection", eq. 5.
    """

    limits: ClassVar[Limits] = {**LIMITS, "alpha": SHARE}

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        alpha: float = 0.25,
        class_weights: Sequence[float] | None = None,
        name: str = "focal_crossentropy",
    ) -> None:
        super().__init__(
            focal_crossentropy,
            name=name,
            gamma=gamma,
            alpha=alpha,
            class_weights=class_weights,
        )
