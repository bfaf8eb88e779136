"""Sums of a pixel loss, which teaches from the first step, and an overlap loss."""

# mypy: allow-subclassing-any

from __future__ import annotations

from gim_cv.losses.crossentropy import bce, wbce_adaptive
from gim_cv.losses.overlap import dice
from gim_cv.losses.targets import SegmentationLoss, Tensor
from gim_cv.serial import register


@register
def bce_dice(
    y_true: Tensor, y_pred: Tensor, *, dice_weight: float = 1.0, smooth: float = 1.0
) -> Tensor:
    """Return bce + dice_weight × dice."""
    return bce(y_true, y_pred) + dice_weight * dice(y_true, y_pred, smooth=smooth)


@register
def wbce_adaptive_dice(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    dice_weight: float = 1.0,
    max_weight: float = 1000.0,
    smooth: float = 1.0,
) -> Tensor:
    """Return wbce_adaptive + dice_weight × dice."""
    pixel = wbce_adaptive(y_true, y_pred, max_weight=max_weight)
    return pixel + dice_weight * dice(y_true, y_pred, smooth=smooth)


@register
class BCEDice(SegmentationLoss):
    """`BCE` + `dice_weight` × `Dice`."""

    def __init__(
        self, *, dice_weight: float = 1.0, smooth: float = 1.0, name: str = "bce_dice"
    ) -> None:
        super().__init__(bce_dice, name=name, dice_weight=dice_weight, smooth=smooth)


@register
class WBCEAdaptiveDice(SegmentationLoss):
    """`WBCEAdaptive` + `dice_weight` × `Dice`."""

    def __init__(
        self,
        *,
        dice_weight: float = 1.0,
        max_weight: float = 1000.0,
        smooth: float = 1.0,
        name: str = "wbce_adaptive_dice",
    ) -> None:
        super().__init__(
            wbce_adaptive_dice,
            name=name,
            dice_weight=dice_weight,
            max_weight=max_weight,
            smooth=smooth,
        )
