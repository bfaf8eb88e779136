"""One progress bar for a run: epoch, loss, patches a second, waiting for data, time left."""

# mypy: allow-subclassing-any

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gim_cv.batches import Batches

LOOK_SECONDS = 0.5
"""Least time between two looks at the loss, each of which lets the device run out of steps."""


class TrainingBar(keras.callbacks.Callback):
    """A bar over all steps of a run, on stderr; a Keras callback and a context manager.

    Parameters
    ----------
    steps
        Steps per epoch.
    epochs
        Epochs of the run.
    batch
        Patches per step.
    done
        Steps that an interrupted run has behind it.
    data
        The train batches, which know how long they were waited for.
    shown
        False: nothing is drawn.
    """

    def __init__(
        self, *, steps: int, epochs: int, batch: int, done: int, data: Batches, shown: bool
    ) -> None:
        super().__init__()
        self.epochs, self.batch, self.data = epochs, batch, data
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown,
        )
        self.task = self.bar.add_task("train", total=steps * epochs, completed=done, note="")
        self.validation = ""
        self.began = time.monotonic()
        self.seen, self.looked = 0, 0.0

    def __enter__(self) -> Self:
        """Start drawing."""
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        self.bar.stop()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Name the epoch."""
        self.bar.update(self.task, description=f"epoch {epoch + 1}/{self.epochs}")
        self.began, self.seen, self.data.waited = time.monotonic(), 0, 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Move on by one step; every now and then, say how it goes."""
        self.seen += self.batch
        self.bar.advance(self.task)
        if self.bar.disable or time.monotonic() - self.looked < LOOK_SECONDS:
            return
        loss = float((logs or {}).get("loss", float("nan")))
        self.looked = time.monotonic()
        passed = max(self.looked - self.began, 1e-9)
        rate, wait = self.seen / passed, self.data.waited / passed
        note = f"loss {loss:.4f} {self.validation} {rate:.1f} patches/s, {wait:.0%} waiting"
        self.bar.update(self.task, note=note)

    def report(self, row: dict[str, float]) -> None:
        """Show the last epoch's validation."""
        shown = [f"{name} {row[name]:.4f}" for name in ("val_loss", "val_iou") if name in row]
        self.validation = " ".join(shown)
