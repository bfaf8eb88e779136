"""Optimisers and learning-rate schedules by name, with the one optimiser that Keras lacks."""

# mypy: allow-subclassing-any

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from gim_cv.errors import UnknownError
from gim_cv.serial import register

Tensor = Any
SGD_MOMENTUM = 0.85
OPTIMIZERS = ("adam", "adamw", "ranger", "sgd")
SCHEDULES = ("constant", "cosine", "one_cycle", "plateau")
WARM_SHARE = 0.3
NO_DECAY = ("bias", "gamma", "beta")


def make_optimizer(
    name: str, learning_rate: Any, *, weight_decay: float, clipnorm: float
) -> keras.optimizers.Optimizer:
    """Return an optimizer.

    Parameters
    ----------
    name
        One of `OPTIMIZERS`.
    learning_rate
        A number or a Keras schedule.
    weight_decay
        Decoupled decay per step, times the learning rate; biases and batch norms are left alone.
        0 is off. Not used by ``adam`` (``adamw`` is adam with decay).
    clipnorm
        Largest norm of all gradients together; 0 is off.

    Raises
    ------
    UnknownError
        No optimizer has that name.
    """
    kinds: Mapping[str, tuple[Any, dict[str, Any]]] = {
        "adam": (keras.optimizers.Adam, {}),
        "adamw": (keras.optimizers.AdamW, {"weight_decay": weight_decay}),
        "ranger": (Ranger, {"weight_decay": weight_decay or None}),
        "sgd": (
            keras.optimizers.SGD,
            {"momentum": SGD_MOMENTUM, "weight_decay": weight_decay or None},
        ),
    }
    if name not in kinds:
        raise UnknownError.among("optimizer", name, OPTIMIZERS)
    kind, options = kinds[name]
    # The name is in weight files: without it, they would depend on how many were made before.
    optimizer = kind(learning_rate, global_clipnorm=clipnorm or None, name=name, **options)
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
    return optimizer


def make_schedule(
    name: str, peak: float, *, steps: int, warmup_steps: int, final_share: float
) -> Any:
    """Return a learning rate: a number, or a Keras schedule over the steps of a run.

    Parameters
    ----------
    name
        ``"constant"``, ``"plateau"`` (a number too: `fit` lowers it between epochs), ``"cosine"``
        or ``"one_cycle"``.
    peak
        Largest learning rate.
    steps
        Steps of the whole run.
    warmup_steps
        Steps of linear rise at the start (cosine only; one-cycle rises for 30 % of the run).
    final_share
        The last learning rate as a share of `peak`.

    Raises
    ------
    UnknownError
        No schedule has that name.
    """
    if name in ("constant", "plateau"):
        return peak
    if name == "cosine":
        return WarmCosine(peak, steps=steps, warmup_steps=warmup_steps, final_share=final_share)
    if name == "one_cycle":
        return OneCycle(peak, steps=steps, final_share=final_share)
    raise UnknownError.among("schedule", name, SCHEDULES)


def _fall(peak: float, share: float, progress: Tensor) -> Tensor:
    """Return the half cosine from `peak` (progress 0) to ``share * peak`` (progress 1 and on)."""
    wave = 0.5 * (1.0 + ops.cos(math.pi * ops.clip(progress, 0.0, 1.0)))
    return peak * (share + (1.0 - share) * wave)


@register
class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise to the peak, then half a cosine down to a share of it.

    Parameters
    ----------
    peak
        Largest learning rate.
    steps
        Steps of the whole run.
    warmup_steps
        Steps of the rise; the first one is already at 1 / warmup_steps of the peak.
    final_share
        The last learning rate as a share of the peak.

    Source: Loshchilov & Hutter 2017, "SGDR", eq. 5, without restarts.
    """

    def __init__(self, peak: float, *, steps: int, warmup_steps: int, final_share: float) -> None:
        self.peak, self.steps = peak, steps
        self.warmup_steps, self.final_share = warmup_steps, final_share

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate of a step, counted from 0."""
        done = ops.cast(step, "float32")
        rise = self.peak * (done + 1.0) / max(self.warmup_steps, 1)
        progress = (done - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        fall = _fall(self.peak, self.final_share, progress)
        return ops.where(done < self.warmup_steps, rise, fall)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "peak": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "final_share": self.final_share,
        }


