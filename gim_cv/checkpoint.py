"""The state of an unfinished run, from which it goes on as if nothing had happened."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gim_cv.atomic import atomic_folder
from gim_cv.averaging import WeightAverage
from gim_cv.errors import RunError

STATE_FILE = "state.npz"
FORMAT = 2


@dataclass
class Progress:
    """Where a run stands after an epoch.

    Attributes
    ----------
    rows
        The history, one row per finished epoch.
    best, best_train
        Lowest monitored loss and lowest train loss so far.
    chosen
        The epoch (from 0) of the lowest monitored loss.
    waited
        Epochs since then.
    stale
        Epochs since then or since the rate was last lowered (schedule plateau).
    average
        The averaged weights.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    best: float = float("inf")
    best_train: float = float("inf")
    chosen: int = 0
    waited: int = 0
    stale: int = 0
    average: WeightAverage = field(default_factory=WeightAverage)


@contextmanager
def workspace(
    run_dir: Path, resume_dir: Path | None, key: str
) -> Iterator[tuple[Path, Path | None]]:
    """Yield a folder that becomes `run_dir` when the block ends without an error.

    Parameters
    ----------
    run_dir
        Final name of the folder.
    resume_dir
        None: the folder is temporary and lost with the process. Else the folder and the state live
        in ``resume_dir/key`` until the run is finished, and are found again after a kill.
    key
        From `state_key`.

    Yields
    ------
    tuple
        The folder to write the run into, and the folder for its state (None if not kept).

    Raises
    ------
    RunError
        Another process is training with the same parameters.
    """
    if resume_dir is None:
        with atomic_folder(run_dir) as folder:
            yield folder, None
        return
    home = resume_dir / key
    (home / "run").mkdir(parents=True, exist_ok=True)
    with _lock(home):
        yield home / "run", home
        with atomic_folder(run_dir) as folder:
            shutil.copytree(home / "run", folder, dirs_exist_ok=True)
        shutil.rmtree(home)


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Hold the folder for this process; the kernel lets go of it when the process dies."""
    with (home / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise RunError(
                "another process is training with the same parameters",
                path=home,
                remedy="Wait for it, or stop it",
            ) from err
        yield


def state_key(parameters: Mapping[str, Any]) -> str:
    """Return the name of a run's state: a hash of everything that its result depends on."""
    text = json.dumps({"format": FORMAT, **parameters}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def save_state(folder: Path, model: keras.Model, progress: Progress) -> None:
    """Write model, optimizer and progress as one file that is whole or absent."""
    plain = {**vars(progress), "average": progress.average.count}
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
    fresh = folder / f"{STATE_FILE}.tmp"
    with fresh.open("wb") as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]
        handle.flush()
        os.fsync(handle.fileno())
    fresh.replace(folder / STATE_FILE)


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
    return Progress(**plain, average=WeightAverage(count, mean))


def _random_states(model: keras.Model) -> list[Any]:
    """Return the states of a model's random generators, which are no weights."""
    weights = {id(weight) for weight in model.weights}
    return [state for state in model.non_trainable_variables if id(state) not in weights]
