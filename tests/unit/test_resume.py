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

import pytest
from fitting import fit, history, run_files

from gim_cv import checkpoint
from gim_cv.checkpoint import StateSaver, workspace
from gim_cv.epochs import Training
from gim_cv.errors import RunError

pytestmark = pytest.mark.usefixtures("eager")


class StopError(Exception):
    """What a test raises to end a run early."""


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
    assert list(state.iterdir()) == []
    for path in run_files(tmp_path / "whole"):
        other = tmp_path / "cut" / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == other.read_bytes(), path.name
    curve = "plots/plots/metrics/val_loss.tsv"
    assert (tmp_path / "whole" / curve).read_text() == (tmp_path / "cut" / curve).read_text()


KILLED = """
import sys
from pathlib import Path
from regimes import fit_arguments
from gim_cv.fit import fit_model
store, folder, state = map(Path, sys.argv[1:])
fit_model(store, folder / "Segmentalist", plots_dir=folder / "plots", resume_dir=state,
          **fit_arguments(epochs=12, optimizer="adamw", schedule="cosine", swa_share=0.25))
"""


@pytest.mark.slow
def test_killed_run_goes_on_to_the_same_bytes(squares: Path, tmp_path: Path, root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-c",
            KILLED,
            squares,
            tmp_path / name,
            tmp_path / f"{name}.state",
        ]
        return subprocess.Popen([str(part) for part in command], env=environment)

    assert start("whole").wait() == 0
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
    for path in run_files(tmp_path / "whole"):
        other = tmp_path / "cut" / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_two_processes_cannot_share_a_state(tmp_path: Path) -> None:
    with (
        workspace(tmp_path / "run", tmp_path / "state", "key"),
        pytest.raises(RunError, match="another process"),
        workspace(tmp_path / "run", tmp_path / "state", "key"),
    ):
        pass
