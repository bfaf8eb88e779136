"""Training from a store to a run directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from fitting import fit, history, run_files, same_files
from squares import write_squares

from gim_cv.epochs import Training
from gim_cv.errors import RunError
from gim_cv.models import Segmentalist
from gim_cv.runs import collate_run_data

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def run(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run whose validation loss is not lowest in the last epoch: its steps are too long."""
    folder = tmp_path_factory.mktemp("run")
    options = {"schedule": "cosine", "warmup_epochs": 2.0, "learning_rate": 0.3, "clipnorm": 0.0}
    return folder, fit(squares, folder, optimizer="sgd", epochs=3, **options)


def test_run_directory_holds_what_a_run_is(run: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = run
    files = sorted(p.relative_to(folder / "Segmentalist").as_posix() for p in run_files(folder))
    assert files == [
        "best.weights.h5",
        "best_train.weights.h5",
        "history.csv",
        "run.yml",
        "samples/X0_train.npy",
        "samples/X0_val.npy",
        "samples/epochs/0002.png",
        "samples/epochs/train.png",
        "samples/y0_train.npy",
        "samples/y0_val.npy",
    ]
    text = (folder / "Segmentalist" / "run.yml").read_text()
    found = yaml.safe_load(text)
    assert list(found) == sorted(found)
    assert str(folder) not in text
    assert found["loss_fn"] == "bce_dice"
    assert found["datasets"] == "squares"
    assert found["backend"] == keras.backend.backend()
    assert found["model"]["n_classes"] == 1
    assert found["model"]["bands"] == 3
    assert found["train"]["learning_rate"] == 0.3
    assert found["lowest_val_loss"] == summary["lowest_val_loss"]


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


def test_collated_row_loads_ready_models(run: tuple[Path, dict[str, Any]], squares: Path) -> None:
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


def test_same_seed_same_bytes(squares: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit(squares, tmp_path / name, swa_share=1.0)
    same_files(tmp_path / "a", tmp_path / "b")


def test_a_small_model_learns_squares(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Segmentalist, "compile")  # a hundred steps: as in use
    options = {"schedule": "cosine", "recipe": "none", "learning_rate": 0.02}
    summary = fit(squares, tmp_path, epochs=25, batch=4, **options)
    assert summary["metrics"]["val_iou"] > 0.9


def test_average_is_one_more_row_and_wins_only_if_better(squares: Path, tmp_path: Path) -> None:
    summary = fit(squares, tmp_path, epochs=3, swa_share=0.6, learning_rate=0.003)
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == ["0.0", "1.0", "2.0", "3.0"]
    assert rows[3]["loss"] == rows[3]["learning_rate"] == ""
    losses = [float(row["val_loss"]) for row in rows]
    assert summary["best_epoch"] == losses.index(min(losses))
    assert summary["swa_chosen"] == (summary["best_epoch"] == 3)


TWO_DEVICES = """
import csv, sys
from pathlib import Path
import two_devices
import keras
shares = set()
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    def note(images):
        shares.add(1 / tf.distribute.get_strategy().num_replicas_in_sync)
else:
    import jax
    def note(images):
        whole = images.shape
        jax.debug.inspect_array_sharding(
            images, callback=lambda found: shares.add(found.shard_shape(whole)[0] / whole[0]))
from regimes import fit_arguments
from gim_cv.fit import fit_model
from gim_cv.models import Segmentalist
class Noted(Segmentalist):
    def train_step(self, *arguments):
        note(arguments[-1][0])
        return super().train_step(*arguments)
import gim_cv.assembly
gim_cv.assembly.Segmentalist = Noted
store, folder = map(Path, sys.argv[1:])
def trained(loss, **train):
    options = fit_arguments(batch=4, devices=0, recipe="none", loss=loss, learning_rate=0.02,
                            **train)
    found = fit_model(store, folder / loss[:3], plots_dir=folder / "plots", **options)
    with (folder / loss[:3] / "history.csv").open() as handle:
        return found, next(csv.DictReader(handle))
found, first = trained("bce", epochs=8, swa_share=0.1, schedule="cosine")
assert shares == {0.5}, shares
loss = float(first["loss"])
assert loss < 0.9, loss  # about log 2, not the sum of two devices
assert found["lowest_loss"] < 0.7 * loss, (found, loss)
_, first = trained("surface:start=.75,end=.75,reach_px=1", epochs=1)
assert first["surface_alpha"] == "0.75", first
assert 0.2 < float(first["loss"]) < 1.0, first  # 0.75 dice + at most 0.25
"""

REPLICAS = """
import numpy as np, tensorflow as tf
from gim_cv.losses import LOSSES, get_loss
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
ids = np.array([0, 0, 1, 1], "uint8").reshape(1, 1, 4, 1)
p = np.array([0.3, 0.2, 0.6, 0.9], "float32").reshape(1, 1, 4, 1)
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
def begun(name):
    loss = get_loss(name)
    loss.on_epoch(40)  # alpha is 0.6
    return loss
for name in LOSSES:
    alone = float(begun(name)(ids, p))
    with strategy.scope():
        loss = begun(name)
        shares = strategy.experimental_local_results(strategy.run(lambda: loss(ids, p)))
    # The gradients of the devices are added up, so each has a half of the loss.
    assert np.allclose(shares, 0.5 * alone, rtol=1e-5), (name, shares, alone)
"""


@pytest.mark.slow
def test_two_devices_share_each_batch(tmp_path: Path, root: Path) -> None:
    store = write_squares(tmp_path, 18, splits=(0.5, 0.5, 0.0))  # the last batch has one patch
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    command = [sys.executable, "-c", TWO_DEVICES, str(store), str(tmp_path)]
    subprocess.run(command, env=environment, check=True)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only there losses are divided")
def test_each_loss_of_two_devices_adds_up_to_that_of_one(root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", REPLICAS], env=environment, check=True)


def test_plateau_lowers_the_rate_and_patience_ends_the_run(
    squares: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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
    options |= {"swa_share": 0.2}
    summary = fit(squares, tmp_path, epochs=11, optimizer="sgd", learning_rate=1.0, **options)
    rates = [float(row["learning_rate"]) for row in history(tmp_path)[:10]]
    # Epochs 2 and 3 do not beat epoch 1, nor do 5 to 9 beat epoch 4: after five of them, the end.
    assert rates == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2])
    assert summary["swa_epochs"] == 1
    said = "ended the run after epoch 10 of 11: the average of weights (train.swa_share) has 1 of 2"
    assert said in capsys.readouterr().err


def test_patience_may_leave_nothing_to_average_and_that_is_said(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"learning_rate": 0.0001, "optimizer": "sgd", "patience": 1}
    monitored = iter((0.5, 0.6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "validate", lambda _: {"val_loss": next(monitored)})
        fit(squares, tmp_path, epochs=6, swa_share=0.34, **options)
    found = yaml.safe_load((tmp_path / "Segmentalist" / "run.yml").read_text())
    assert (found["epochs_run"], found["swa_epochs"], found["swa_chosen"]) == (2, 0, False)
    assert "has 0 of 2 epochs" in capsys.readouterr().err


def test_loss_that_is_no_number_is_an_error_and_leaves_nothing(
    squares: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="learning_rate"):
        fit(squares, tmp_path, optimizer="sgd", learning_rate=1e30, clipnorm=0.0)
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
    assert (tmp_path / "Segmentalist" / "samples" / "epochs" / "train.png").exists()


def test_surface_loss_moves_its_alpha(squares: Path, tmp_path: Path) -> None:
    args = {"surface": {"start": 0.9, "step": 0.4, "reach_px": 4}}
    fit(squares, tmp_path, loss="surface", loss_args={**args, "dice": {"smooth": 2.0}})
    found = yaml.safe_load((tmp_path / "Segmentalist" / "run.yml").read_text())
    assert found["loss_args"] == args
    alphas = [float(row["surface_alpha"]) for row in history(tmp_path)]
    assert alphas == pytest.approx([0.9, 0.5])
    validated = [float(row["val_surface_alpha"]) for row in history(tmp_path)]
    assert validated == pytest.approx([0.5, 0.5])  # equal, so that epochs can be compared
