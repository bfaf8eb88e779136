"""Runs that are cut short, and go on to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import xarray as xr
from fitting import fit, history, same_files

from gim_cv import checkpoint
from gim_cv import fit as fitting_stage
from gim_cv.checkpoint import StateSaver
from gim_cv.epochs import Training
from gim_cv.errors import GimError, MissingError, UnknownError
from gim_cv.models import Segmentalist

pytestmark = pytest.mark.usefixtures("eager")


class StopError(Exception):
    """What a test raises to end a run early."""


def states(folder: Path) -> list[str]:
    """Return the names of the unfinished runs."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_a_state_is_named_by_parameters_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(epochs: int = 1, workers: int = 1) -> str:
        train = {"epochs": epochs, "workers": workers, "devices": 1}
        return fitting_stage.run_key({"train": train}, xr.Dataset())

    assert name(workers=2) == name(workers=1)
    names = {name(), name(epochs=2)}
    for found in ({"keras": "3.12.0", "jax": "0.5.0"}, {"keras": "3.12.0", "jax": "0.6.0"}):
        monkeypatch.setattr(fitting_stage, "libraries", lambda found=found: found)
        names.add(name())
    assert len(names) == 4


def count_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have runs do nothing in an epoch, and return the list to which each adds its number."""
    begun: list[int] = []

    def noted(self: Training, progress: Any, bar: Any) -> dict[str, float]:
        begun.append(len(progress.rows))
        return {"epoch": float(begun[-1]), "loss": 1.0, "val_loss": 1.0}

    monkeypatch.setattr(Training, "one_epoch", noted)
    return begun


def stop_at_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Have the next run end with an error when that epoch is over, before it counts."""
    take = Training.take

    def stopped(self: Training, row: Any, progress: Any) -> None:
        if len(progress.rows) == epoch:
            raise StopError
        take(self, row, progress)

    monkeypatch.setattr(Training, "take", stopped)


def stop_at_step(monkeypatch: pytest.MonkeyPatch, epoch: int, step: int) -> None:
    """Have the next run save its state at each step, and end with an error after one of them."""
    on_train_batch_end = StateSaver.on_train_batch_end

    def stopped(self: StateSaver, batch: int, logs: Any = None) -> None:
        on_train_batch_end(self, batch, logs)
        if len(self.progress.rows) == epoch and self.progress.step == step:
            raise StopError

    monkeypatch.setattr(StateSaver, "on_train_batch_end", stopped)
    monkeypatch.setattr(checkpoint, "STATE_SECONDS", 0.0)


@pytest.mark.parametrize(
    "options",
    [
        # Draws that are no weights go on too.
        {"optimizer": "ranger", "schedule": "one_cycle", "swa_share": 0.6, "recipe": "device"},
        # So does the scale of the loss.
        {"optimizer": "sgd", "schedule": "plateau", "precision": "mixed_float16"},
    ],
    ids=["float32", "float16"],
)
def test_resumed_run_ends_with_the_same_bytes(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    options = {"epochs": 3, "batch": 4, **options}
    fit(squares, tmp_path / "whole", **options)
    state = tmp_path / "state"
    for stop in (partial(stop_at_epoch, epoch=1), partial(stop_at_step, epoch=1, step=2)):
        stop(monkeypatch)
        with pytest.raises(StopError):
            fit(squares, tmp_path / "cut", resume_dir=state, **options)
        assert not (tmp_path / "cut" / "Segmentalist").exists()
        monkeypatch.undo()
    fit(squares, tmp_path / "cut", resume_dir=state, **options)
    assert states(state) == []
    same_files(tmp_path / "whole", tmp_path / "cut")
    curve = "plots/plots/metrics/val_loss.tsv"
    assert (tmp_path / "whole" / curve).read_text() == (tmp_path / "cut" / curve).read_text()


KILLED = """
import os, signal, sys
from pathlib import Path
from regimes import fit_arguments
from gim_cv import checkpoint
from gim_cv.fit import fit_model
store, folder, state = map(Path, sys.argv[1:4])
last = tuple(map(int, sys.argv[4:]))
after_batch = checkpoint.StateSaver.on_train_batch_end
def killed(self, batch, logs=None):
    after_batch(self, batch, logs)
    if (len(self.progress.rows), self.progress.step) == last:
        os.kill(os.getpid(), signal.SIGKILL)
if last:
    checkpoint.STATE_SECONDS = 0.0
    checkpoint.StateSaver.on_train_batch_end = killed
fit_model(store, folder / "Segmentalist", plots_dir=folder / "plots", resume_dir=state,
          **fit_arguments(epochs=12, batch=4, optimizer="adamw", schedule="cosine", swa_share=0.25))
"""


@pytest.mark.slow
def test_killed_run_goes_on_to_the_same_bytes(squares: Path, tmp_path: Path, root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}

    def start(name: str, *last: int) -> subprocess.Popen[bytes]:
        folders = [squares, tmp_path / name, tmp_path / f"{name}.state"]
        command = [sys.executable, "-c", KILLED, *folders, *last]
        return subprocess.Popen([str(part) for part in command], env=environment)

    assert start("whole").wait() == 0
    for last in ((1, 2), (2, 1)):  # within an epoch
        assert start("cut", *last).wait() == -signal.SIGKILL
    killed = start("cut")
    curve = tmp_path / "cut" / "plots" / "plots" / "metrics" / "val_loss.tsv"
    while not (curve.exists() and len(curve.read_text().splitlines()) > 4):
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "cut" / "Segmentalist").exists()
    assert start("cut").wait() == 0
    assert len(history(tmp_path / "cut")) == 13
    same_files(tmp_path / "whole", tmp_path / "cut")


