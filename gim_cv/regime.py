"""How a model is trained: the ``train`` section of params.yaml, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from gim_cv.errors import ConfigError, UnknownError

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True, slots=True)
class Regime:
    """The options of a training run; none has a default, so that DVC sees each.

    Attributes
    ----------
    epochs
        Passes over the train split, at most.
    batch
        Patches per step.
    optimizer
        A name of `optimizers.OPTIMIZERS`.
    learning_rate
        Largest learning rate.
    weight_decay
        Decoupled decay, times the learning rate; 0 is off.
    clipnorm
        Largest norm of all gradients together; 0 is off.
    schedule
        A name of `optimizers.SCHEDULES`.
    warmup_epochs
        Epochs of linear rise (schedule cosine).
    final_share
        Last learning rate as a share of the largest (cosine, one_cycle), and the least share that
        the schedule plateau goes down to.
    plateau_patience
        Epochs without a better monitored loss after which the schedule plateau lowers the rate.
    plateau_factor
        By which it is multiplied then.
    patience
        Epochs without a better monitored loss after which training stops; 0 is never.
    swa_share
        Last share of `epochs` whose weights are averaged; 0 is off. Where patience ends the
        training before, fewer are, or none.
    swa_batches
        Train batches from which the averaged model's batch-norm statistics are estimated.
    sheet_epochs
        Epochs between contact sheets of validation patches; 0 is none.
    precision
        One of `PRECISIONS`: the type of the arithmetic; weights and losses stay float32.
    class_weights
        None, ``"balanced"`` (n / (K n_k) over the train split), or one number per class.
    oversample
        None, or the share of an epoch's patches that should hold a class beyond 0, reached by
        repeating such patches.
    threshold
        Probability from which a pixel counts as positive in the metrics of the history.
    deterministic
        Whether the backend may only use operations that give the same bits in each run.
    workers
        Threads that read and augment batches; no effect on the result.
    devices
        1, or 0 for all accelerators of this machine (each gets an equal part of the batch).
    """

    epochs: int
    batch: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    clipnorm: float
    schedule: str
    warmup_epochs: float
    final_share: float
    plateau_patience: int
    plateau_factor: float
    patience: int
    swa_share: float
    swa_batches: int
    sheet_epochs: int
    precision: str
    class_weights: str | tuple[float, ...] | None
    oversample: float | None
    threshold: float
    deterministic: bool
    workers: int
    devices: int

    def __post_init__(self) -> None:
        """Raise ConfigError where a value is out of range."""
        at_least = {"epochs": 1, "batch": 1, "plateau_patience": 1, "swa_batches": 1}
        at_least["workers"] = 1
        limits = dict.fromkeys(
            ("weight_decay", "clipnorm", "warmup_epochs", "patience", "sheet_epochs"), 0
        )
        for name, least in {**at_least, **limits}.items():
            if getattr(self, name) < least:
                raise _wrong(name, f"at least {least}", getattr(self, name))
        if self.learning_rate <= 0:
            raise _wrong("learning_rate", "over 0", self.learning_rate)
        for name in ("final_share", "plateau_factor", "swa_share", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise _wrong(name, "0 to 1", getattr(self, name))
        if self.precision not in PRECISIONS:
            raise _wrong("precision", f"one of {', '.join(PRECISIONS)}", self.precision)
        if self.devices not in (0, 1):
            raise _wrong("devices", "1, or 0 for all", self.devices)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Regime:
        """Return the regime that `options` describe.

        Raises
        ------
        UnknownError
            An option has no such name.
        ConfigError
            One is missing, or out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise UnknownError.among("option of train", name, known)
        missing = [name for name in known if name not in options]
        if missing:
            raise ConfigError("train lacks options", expected=", ".join(missing))
        return cls(**options)

    @property
    def averaged(self) -> int:
        """How many last epochs are to be averaged."""
        return max(round(self.swa_share * self.epochs), 1) if self.swa_share else 0

    def averages(self, epoch: int) -> bool:
        """Return whether the weights after `epoch`, counted from 1, join the average."""
        return epoch > self.epochs - self.averaged

    def as_dict(self) -> dict[str, Any]:
        """Return the options as plain values."""
        found = asdict(self)
        if isinstance(self.class_weights, tuple):
            found["class_weights"] = list(self.class_weights)
        return found


def _wrong(name: str, expected: str, found: object) -> ConfigError:
    return ConfigError(f"train.{name} is out of range", expected=expected, found=found)
