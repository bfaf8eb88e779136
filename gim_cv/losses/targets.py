"""What every loss does first: leave out the ignored pixels, spread the ids over the channels."""

# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import keras
from keras import ops

from gim_cv.errors import ConfigError, DataError
from gim_cv.losses.coefficients import LIMITS, Limits, check_coefficients
from gim_cv.patches import IGNORE

Tensor = Any


class Pixels(NamedTuple):
    """A batch ready for arithmetic, all float32.

    Attributes
    ----------
    target
        ``(B, h, w, K)`` 0 or 1, one-hot; for a sigmoid output K is 1 and 1 means class 1. Zero
        where ignored.
    probability
        ``(B, h, w, K)`` 0–1; a constant where ignored, so that nothing flows back from there.
    valid
        ``(B, h, w, 1)`` 1 where the pixel counts, 0 where it is ignored.
    """

    target: Tensor
    probability: Tensor
    valid: Tensor


def pixels(y_true: Tensor, y_pred: Tensor) -> Pixels:
    """Return class ids and predictions as one-hot targets, probabilities and a validity mask.

    Parameters
    ----------
    y_true
        ``(B, h, w, 1)`` class ids, any dtype; 255 is ignored.
    y_pred
        ``(B, h, w, 1)`` sigmoid or ``(B, h, w, K)`` softmax probabilities, any float dtype.

    Raises
    ------
    DataError
        One of them is not four-dimensional, or `y_true` has more than one channel.
    """
    if len(y_true.shape) != 4 or len(y_pred.shape) != 4 or y_true.shape[-1] != 1:
        raise DataError(
            "a loss needs class ids (B, h, w, 1) and probabilities (B, h, w, K)",
            found=f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}",
        )
    ids = ops.cast(y_true, "int32")
    classes = y_pred.shape[-1]
    wanted = ops.arange(classes, dtype="int32") if classes > 1 else ops.ones((1,), dtype="int32")
    valid = ops.not_equal(ids, IGNORE)
    probability = ops.where(valid, ops.cast(y_pred, "float32"), 1.0 / max(classes, 2))
    target = ops.logical_and(ops.equal(ids, wanted), valid)
    return Pixels(ops.cast(target, "float32"), probability, ops.cast(valid, "float32"))


def count(values: Tensor) -> Tensor:
    """Return the sum over batch, rows and columns of ``(B, h, w, K)``: ``(K,)``."""
    return ops.sum(values, axis=(0, 1, 2))


def mean_over(values: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of ``(B, h, w, 1)`` values over the valid pixels; 0 if there are none."""
    return ops.sum(values * valid) / ops.maximum(ops.sum(valid), 1.0)


def pixel_weights(target: Tensor, class_weights: Sequence[float] | None) -> Tensor:
    """Return the weight of each pixel's class, ``(B, h, w, 1)``; 1 without `class_weights`.

    Raises
    ------
    ConfigError
        There is not one weight per class (two for a sigmoid output: background, positive).
    """
    channels = target.shape[-1]
    if class_weights is None:
        return ops.ones_like(target[..., :1])
    check_class_weights(class_weights, max(channels, 2))
    if channels == 1:
        return class_weights[0] * (1.0 - target) + class_weights[1] * target
    return ops.sum(target * ops.convert_to_tensor(class_weights, "float32"), -1, keepdims=True)


def check_class_weights(class_weights: Sequence[float], classes: int) -> None:
    """Raise ConfigError unless there is one weight per class."""
    if len(class_weights) != classes:
        raise ConfigError(
            "class_weights does not fit the model",
            expected=f"{classes} numbers, one per class",
            found=list(class_weights),
        )


class SegmentationLoss(keras.losses.Loss):
    """A loss of class ids and probabilities that one function computes, in float32.

    Parameters
    ----------
    function
        ``function(y_true, y_pred, **arguments)`` returning a scalar.
    name
        Name in logs.
    arguments
        Keyword arguments of `function`; they are the loss's configuration.

    Attributes
    ----------
    limits
        Least and greatest value of each argument.

    Raises
    ------
    ConfigError
        An argument is no finite number, or outside its limits.
    """

    limits: ClassVar[Limits] = LIMITS

    def __init__(self, function: Callable[..., Tensor], *, name: str, **arguments: Any) -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        check_coefficients(name, arguments, self.limits)
        self.function = function
        self.arguments = arguments
        if arguments.get("class_weights") is not None:
            arguments["class_weights"] = [float(weight) for weight in arguments["class_weights"]]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """State that the loss reads and the model must carry; give it to ``compile`` too."""
        return []

    def on_epoch(self, epoch: int) -> None:
        """Get ready for an epoch, counted from 0; a loss with a schedule moves on."""

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> Tensor:
        """Return the loss of one batch, on each of several devices its share.

        Raises
        ------
        ConfigError
            Weights were given: they would scale the batch as a whole. Keras makes such weights of
            ``class_weight`` too.
        """
        if sample_weight is not None:
            raise ConfigError(
                "losses take no sample weights",
                remedy="Mark pixels that should not count with 255 in y_true; give class_weights "
                "to the loss",
            )
        return super().__call__(y_true, y_pred)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of one batch, ``(1,)``: Keras divides no scalar by the replicas."""
        return ops.reshape(self.value(y_true, y_pred), (1,))

    def value(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of one batch, a scalar."""
        return self.function(y_true, y_pred, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name, **self.arguments}