TWO_DEVICES = """
import sys
from pathlib import Path
import two_devices
from regimes import fit_arguments
from gim_cv import checkpoint
from gim_cv.fit import fit_model
store, folder = map(Path, sys.argv[1:])
def fit(name, **more):
    fit_model(store, folder / name / "Segmentalist", plots_dir=folder / name / "plots", **more,
              **fit_arguments(batch=4, devices=0, swa_share=0.5))
fit("whole")
after_batch = checkpoint.StateSaver.on_train_batch_end
def stopped(self, batch, logs=None):
    after_batch(self, batch, logs)
    if (len(self.progress.rows), self.progress.step) == (1, 2):
        raise InterruptedError
checkpoint.StateSaver.on_train_batch_end, checkpoint.STATE_SECONDS = stopped, 0.0
try:
    fit("cut", resume_dir=folder / "state")
except InterruptedError:
    checkpoint.StateSaver.on_train_batch_end = after_batch
    fit("cut", resume_dir=folder / "state")
    (folder / "went_on").touch()
"""


@pytest.mark.slow
def test_two_devices_go_on_to_the_same_bytes(squares: Path, tmp_path: Path, root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    command = [sys.executable, "-c", TWO_DEVICES, str(squares), str(tmp_path)]
    subprocess.run(command, env=environment, check=True)
    assert (tmp_path / "went_on").exists()
    same_files(tmp_path / "whole", tmp_path / "cut")


def test_weights_are_those_of_the_epoch_that_the_run_names(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill after an epoch's weights were written, and before its state; then it goes worse."""
    losses = {0: (0.5, 0.1), 100: (0.5, 0.9)}

    def scripted(self: Training, progress: Any, bar: Any) -> dict[str, float]:
        epoch = len(progress.rows)
        kernel = self.model.get_layer("stem_conv").kernel
        kernel.assign(np.full(kernel.shape, attempt + epoch, np.float32))
        return {"epoch": float(epoch), "loss": 1.0, "val_loss": losses[attempt][epoch]}

    def killed(self: Training, epoch: int) -> None:
        if epoch == 2 and attempt == 0:
            raise StopError

    monkeypatch.setattr(Training, "one_epoch", scripted)
    monkeypatch.setattr(Training, "draw", killed)
    attempt = 0
    with pytest.raises(StopError):
        fit(squares, tmp_path, resume_dir=tmp_path / "state")
    attempt = 100
    summary = fit(squares, tmp_path, resume_dir=tmp_path / "state")
    assert (summary["best_epoch"], summary["lowest_val_loss"]) == (0, 0.5)
    for val in (True, False):
        model = Segmentalist.load_from_metadata({"run_dir": tmp_path / "Segmentalist"}, val=val)
        assert (keras.ops.convert_to_numpy(model.get_layer("stem_conv").kernel) == 0).all()


def test_another_number_of_workers_goes_on(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, options = count_epochs(monkeypatch), {"resume_dir": tmp_path / "state"}
    with pytest.MonkeyPatch.context() as patch:
        stop_at_epoch(patch, epoch=1)
        with pytest.raises(StopError):
            fit(squares, tmp_path, workers=1, **options)
    fit(squares, tmp_path, workers=2, **options)
    assert begun == [0, 1, 1]


@pytest.mark.parametrize(
    ("options", "error"),
    [({"loss": "tverski"}, UnknownError), ({"tensorboard_dir": Path("board")}, MissingError)],
)
def test_a_run_that_is_refused_leaves_no_state(
    squares: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    error: type[GimError],
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # as if it were not installed
    state = tmp_path / "state"
    state.mkdir()
    with pytest.raises(error):
        fit(squares, tmp_path, resume_dir=state, **options)
    assert states(state) == []


def test_a_finished_run_removes_states_that_nobody_goes_on_with(
    squares: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = tmp_path / "state"
    count_epochs(monkeypatch)
    with pytest.MonkeyPatch.context() as patch:
        stop_at_epoch(patch, epoch=1)
        for name, seed in (("a", 1), ("a", 2), ("b", 3)):
            with pytest.raises(StopError):
                fit(squares, tmp_path / name, resume_dir=state, seed=seed)
    assert len(states(state)) == 3
    fit(squares, tmp_path / "a", resume_dir=state, seed=4, epochs=1)
    assert "other parameters or code: 2, now removed" in capsys.readouterr().err
    assert len(states(state)) == 1
