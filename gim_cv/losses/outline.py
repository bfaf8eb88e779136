"""The boundary (surface) loss: probabilities weighed by their distance from the true outline."""

# mypy: allow-subclassing-any

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from gim_cv.errors import ConfigError
from gim_cv.losses.overlap import dice
from gim_cv.losses.targets import SegmentationLoss, Tensor, mean_over, pixels
from gim_cv.serial import register

FAR = 1e8


@register
def surface(
    y_true: Tensor, y_pred: Tensor, *, alpha: Any = 0.5, reach_px: int = 32, smooth: float = 1.0
) -> Tensor:
    """Return alpha × dice + (1 - alpha) × boundary; see `Surface`."""
    region = dice(y_true, y_pred, smooth=smooth)
    return alpha * region + (1.0 - alpha) * boundary(y_true, y_pred, reach_px=reach_px)


@register
def boundary(y_true: Tensor, y_pred: Tensor, *, reach_px: int = 32) -> Tensor:
    """Return the mean over valid pixels and classes of signed distance × probability.

    Parameters
    ----------
    y_true, y_pred
        ``(B, h, w, 1)`` class ids and ``(B, h, w, K)`` probabilities.
    reach_px
        Distances are cut off here, px.

    Source: Kervadec et al. 2019, "Boundary loss for highly unbalanced segmentation", eq. 5.
    """
    batch = pixels(y_true, y_pred)
    signed = ops.stop_gradient(signed_distance(batch.target, batch.valid, reach_px=reach_px))
    return mean_over(ops.mean(signed * batch.probability, -1, keepdims=True), batch.valid)


def signed_distance(target: Tensor, valid: Tensor, *, reach_px: int) -> Tensor:
    """Return each pixel's distance to the nearest pixel of the other kind, negative inside.

    An inner pixel at the outline has -0 (the distance less one), as in the paper's code. Pixels of
    a patch that is all of one kind have 0: there is no outline to be far from.

    Parameters
    ----------
    target
        ``(B, h, w, K)`` 0 or 1.
    valid
        ``(B, h, w, 1)`` 0 or 1; an ignored pixel is of neither kind.
    reach_px
        Distances are exact up to here, and this where they are larger, px.

    Returns
    -------
    tensor
        ``(B, h, w, K)`` float32, px.
    """
    outer = (1.0 - target) * valid
    to_inside = _distance(target, reach_px)
    to_outside = _distance(outer, reach_px)
    both = ops.logical_and(_any(target), _any(outer))
    signed = outer * to_inside - target * (to_outside - 1.0)
    return ops.where(both, signed, ops.zeros_like(signed))


def _any(mask: Tensor) -> Tensor:
    return ops.max(mask, axis=(1, 2), keepdims=True) > 0


def _distance(mask: Tensor, reach_px: int) -> Tensor:
    """Return the Euclidean distance to the nearest 1, at most `reach_px`.

    Rows and columns are separable: d²(i, j) = min_b (b² + min_a (a² + f(i + a, j + b))).

    Source: Felzenszwalb & Huttenlocher 2012, "Distance transforms of sampled functions", section 3.
    """
    squared = ops.where(mask > 0, ops.zeros_like(mask), FAR)
    for axis in (1, 2):
        squared = _nearest(squared, axis, reach_px)
    return ops.minimum(ops.sqrt(squared), float(reach_px))


def _nearest(squared: Tensor, axis: int, reach_px: int) -> Tensor:
    """Return min over shifts a of a² + squared shifted by a along `axis`."""
    border = [(0, 0)] * 4
    border[axis] = (reach_px, reach_px)
    padded = ops.pad(squared, border, constant_values=FAR)
    shape = ops.shape(squared)

    def at(step: Tensor, best: Tensor) -> Tensor:
        start = [0, 0, 0, 0]
        start[axis] = step
        shift = ops.cast(step, "float32") - reach_px
        return ops.minimum(best, ops.slice(padded, start, shape) + shift * shift)

    return ops.fori_loop(0, 2 * reach_px + 1, at, squared)


@register
class AlphaMetric(keras.metrics.Metric):
    """The share of the region loss, as the model's state: every backend then sees it change.

    Parameters
    ----------
    alpha
        Its value at first.
    name
        Name in logs.
    """

    def __init__(self, alpha: float, *, name: str = "surface_alpha") -> None:
        super().__init__(name=name, dtype="float32")
        # A metric's variables are sums over the devices unless told otherwise; each needs alpha.
        self.alpha = self.add_variable(
            shape=(),
            initializer=keras.initializers.Constant(alpha),
            aggregation="only_first_replica",
            name="alpha",
        )

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Leave alpha as it is: `Surface.on_epoch` moves it."""

    def reset_state(self) -> None:
        """Leave alpha as it is."""

    def result(self) -> Tensor:
        """Return alpha."""
        return self.alpha + 0.0

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, alpha as it is now."""
        return {"alpha": float(ops.convert_to_numpy(self.alpha)), "name": self.name}


@register
class Surface(SegmentationLoss):
    """``alpha dice + (1 - alpha) boundary``; alpha falls by `step` each epoch down to `end`.

    Compile the model with the loss's `metrics` and call `on_epoch` before each epoch (`fit` does
    both); without that, alpha stays at `start`.

    Parameters
    ----------
    start, step, end
        alpha in the first epoch, what it loses each epoch, and where it stops; 0 to 1.
    reach_px
        Distances from the outline are cut off here, a whole number of px.
    smooth
        As in `Dice`.
    name
        Name in logs.

    Raises
    ------
    ConfigError
        An alpha is outside 0 to 1, or the reach is no whole number of pixels from 1.

    Source: Kervadec et al. 2019, eq. 5 and section 3 ("rebalance" schedule, 1 to 0.01 by 0.01).
    """

    def __init__(
        self,
        *,
        start: float = 1.0,
        step: float = 0.01,
        end: float = 0.01,
        reach_px: int = 32,
        smooth: float = 1.0,
        name: str = "surface",
    ) -> None:
        super().__init__(
            surface,
            name=name,
            start=start,
            step=step,
            end=end,
            reach_px=reach_px,
            smooth=smooth,
        )
        if end > start or reach_px != int(reach_px):
            raise ConfigError(
                "surface loss out of range",
                expected="end <= start, reach_px a whole number",
                found=f"start {start}, end {end}, reach_px {reach_px}",
            )
        self.arguments["reach_px"] = int(reach_px)
        self.state = AlphaMetric(start)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Return alpha as a metric: it shows in the history, and the model carries it."""
        return [self.state]

    def on_epoch(self, epoch: int) -> None:
        """Set alpha for an epoch, counted from 0."""
        options = self.arguments
        alpha = options["start"] - epoch * options["step"]
        self.state.alpha.assign(max(alpha, options["end"]))

    def value(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of one batch, a scalar."""
        return surface(
            y_true,
            y_pred,
            alpha=self.state.result(),
            reach_px=self.arguments["reach_px"],
            smooth=self.arguments["smooth"],
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, and alpha as it is now."""
        return {**super().get_config(), "alpha": self.state.get_config()["alpha"]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Surface:
        """Return the loss that `get_config` described, at the alpha it had."""
        options = dict(config)
        alpha = options.pop("alpha", None)
        loss = cls(**options)
        if alpha is not None:
            loss.state.alpha.assign(alpha)
        return loss
