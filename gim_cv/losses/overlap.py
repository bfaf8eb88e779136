"""Losses of overlap, counted over the whole batch: Tversky and its special cases.

The batch, not the patch, is the unit: a patch without buildings then adds its false positives
to the sum instead of a score of its own that is either 0 or 1.

With K > 1 channels the loss is the mean over the classes that the batch holds.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from keras import ops

from gim_cv.errors import ConfigError
from gim_cv.losses.coefficients import LIMITS, Limits
from gim_cv.losses.targets import (
    SegmentationLoss,
    Tensor,
    check_class_weights,
    count,
    pixels,
)
from gim_cv.serial import register

SMALLEST = 1e-6


def tversky_index(
    y_true: Tensor, y_pred: Tensor, *, alpha: float, beta: float, smooth: float
) -> tuple[Tensor, Tensor]:
    """Return the Tversky index of each channel and how many pixels the truth has there.

    ``TI = (TP + s) / (TP + alpha FN + beta FP + s)`` with soft counts over the batch's valid
    pixels.

    Parameters
    ----------
    y_true, y_pred
        ``(B, h, w, 1)`` class ids and ``(B, h, w, K)`` probabilities.
    alpha, beta
        Weight of the false negatives and of the false positives.
    smooth
        s, px: over 0, an empty batch with an empty prediction scores 1; at 0, it scores 0.

    Returns
    -------
    tuple
        ``(K,)`` index 0–1 and ``(K,)`` pixel counts, float32.

    Source: Salehi, Erdogmus & Gholipour 2017, "Tversky loss function for image segmentation
    using 3D fully convolutional deep networks", eq. 3 (there alpha weighs FP and beta FN).
    """
    target, probability, valid = pixels(y_true, y_pred)
    hit = count(target * probability)
    missed = count(target * (1.0 - probability))
    false = count((1.0 - target) * probability * valid)
    below = hit + alpha * missed + beta * false + smooth
    index = (hit + smooth) / ops.maximum(below, SMALLEST)
    return index, count(target)


def _mean_over_classes(
    values: Tensor, present: Tensor, class_weights: Sequence[float] | None
) -> Tensor:
    """Return the (weighted) mean over the classes present; the value itself if there is one.

    Raises
    ------
    ConfigError
        There is not one weight per class, or weights but only one class.
    """
    channels = values.shape[0]
    if class_weights is not None:
        if channels == 1:
            raise ConfigError(
                "a loss of overlap takes no class weights for a sigmoid output",
                expected="a softmax over at least two classes",
                remedy="Set train.class_weights to null, model.n_classes to 2, or choose another "
                "loss",
            )
        check_class_weights(class_weights, channels)
    if channels == 1:
        return values[0]
    weights = ops.cast(present > 0, "float32")
    if class_weights is not None:
        weights = weights * ops.convert_to_tensor(class_weights, "float32")
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), SMALLEST)


@register
def tversky(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.7,
    beta: float = 0.3,
    smooth: float = 1.0,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """Return 1 - Tversky index; see `Tversky`."""
    index, present = tversky_index(y_true, y_pred, alpha=alpha, beta=beta, smooth=smooth)
    return _mean_over_classes(1.0 - index, present, class_weights)


@register
def focal_tversky(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.7,
    beta: float = 0.3,
    gamma: float = 4 / 3,
    smooth: float = 1.0,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """Return (1 - Tversky index) to the power 1/gamma; see `FocalTversky`."""
    index, present = tversky_index(y_true, y_pred, alpha=alpha, beta=beta, smooth=smooth)
    # The slope of x^(3/4) is infinite at 0, where a perfect prediction would sit.
    focal = ops.power(ops.maximum(1.0 - index, SMALLEST), 1.0 / gamma)
    return _mean_over_classes(focal, present, class_weights)


@register
def dice(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    smooth: float = 1.0,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """Return 1 - Dice coefficient; see `Dice`."""
    return tversky(y_true, y_pred, alpha=0.5, beta=0.5, smooth=smooth, class_weights=class_weights)


@register
def jaccard(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    smooth: float = 1.0,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """Return 1 - soft Jaccard index; see `Jaccard`."""
    return tversky(y_true, y_pred, alpha=1.0, beta=1.0, smooth=smooth, class_weights=class_weights)


@register
class Tversky(SegmentationLoss):
    """``1 - TI``: overlap in which a miss may cost more than a false alarm.

    Parameters
    ----------
    alpha, beta
        Weight of false negatives and of false positives. 0.5 and 0.5 is Dice, 1 and 1 Jaccard.
    smooth
        Added to both sides of the fraction, px.
    class_weights
        One weight per class for the mean over classes; an error where the model has one channel.
    name
        Name in logs.

    Source: Salehi et al. 2017, eq. 4; with alpha on the false negatives as in Abraham & Khan 2019.

    Examples
    --------
    >>> import numpy as np
    >>> ids = np.array([1, 1, 0, 255], "uint8").reshape(1, 2, 2, 1)
    >>> p = np.array([1, 0, 1, 1], "float32").reshape(1, 2, 2, 1)
    >>> round(float(Tversky(smooth=0.0)(ids, p)), 4)  # 1 - 1 / (1 + 0.7 + 0.3)
    0.5
    """

    def __init__(
        self,
        *,
        alpha: float = 0.7,
        beta: float = 0.3,
        smooth: float = 1.0,
        class_weights: Sequence[float] | None = None,
        name: str = "tversky",
    ) -> None:
        super().__init__(
            tversky,
            name=name,
            alpha=alpha,
            beta=beta,
            smooth=smooth,
            class_weights=class_weights,
        )


@register
class FocalTversky(SegmentationLoss):
    """``(1 - TI)^(1/gamma)``: for gamma > 1 the slope grows as the overlap gets better.

    Parameters
    ----------
    alpha, beta, smooth, class_weights, name
        As in `Tversky`.
    gamma
        0.1 to 10, usually 1 to 3. The exponent is 1/gamma: 4/3 means (1 - TI) to the power 0.75,
        as in the paper and in its authors' code (which names 0.75 itself gamma).

    Source: Abraham & Khan 2019, "A novel focal Tversky loss function with improved attention
    U-Net for lesion segmentation", eq. 3.
    """

    limits: ClassVar[Limits] = {**LIMITS, "gamma": (0.1, 10.0)}

    def __init__(
        self,
        *,
        alpha: float = 0.7,
        beta: float = 0.3,
        gamma: float = 4 / 3,
        smooth: float = 1.0,
        class_weights: Sequence[float] | None = None,
        name: str = "focal_tversky",
    ) -> None:
        super().__init__(
            focal_tversky,
            name=name,
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            smooth=smooth,
            class_weights=class_weights,
        )


@register
class Dice(SegmentationLoss):
    """``1 - 2 TP / (2 TP + FN + FP)`` with soft counts: Tversky at alpha = beta = 1/2.

    `smooth` (px) is s of `tversky_index`, that is 2 s on both sides of this fraction.

    Source: Milletari, Navab & Ahmadi 2016, "V-Net", section 3 (there with squared probabilities).
    """

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        class_weights: Sequence[float] | None = None,
        name: str = "dice",
    ) -> None:
        super().__init__(dice, name=name, smooth=smooth, class_weights=class_weights)


@register
class Jaccard(SegmentationLoss):
    """``1 - TP / (TP + FN + FP)`` with soft counts: Tversky at alpha = beta = 1.

    Source: Rahman & Wang 2016, "Optimizing intersection-over-union in deep neural networks for
    image segmentation", eq. 3–5.
    """

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        class_weights: Sequence[float] | None = None,
        name: str = "jaccard",
    ) -> None:
        super().__init__(jaccard, name=name, smooth=smooth, class_weights=class_weights)