@register
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A cosine rise from peak/25 over 30 % of the run, then a cosine fall.

    Only the learning rate cycles; the momentum stays.

    Parameters
    ----------
    peak
        Largest learning rate.
    steps
        Steps of the whole run.
    final_share
        The last learning rate as a share of the peak.

    Source: Smith & Topin 2018, "Super-convergence", section 3.
    """

    def __init__(self, peak: float, *, steps: int, final_share: float) -> None:
        self.peak, self.steps, self.final_share = peak, steps, final_share

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate of a step, counted from 0."""
        done, top = ops.cast(step, "float32"), WARM_SHARE * self.steps
        rise = _fall(self.peak, 1.0 / 25.0, 1.0 - done / max(top, 1.0))
        fall = _fall(self.peak, self.final_share, (done - top) / max(self.steps - top, 1.0))
        return ops.where(done < top, rise, fall)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"peak": self.peak, "steps": self.steps, "final_share": self.final_share}


@register
class Ranger(keras.optimizers.Optimizer):
    """RAdam steps, of which every sixth is pulled half-way back to a slow copy of the weights.

    Parameters
    ----------
    learning_rate
        A number or a Keras schedule.
    beta_1, beta_2, epsilon
        As in Adam.
    sync_period
        Steps between two updates of the slow weights.
    slow_step
        Share of the way that the slow weights go towards the fast ones.
    options
        As in ``keras.optimizers.Optimizer``.

    Source: Liu et al. 2020, "On the variance of the adaptive learning rate and beyond",
    algorithm 2 (with the variance used from rho > 5, as in its code); Zhang et al. 2019,
    "Lookahead optimizer: k steps forward, 1 step back", algorithm 1.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        *,
        beta_1: float = 0.95,
        beta_2: float = 0.999,
        epsilon: float = 1e-5,
        sync_period: int = 6,
        slow_step: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **{"name": "ranger", **options})
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.sync_period, self.slow_step = sync_period, slow_step

    def build(self, variables: list[Any]) -> None:
        """Make the two moments and the slow copy of each variable."""
        if self.built:
            return
        super().build(variables)
        self.mean, self.square, self.slow = self.add_optimizer_variables(
            variables, ["mean", "square", "slow"]
        )

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        """Move one variable."""
        dtype = variable.dtype
        rate, gradient = ops.cast(learning_rate, dtype), ops.cast(gradient, dtype)
        index = self._get_variable_index(variable)
        mean, square, slow = self.mean[index], self.square[index], self.slow[index]
        # Weights may be loaded after the build, so the copy is made at the first step.
        start = ops.where(
            self.iterations == 0, ops.convert_to_tensor(variable), ops.convert_to_tensor(slow)
        )
        self.assign(mean, self.beta_1 * mean + (1 - self.beta_1) * gradient)
        self.assign(square, self.beta_2 * square + (1 - self.beta_2) * ops.square(gradient))
        fast = variable - rate * self._direction(mean, square, dtype)
        sync = ops.equal((self.iterations + 1) % self.sync_period, 0)
        met = start + self.slow_step * (fast - start)
        self.assign(slow, ops.where(sync, met, start))
        self.assign(variable, ops.where(sync, met, fast))

    def _direction(self, mean: Any, square: Any, dtype: str) -> Tensor:
        """Return the step per learning rate: Adam's, rectified, or plain momentum at first."""
        step = ops.cast(self.iterations + 1, dtype)
        power = ops.power(ops.cast(self.beta_2, dtype), step)
        longest = 2.0 / (1.0 - self.beta_2) - 1.0
        length = longest - 2.0 * step * power / (1.0 - power)
        safe = ops.maximum(length, 5.0)
        rectified = ops.sqrt(
            (safe - 4.0) * (safe - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * safe)
        )
        momentum = mean / (1.0 - ops.power(ops.cast(self.beta_1, dtype), step))
        adaptive = rectified * momentum / (ops.sqrt(square / (1.0 - power)) + self.epsilon)
        return ops.where(length > 5.0, adaptive, momentum)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "sync_period": self.sync_period,
            "slow_step": self.slow_step,
        }
