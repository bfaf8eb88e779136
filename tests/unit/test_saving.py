"""Saved models come back as they were: compiled, in their precision, the optimizer's state too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from regimes import TINY, fit_arguments

from gim_cv import losses, metrics
from gim_cv.assembly import compiled
from gim_cv.backend import precision
from gim_cv.losses import LOSSES, SegmentationLoss, get_loss
from gim_cv.metrics import Scores
from gim_cv.models import Design, Segmentalist
from gim_cv.regime import Regime

pytestmark = pytest.mark.usefixtures("eager")

RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 16, 16, 3)).astype("float32")
IDS = RNG.choice([0, 1, 255], (2, 16, 16, 1)).astype("uint8")


def network(loss: SegmentationLoss, *, turn: bool = False, **train: Any) -> keras.Model:
    """A model as the train stage makes it."""
    regime = Regime.of(fit_arguments(**train)["train"])
    turning = {"turn_p": 0.5, "turn_seed": 1} if turn else {}
    return compiled(Design.of(TINY), regime, loss, steps=3, turning=turning)


def reloaded(model: keras.Model, folder: Path) -> keras.Model:
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def numbers(variables: list[Any]) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_each_loss_comes_back_in_a_compiled_model(name: str, tmp_path: Path) -> None:
    model = network(get_loss(name))
    again = reloaded(model, tmp_path)
    assert type(again.loss) is LOSSES[name]
    assert again.loss.get_config() == model.loss.get_config()
    assert again.get_config() == model.get_config()


def test_alpha_is_kept_and_goes_on_falling(tmp_path: Path) -> None:
    model = network(get_loss("surface:start=.9,step=.25,reach_px=3"))
    model.loss.on_epoch(1)
    model.train_on_batch(IMAGES, IDS)
    again = reloaded(model, tmp_path)
    expected = model.test_on_batch(IMAGES, IDS, return_dict=True)
    assert expected["surface_alpha"] == pytest.approx(0.65)
    assert again.test_on_batch(IMAGES, IDS, return_dict=True) == pytest.approx(expected)
    for one in (model, again):
        one.loss.on_epoch(2)
    expected = model.test_on_batch(IMAGES, IDS, return_dict=True)
    assert expected["surface_alpha"] == pytest.approx(0.4)
    assert again.test_on_batch(IMAGES, IDS, return_dict=True) == pytest.approx(expected)


def test_mixed_precision_and_the_loss_scale_come_back(tmp_path: Path) -> None:
    with precision("mixed_float16"):
        model = network(get_loss("dice"), optimizer="ranger")
    model.train_on_batch(IMAGES, IDS)
    again = reloaded(model, tmp_path)
    assert [layer.compute_dtype for layer in again.layers] == [
        layer.compute_dtype for layer in model.layers
    ]
    assert again.get_layer("stem_conv").compute_dtype == "float16"
    assert again.dtype_policy == model.dtype_policy
    assert isinstance(again.optimizer, keras.optimizers.LossScaleOptimizer)
    saved, found = numbers(model.optimizer.variables), numbers(again.optimizer.variables)
    for one, other in zip(saved, found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert keras.config.dtype_policy().name == "float32"


LOAD = """
import sys
from pathlib import Path
import keras
import gim_cv.models
import numpy as np
for path in map(Path, sys.argv[1:]):
    model = keras.models.load_model(path)
    images, ids, expected = (np.load(path.parent / f"{path.stem}_{part}.npy") for part in "xyp")
    found = keras.ops.convert_to_numpy(model(images))
    assert np.abs(found - expected).max() < 1e-6, path
    assert int(model.optimizer.iterations) == 1, path
    assert np.isfinite(model.train_on_batch(images, ids, return_dict=True)["loss"]), path
"""


def test_a_fresh_process_needs_no_custom_objects(tmp_path: Path, root: Path) -> None:
    plain = Segmentalist(**TINY)
    plain.compile("adam", loss=losses.dice_coeff_loss, metrics=[metrics.IoU()])
    models = {
        "ranger": network(get_loss("surface:reach_px=3"), optimizer="ranger", schedule="cosine"),
        "turning": network(get_loss("bce"), optimizer="adamw", schedule="one_cycle", turn=True),
        "function": plain,
    }
    for name, model in models.items():
        model.train_on_batch(IMAGES, IDS)
        model.save(tmp_path / f"{name}.keras")
        predicted = keras.ops.convert_to_numpy(model(IMAGES))
        for part, array in {"x": IMAGES, "y": IDS, "p": predicted}.items():
            np.save(tmp_path / f"{name}_{part}.npy", array)
    paths = [str(tmp_path / f"{name}.keras") for name in models]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", LOAD, *paths], env=environment, check=True)


def test_a_metric_of_ones_own_stays(tmp_path: Path) -> None:
    model = Segmentalist(**TINY)
    model.compile("adam", loss=get_loss("surface"), metrics=[Scores(name="surface_alpha")])
    model.train_on_batch(IMAGES, IDS)
    again = reloaded(model, tmp_path)
    found = again.test_on_batch(IMAGES, IDS, return_dict=True)
    assert {"iou", "f1"} <= set(found)
