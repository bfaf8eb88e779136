"""Training from a store to a run directory."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from regimes import fit_arguments
from squares import write_squares

from gim_cv import checkpoint
from gim_cv.assembly import class_weights, design_for, loss_for
from gim_cv.checkpoint import StateSaver, workspace
from gim_cv.epochs import Training
from gim_cv.errors import ConfigError, DataError, RunError, UnknownError
from gim_cv.fit import fit_model
from gim_cv.models import Segmentalist
from gim_cv.regime import Regime
from gim_cv.runs import collate_run_data
from gim_cv.store import open_store


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Run steps of TensorFlow eagerly: these are few, and tracing takes longer than all of them."""
    compiled = partialmethod(
        keras.Model.compile, run_eagerly=keras.backend.backend() == "tensorflow"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segmentalist, "compile", compiled)
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares"))


def fit(store: Path, folder: Path, **train: Any) -> dict[str, Any]:
    resume = train.pop("resume_dir", None)
    return fit_model(
        store,
        folder / "Segmentalist",
        plots_dir=folder / "plots",
        resume_dir=resume,
        **fit_arguments(**train),
    )


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "Segmentalist" / "history.csv").open() as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run whose validation loss is lowest in the first epoch: the second one's step is huge."""
    folder = tmp_path_factory.mktemp("run")
    options = {"schedule": "cosine", "warmup_epochs": 2.0, "learning_rate": 3.0, "clipnorm": 0.0}
    return folder, fit(store, folder, optimizer="sgd", epochs=3, **options)


