"""The state of an unfinished run, from which it goes on as if nothing had happened."""

# mypy: allow-subclassing-any

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gim_cv.atomic import atomic_file
from gim_cv.averaging import Arrays, WeightAverage
from gim_cv.backend import backend_name

STATE_FILE = "state.npz"
STATE_SECONDS = 300.0
"""Least time between states within an epoch: what a kill can cost."""


@dataclass
class Progress:
    """Where a run stands.

    Attributes
    ----------
    rows
        The history, one row per finished epoch.
    best, best_train
        Lowest monitored loss and lowest train loss so far.
    chosen, chosen_train
        The epochs (from 0) of these.
    waited
        Epochs since the lowest monitored loss.
    stale
        Epochs since then or since the rate was last lowered (schedule plateau).
    step
        Steps of the unfinished epoch that are done.
    sums
        What the metrics have counted in these steps.
    average
        The averaged weights.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    best: float = float("inf")
    best_train: float = float("inf")
    chosen: int = 0
    chosen_train: int = 0
    waited: int = 0
    stale: int = 0
    step: int = 0
    sums: Arrays = field(default_factory=list)
    average: WeightAverage = field(default_factory=WeightAverage)


def save_state(folder: Path, model: keras.Model, progress: Progress) -> None:
    """Write model, optimizer and progress as one file that is whole or absent."""
    plain = {**vars(progress), "average": progress.average.count, "sums": len(progress.sums)}
    arrays = {"progress": np.frombuffer(json.dumps(plain).encode(), np.uint8)}
    arrays |= {f"w{i}": weight for i, weight in enumerate(model.get_weights())}
    arrays |= {
        f"s{i}": keras.ops.convert_to_numpy(state) for i, state in enumerate(_random_states(model))
    }
    arrays |= {
        f"o{i}": keras.ops.convert_to_numpy(variable)
        for i, variable in enumerate(model.optimizer.variables)
    }
    arrays |= {f"a{i}": mean for i, mean in enumerate(progress.average.mean)}
    arrays |= {f"m{i}": total for i, total in enumerate(progress.sums)}
    with atomic_file(folder / STATE_FILE, sync=True) as part:
        np.savez(part, **arrays)  # type: ignore[arg-type]


def load_state(folder: Path, model: keras.Model) -> Progress:
    """Give model and optimizer the saved state and return the progress; fresh if there is none.

    The optimizer must be built.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return Progress()
    with np.load(path) as saved:
        plain = json.loads(saved["progress"].tobytes())
        model.set_weights([saved[f"w{i}"] for i in range(len(model.weights))])
        for i, variable in enumerate(model.optimizer.variables):
            variable.assign(saved[f"o{i}"])
        for i, state in enumerate(_random_states(model)):
            state.assign(saved[f"s{i}"])
        count = plain.pop("average")
        mean = [saved[f"a{i}"] for i in range(len(model.weights))] if count else None
        plain["sums"] = [saved[f"m{i}"] for i in range(plain["sums"])]
    return Progress(**plain, average=WeightAverage(count, mean))


class StateSaver(keras.callbacks.Callback):
    """Saves the state within long epochs, and begins an epoch where the last state left it.

    Parameters
    ----------
    folder
        For the state.
    progress
        Of the run; its `step` and `sums` say where the epoch is to begin.
    steps
        Steps of a whole epoch.
    """

    def __init__(self, folder: Path, progress: Progress, *, steps: int) -> None:
        super().__init__()
        self.folder, self.progress, self.steps = folder, progress, steps
        self.saved = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Give the metrics what they had counted."""
        if self.progress.sums:
            counted = zip(self.model.metrics_variables, self.progress.sums, strict=True)
            for variable, total in counted:
                variable.assign(total)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Save the state if the last one is old, and the epoch not at its end."""
        self.progress.step += 1
        late = time.monotonic() - self.saved >= STATE_SECONDS
        if late and self.progress.step < self.steps:
            if backend_name() == "jax":
                self.model.jax_state_sync()
            self.progress.sums = [
                keras.ops.convert_to_numpy(variable) for variable in self.model.metrics_variables
            ]
            save_state(self.folder, self.model, self.progress)
            self.saved = time.monotonic()


def _random_states(model: keras.Model) -> list[Any]:
    """Return the states of a model's random generators, which are no weights."""
    weights = {id(weight) for weight in model.weights}
    return [state for state in model.non_trainable_variables if id(state) not in weights]
