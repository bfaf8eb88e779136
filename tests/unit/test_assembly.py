"""A model compiled as parameters and store say; what they cannot mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitting import fit
from regimes import fit_arguments

from gim_cv.assembly import class_weights, coefficients, design_for, loss_for
from gim_cv.errors import ConfigError, DataError, UnknownError
from gim_cv.regime import Regime
from gim_cv.store import open_store

pytestmark = pytest.mark.usefixtures("eager")


def test_balanced_class_weights(squares: Path) -> None:
    patches = open_store(squares)
    pixels = np.array(patches.attrs["statistics"]["class_pixels"], float)
    weights = class_weights(_regime(class_weights="balanced"), patches)
    assert weights == pytest.approx(list(pixels.sum() / (2 * pixels)))
    loss = loss_for("bce", {}, _regime(class_weights=(1, 2)), patches)
    assert loss.arguments["class_weights"] == [1.0, 2.0]


def test_a_loss_gets_its_own_coefficients_and_those_of_its_name_win(squares: Path) -> None:
    args = {"dice": {"smooth": 2.0}, "tversky": {"alpha": 0.7, "beta": 0.3}}
    assert coefficients("tversky_loss:alpha=.6", args) == {"alpha": 0.6, "beta": 0.3}
    assert coefficients("bce", args) == {}
    loss = loss_for("tversky_loss:alpha=.6", args, _regime(), open_store(squares))
    assert (loss.arguments["alpha"], loss.arguments["smooth"]) == (0.6, 1.0)


def _regime(**options: Any) -> Regime:
    return Regime.of(fit_arguments(**options)["train"])


@pytest.mark.parametrize(
    ("train", "error", "message"),
    [
        ({"class_weights": "even"}, ConfigError, "balanced"),
        ({"class_weights": "balanced", "loss": "surface"}, ConfigError, "takes no class weights"),
        ({"class_weights": "balanced", "loss": "tversky"}, ConfigError, "for a sigmoid"),
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
    squares: Path, tmp_path: Path, train: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit(squares, tmp_path, **train)
    assert not (tmp_path / "Segmentalist").exists()


def test_missing_options_are_listed() -> None:
    with pytest.raises(ConfigError, match="workers, devices"):
        Regime.of(
            {k: v for k, v in fit_arguments()["train"].items() if k not in ("workers", "devices")}
        )


def test_model_must_fit_the_store(squares: Path) -> None:
    patches = open_store(squares)
    assert design_for({"n_classes": 2}, patches).n_classes == 2
    with pytest.raises(ConfigError, match="3 bands, 2 classes"):
        design_for({"bands": 4}, patches)
    with pytest.raises(ConfigError, match="n_classes 3"):
        design_for({"n_classes": 3}, patches)


def test_store_without_train_patches_is_an_error(squares: Path) -> None:
    from gim_cv.feeds import Feeds

    patches = open_store(squares)
    held_out = patches.isel(patch=patches["split"].to_numpy() == 1)
    augment = {"recipe": "none", "p": 1.0, "fancy_pca_alpha": 0.0}
    with pytest.raises(DataError, match="no train patch"):
        Feeds(held_out, _regime(), seed=0, augment=augment)