def test_run_directory_holds_what_a_run_is(run: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = run
    files = sorted(p.relative_to(folder / "Segmentalist").as_posix() for p in _files(folder))
    assert files == [
        "best.weights.h5",
        "best_train.weights.h5",
        "history.csv",
        "run.yml",
        "samples/X0_train.npy",
        "samples/X0_val.npy",
        "samples/epochs/0002.png",
        "samples/y0_train.npy",
        "samples/y0_val.npy",
    ]
    text = (folder / "Segmentalist" / "run.yml").read_text()
    found = yaml.safe_load(text)
    assert list(found) == sorted(found)
    assert str(folder) not in text
    assert found["loss_fn"] == "bce_dice"
    assert found["datasets"] == "squares"
    assert found["model"]["n_classes"] == 1
    assert found["model"]["bands"] == 3
    assert found["train"]["learning_rate"] == 3.0
    assert found["lowest_val_loss"] == summary["lowest_val_loss"]


def _files(folder: Path) -> list[Path]:
    return [path for path in (folder / "Segmentalist").rglob("*") if path.is_file()]


def test_metrics_are_those_of_the_selected_epoch(run: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = run
    rows = history(folder)
    losses = [float(row["val_loss"]) for row in rows]
    best = losses.index(min(losses))
    assert len(rows) == 3
    assert best != 2
    metrics = json.loads((folder / "plots" / "metrics.json").read_text())
    assert metrics["val_loss"] == min(losses) == summary["lowest_val_loss"]
    assert metrics["step"] == best == summary["best_epoch"]
    curve = (folder / "plots" / "plots" / "metrics" / "val_loss.tsv").read_text().splitlines()
    assert [float(line.split("\t")[1]) for line in curve[1:]] == losses


def test_collated_row_loads_ready_models(run: tuple[Path, dict[str, Any]], store: Path) -> None:
    folder, summary = run
    row = collate_run_data(folder).iloc[0]
    assert row.lowest_val_loss == summary["lowest_val_loss"]
    images = np.load(row.X0_val)
    assert images.dtype == np.uint8
    model = Segmentalist.load_from_metadata(row=row)
    assert model.count_params() == summary["parameters"]
    assert np.asarray(model(images[:2] / 255.0)).shape == (2, 32, 32, 1)
    rows = history(folder)
    ids = np.load(row.y0_val)
    by_train = Segmentalist.load_from_metadata(row=row, val=False)
    weights = [model.get_weights(), by_train.get_weights()]
    same = all((a == b).all() for a, b in zip(*weights, strict=True))
    losses = {name: [float(one[name]) for one in rows] for name in ("loss", "val_loss")}
    assert same == (np.argmin(losses["loss"]) == np.argmin(losses["val_loss"]))
    assert set(np.unique(ids)) <= {0, 1, 255}


def test_same_seed_same_bytes(store: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit(store, tmp_path / name, swa_share=1.0)
    for path in _files(tmp_path / "a"):
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_a_small_model_learns_squares(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Segmentalist, "compile")  # a hundred steps: as in use
    options = {"schedule": "cosine", "recipe": "none", "learning_rate": 0.02}
    summary = fit(store, tmp_path, epochs=25, batch=4, **options)
    assert summary["metrics"]["val_iou"] > 0.9


def test_average_is_one_more_row_and_wins_only_if_better(store: Path, tmp_path: Path) -> None:
    summary = fit(store, tmp_path, epochs=3, swa_share=0.6, learning_rate=0.003)
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == ["0.0", "1.0", "2.0", "3.0"]
    assert rows[3]["loss"] == rows[3]["learning_rate"] == ""
    losses = [float(row["val_loss"]) for row in rows]
    assert summary["best_epoch"] == losses.index(min(losses))
    assert summary["swa_chosen"] == (summary["best_epoch"] == 3)


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


def test_resumed_run_ends_with_the_same_bytes(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"epochs": 3, "optimizer": "ranger", "schedule": "one_cycle", "swa_share": 0.6}
    options |= {"recipe": "device", "batch": 4}  # draws that are no weights go on too
    fit(store, tmp_path / "whole", **options)
    state = tmp_path / "state"
    for stop in (partial(stop_at_epoch, epoch=1), partial(stop_at_step, epoch=1, step=2)):
        stop(monkeypatch)
        with pytest.raises(StopError):
            fit(store, tmp_path / "cut", resume_dir=state, **options)
        assert not (tmp_path / "cut" / "Segmentalist").exists()
        monkeypatch.undo()
    fit(store, tmp_path / "cut", resume_dir=state, **options)
    assert list(state.iterdir()) == []
    for path in _files(tmp_path / "whole"):
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
def test_killed_run_goes_on_to_the_same_bytes(store: Path, tmp_path: Path, root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", KILLED, store, tmp_path / name, tmp_path / f"{name}.state"]
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
    for path in _files(tmp_path / "whole"):
        other = tmp_path / "cut" / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == other.read_bytes(), path.name


TWO_DEVICES = """
import os, sys
from pathlib import Path
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import keras
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.set_visible_devices([], "GPU")
from regimes import fit_arguments
from gim_cv.fit import fit_model
store, folder = map(Path, sys.argv[1:])
options = fit_arguments(epochs=8, batch=4, devices=0, recipe="none", loss="bce", swa_share=0.1,
                        schedule="cosine", learning_rate=0.02)
found = fit_model(store, folder / "Segmentalist", plots_dir=folder / "plots", **options)
first = float((folder / "Segmentalist" / "history.csv").read_text().split("\\n")[1].split(",")[1])
assert found["lowest_loss"] < 0.7 * first, (found, first)
"""


@pytest.mark.slow
def test_two_devices_share_each_batch(tmp_path: Path, root: Path) -> None:
    store = write_squares(tmp_path, 16, splits=(0.5, 0.5, 0.0))
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    command = [sys.executable, "-c", TWO_DEVICES, str(store), str(tmp_path)]
    subprocess.run(command, env=environment, check=True)


def test_two_processes_cannot_share_a_state(tmp_path: Path) -> None:
    with (
        workspace(tmp_path / "run", tmp_path / "state", "key"),
        pytest.raises(RunError, match="another process"),
        workspace(tmp_path / "run", tmp_path / "state", "key"),
    ):
        pass


def test_plateau_lowers_the_rate_and_patience_ends_the_run(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = [0.9, 0.5, 0.6, 0.6, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1]

    def scripted(self: Training, progress: Any, bar: Any) -> dict[str, float]:
        epoch = len(progress.rows)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        return {
            "epoch": float(epoch),
            "loss": 1.0,
            "val_loss": script[epoch],
            "learning_rate": rate,
        }

    monkeypatch.setattr(Training, "one_epoch", scripted)
    options = {"schedule": "plateau", "plateau_patience": 2, "patience": 5, "final_share": 0.2}
    fit(store, tmp_path, epochs=11, optimizer="sgd", learning_rate=1.0, **options)
    rates = [float(row["learning_rate"]) for row in history(tmp_path)]
    # Epochs 2 and 3 do not beat epoch 1, nor do 5 to 9 beat epoch 4: after five of them, the end.
    assert rates == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2])


def test_loss_that_is_no_number_is_an_error_and_leaves_nothing(store: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="learning_rate"):
        fit(store, tmp_path, optimizer="sgd", learning_rate=1e30, clipnorm=0.0)
    assert list((tmp_path / "Segmentalist").glob("*")) == []
    assert not (tmp_path / "Segmentalist").exists()


def test_three_classes_without_validation_in_half_precision(tmp_path: Path) -> None:
    classes = ("ground", "roof", "road")
    store = write_squares(tmp_path, 8, bands=4, classes=classes, splits=(1.0, 0.0, 0.0))
    summary = fit(
        store,
        tmp_path,
        loss="cce",
        class_weights="balanced",
        oversample=0.9,
        precision="mixed_bfloat16",
        recipe="strong",
        swa_share=1.0,
    )
    assert summary["lowest_val_loss"] is None
    assert 0 <= summary["metrics"]["iou"] <= 1
    model = Segmentalist.load_from_metadata({"run_dir": tmp_path / "Segmentalist"})
    assert model.output_shape == (None, None, None, 3)
    assert not (tmp_path / "Segmentalist" / "samples" / "X0_val.npy").exists()


def test_surface_loss_moves_its_alpha(store: Path, tmp_path: Path) -> None:
    args = {"surface": {"start": 0.9, "step": 0.4, "reach_px": 4}}
    fit(store, tmp_path, loss="surface", loss_args=args)
    alphas = [float(row["surface_alpha"]) for row in history(tmp_path)]
    assert alphas == pytest.approx([0.9, 0.5])
    validated = [float(row["val_surface_alpha"]) for row in history(tmp_path)]
    assert validated == pytest.approx([0.5, 0.5])  # equal, so that epochs can be compared


def test_balanced_class_weights(store: Path) -> None:
    patches = open_store(store)
    pixels = np.array(patches.attrs["statistics"]["class_pixels"], float)
    weights = class_weights(_regime(class_weights="balanced"), patches)
    assert weights == pytest.approx(list(pixels.sum() / (2 * pixels)))
    loss = loss_for("bce", {}, _regime(class_weights=(1, 2)), patches)
    assert loss.arguments["class_weights"] == [1.0, 2.0]


def _regime(**options: Any) -> Regime:
    return Regime.of(fit_arguments(**options)["train"])


@pytest.mark.parametrize(
    ("train", "error", "message"),
    [
        ({"class_weights": "even"}, ConfigError, "balanced"),
        ({"class_weights": "balanced", "loss": "surface"}, ConfigError, "takes no class weights"),
        ({"loss_args": {"tverski": {}}}, UnknownError, "tversky"),
        ({"loss": "bce:alpha=1"}, UnknownError, "alpha"),
        ({"optimizer": "adams"}, UnknownError, "adam"),
        ({"schedule": "cosin"}, UnknownError, "cosine"),
        ({"recipe": "lite"}, UnknownError, "light"),
        ({"learning_rate": 0.0}, ConfigError, "learning_rate"),
        ({"swa_share": 1.1}, ConfigError, "swa_share"),
        ({"epoch": 3}, UnknownError, "epochs"),
        ({"precision": "float16"}, ConfigError, "mixed_float16"),
    ],
)
def test_mistakes_are_named(
    store: Path, tmp_path: Path, train: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit(store, tmp_path, **train)
    assert not (tmp_path / "Segmentalist").exists()


def test_missing_options_are_listed() -> None:
    with pytest.raises(ConfigError, match="workers, devices"):
        Regime.of(
            {k: v for k, v in fit_arguments()["train"].items() if k not in ("workers", "devices")}
        )


def test_model_must_fit_the_store(store: Path) -> None:
    patches = open_store(store)
    assert design_for({"n_classes": 2}, patches).n_classes == 2
    with pytest.raises(ConfigError, match="3 bands, 2 classes"):
        design_for({"bands": 4}, patches)
    with pytest.raises(ConfigError, match="n_classes 3"):
        design_for({"n_classes": 3}, patches)


def test_store_without_train_patches_is_an_error(store: Path) -> None:
    from gim_cv.feeds import Feeds

    patches = open_store(store)
    held_out = patches.isel(patch=patches["split"].to_numpy() == 1)
    augment = {"recipe": "none", "p": 1.0, "fancy_pca_alpha": 0.0}
    with pytest.raises(DataError, match="no train patch"):
        Feeds(held_out, _regime(), seed=0, augment=augment)
