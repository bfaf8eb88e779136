"""Lovász losses: convex surrogates of the Jaccard index itself, over all pixels of the batch."""

# mypy: allow-subclassing-any

from __future__ import annotations

import keras
from keras import ops

from gim_cv.losses.targets import Pixels, SegmentationLoss, Tensor, count, pixels
from gim_cv.serial import register


@register
def lovasz_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the Lovász hinge of the logits behind `y_pred`; see `LovaszHinge`."""
    batch = pixels(y_true, y_pred)
    epsilon = keras.config.epsilon()
    p = ops.clip(batch.probability, epsilon, 1.0 - epsilon)
    signs = 2.0 * batch.target - 1.0
    errors = 1.0 - signs * (ops.log(p) - ops.log(1.0 - p))
    return _mean_over_classes(batch, ops.relu(errors))


@register
def lovasz_softmax(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the Lovász extension of the Jaccard loss; see `LovaszSoftmax`."""
    batch = pixels(y_true, y_pred)
    return _mean_over_classes(batch, ops.abs(batch.target - batch.probability))


def _mean_over_classes(batch: Pixels, errors: Tensor) -> Tensor:
    """Return the extension of each channel's Jaccard loss at its errors, averaged.

    A sigmoid has one channel; of a softmax, the channels of the classes present.
    """
    channels = batch.target.shape[-1]
    valid = ops.reshape(batch.valid, (-1,))
    losses = ops.stack(
        [
            _extension(
                ops.reshape(errors[..., k], (-1,)), ops.reshape(batch.target[..., k], (-1,)), valid
            )
            for k in range(channels)
        ]
    )
    if channels == 1:
        return losses[0]
    present = ops.cast(count(batch.target) > 0, "float32")
    return ops.sum(losses * present) / ops.maximum(ops.sum(present), 1.0)


def _extension(errors: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return Σ_i e_i g_i over errors in falling order, g the gradient of the Jaccard loss.

    Parameters
    ----------
    errors, target, valid
        ``(N,)`` float32: error of each pixel, 1 where it is positive, 1 where it counts.

    Source: Berman et al. 2018, "The Lovász-softmax loss", algorithm 1.
    """
    # Ignored pixels go last, where they add neither to the intersection nor to the union.
    order = ops.argsort(-ops.where(valid > 0, errors, -1.0))
    errors, target, valid = (ops.take(part, order) for part in (errors, target, valid))
    inside = ops.cumsum(target)
    outside = ops.cumsum((1.0 - target) * valid)
    positives = ops.sum(target)
    jaccard = 1.0 - (positives - inside) / ops.maximum(positives + outside, 1.0)
    steps = ops.concatenate([jaccard[:1], jaccard[1:] - jaccard[:-1]])
    return ops.sum(errors * ops.stop_gradient(steps) * valid)


@register
class LovaszHinge(SegmentationLoss):
    """Lovász extension of the Jaccard loss at hinge errors ``1 - s z``, s = ±1, z the logit.

    The logit is had back from the probability, so it stays within ±16.

    Source: Berman et al. 2018, section 3.2; Yu & Blaschko 2015.
    """

    def __init__(self, *, name: str = "lovasz_hinge") -> None:
        super().__init__(lovasz_hinge, name=name)


@register
class LovaszSoftmax(SegmentationLoss):
    """Lovász extension of the Jaccard loss at errors ``|y - p|``, mean over the classes present.

    Source: Berman et al. 2018, eq. 9 and 12.
    """

    def __init__(self, *, name: str = "lovasz_softmax") -> None:
        super().__init__(lovasz_softmax, name=name)
