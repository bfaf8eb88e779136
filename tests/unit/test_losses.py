"""Losses on a handful of pixels, worked by hand, and their names."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from autograd import gradient, traced

from gim_cv import losses
from gim_cv.errors import ConfigError, DataError, UnknownError
from gim_cv.losses import ALIASES, LOSSES, get_loss

# Four valid pixels (two positive) and one that is ignored, whose prediction is as wrong as can be.
IDS = np.array([1, 1, 0, 0, 255], "uint8").reshape(1, 1, 5, 1)
P = np.array([0.9, 0.6, 0.2, 0.1, 1.0], "float32").reshape(1, 1, 5, 1)
SHORT = {"surface": {"reach_px": 2}}
LOGS = [math.log(0.9), math.log(0.6), math.log(0.8), math.log(0.9)]


def value(name: str, ids: np.ndarray = IDS, p: np.ndarray = P, **arguments: float) -> float:
    return float(get_loss(name, arguments)(ids, p))


def test_tversky_by_hand() -> None:
    # TP = .9 + .6, FN = .1 + .4, FP = .2 + .1
    assert value("tversky", smooth=0.0) == pytest.approx(1 - 1.5 / (1.5 + 0.7 * 0.5 + 0.3 * 0.3))
    assert value("tversky", smooth=1.0) == pytest.approx(1 - 2.5 / (2.5 + 0.7 * 0.5 + 0.3 * 0.3))
    assert value("dice", smooth=0.0) == pytest.approx(1 - 3.0 / (3.0 + 0.5 + 0.3))
    assert value("jaccard", smooth=0.0) == pytest.approx(1 - 1.5 / (1.5 + 0.5 + 0.3))


def test_tversky_alpha_weighs_misses() -> None:
    missed = np.array([0.0, 1.0, 0.0, 0.0, 0.0], "float32").reshape(P.shape)
    false = np.array([1.0, 1.0, 1.0, 0.0, 0.0], "float32").reshape(P.shape)
    assert value("tversky", p=missed, smooth=0.0) == pytest.approx(1 - 1 / 1.7)
    assert value("tversky", p=false, smooth=0.0) == pytest.approx(1 - 2 / 2.3)


def test_focal_tversky_exponent_is_three_quarters() -> None:
    plain = value("tversky", smooth=0.0)
    assert value("focal_tversky", smooth=0.0) == pytest.approx(plain**0.75)
    assert value("focal_tversky", smooth=0.0, gamma=1.0) == pytest.approx(plain)


def test_cross_entropies_by_hand() -> None:
    assert value("bce") == pytest.approx(-sum(LOGS) / 4, rel=1e-5)
    expected = -(3 * (LOGS[0] + LOGS[1]) + LOGS[2] + LOGS[3]) / 4
    assert value("wbce", pos_weight=3.0) == pytest.approx(expected, rel=1e-5)
    assert value("categorical_crossentropy") == pytest.approx(value("bce"), rel=1e-5)
    focal = -(
        0.25 * (0.1**2 * LOGS[0] + 0.4**2 * LOGS[1]) + 0.75 * (0.2**2 * LOGS[2] + 0.1**2 * LOGS[3])
    )
    assert value("focal_crossentropy") == pytest.approx(focal / 4, rel=1e-5)


def test_adaptive_weights_are_counted_in_the_batch() -> None:
    ids = IDS.copy()
    ids[0, 0, 1] = 0  # one positive, three negatives
    logs = [math.log(0.9), math.log(0.4), math.log(0.8), math.log(0.9)]
    expected = -(3 * logs[0] + sum(logs[1:])) / 4
    assert value("wbce_adaptive", ids) == pytest.approx(expected, rel=1e-5)
    expected = -(0.75 * logs[0] + 0.25 * sum(logs[1:])) / 4
    assert value("bbce_adaptive", ids) == pytest.approx(expected, rel=1e-5)
    expected = -(2 * logs[0] + sum(logs[1:])) / 4
    assert value("wbce_adaptive", ids, max_weight=2.0) == pytest.approx(expected, rel=1e-5)


def test_mixtures_are_sums() -> None:
    assert value("bce_dice", dice_weight=0.5) == pytest.approx(
        value("bce") + 0.5 * value("dice"), rel=1e-6
    )
    assert value("wbce_adaptive_dice", dice_weight=2.0) == pytest.approx(
        value("wbce_adaptive") + 2.0 * value("dice"), rel=1e-6
    )


def test_three_classes_by_hand() -> None:
    ids = np.array([0, 1, 1, 255], "uint8").reshape(1, 2, 2, 1)
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.5, 0.2], [0, 0, 1]], "float32")
    p = p.reshape(1, 2, 2, 3)
    logs = [math.log(0.7), math.log(0.8), math.log(0.5)]
    assert value("categorical_crossentropy", ids, p) == pytest.approx(-sum(logs) / 3, rel=1e-5)
    # n = 3, K = 3: weights 3 / (3 * 1) and 3 / (3 * 2)
    expected = -(1.0 * logs[0] + 0.5 * (logs[1] + logs[2])) / 3
    assert value("wbce_adaptive", ids, p) == pytest.approx(expected, rel=1e-5)
    expected = -(2 / 3 * logs[0] + 1 / 3 * (logs[1] + logs[2])) / 3
    assert value("bbce_adaptive", ids, p) == pytest.approx(expected, rel=1e-5)
    # The mean over the classes present, 0 and 1: TP / (TP + (FN + FP) / 2)
    dice = [0.7 / (0.7 + 0.5 * (0.3 + 0.4)), 1.3 / (1.3 + 0.5 * (0.7 + 0.2))]
    assert value("dice", ids, p, smooth=0.0) == pytest.approx(1 - sum(dice) / 2, rel=1e-5)


def test_class_weights() -> None:
    loss = get_loss("bce", {"class_weights": [1.0, 3.0]})
    assert float(loss(IDS, P)) == pytest.approx(value("wbce", pos_weight=3.0), rel=1e-6)
    with pytest.raises(ConfigError, match="2 numbers"):
        get_loss("bce", {"class_weights": [1.0, 2.0, 3.0]})(IDS, P)


@pytest.mark.parametrize("name", ["tversky", "focal_tversky", "dice", "jaccard"])
def test_class_weights_of_an_overlap_need_more_than_one_channel(name: str) -> None:
    loss = get_loss(name, {"class_weights": [1.0, 3.0]})
    with pytest.raises(ConfigError, match="no class weights for a sigmoid"):
        loss(IDS, P)
    both = np.concatenate([1 - P, P], axis=-1)
    even = get_loss(name, {"class_weights": [2.0, 2.0]})
    assert float(even(IDS, both)) == pytest.approx(value(name, p=both))
    assert float(loss(IDS, both)) != pytest.approx(value(name, p=both))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_sample_weights_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="255"):
        get_loss(name)(IDS, P, sample_weight=np.ones(IDS.shape, "float32"))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"sample_weight": np.ones((1, 1, 5, 1), "float32")}, ConfigError),
        # Keras makes sample weights of these, but cannot yet for images.
        ({"class_weight": {0: 1.0, 1: 2.0}}, (ConfigError, TypeError)),
    ],
)
def test_fit_with_weights_is_refused(given: dict[str, Any], error: type[Exception]) -> None:
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(image))
    model.compile("sgd", loss=get_loss("bce"))
    with pytest.raises(error):
        model.fit(P, IDS, verbose=0, **given)


def test_names_arguments_and_aliases() -> None:
    assert get_loss("tversky:alpha=.6, beta=.4").arguments["alpha"] == 0.6
    assert get_loss("tversky:alpha=.6", {"alpha": 0.1, "beta": 0.2}).arguments["beta"] == 0.2
    for alias, name in ALIASES.items():
        assert get_loss(alias).name == name
        assert getattr(losses, alias) is getattr(losses, name)


def test_surface_by_hand() -> None:
    # One row: outside, outside, inside, inside, inside, ignored. Distances 2 1 -0 -1 -2.
    ids = np.array([0, 0, 1, 1, 1, 255], "uint8").reshape(1, 1, 6, 1)
    p = np.array([0.5, 0.25, 0.5, 0.75, 1.0, 1.0], "float32").reshape(1, 1, 6, 1)
    expected = (2 * 0.5 + 1 * 0.25 - 0 * 0.5 - 1 * 0.75 - 2 * 1.0) / 5
    assert value("surface", ids, p, start=0.0, end=0.0, reach_px=9) == pytest.approx(expected)
    near = (1 * 0.5 + 1 * 0.25 - 0 * 0.5 - 0 * 0.75 - 0 * 1.0) / 5
    assert value("surface", ids, p, start=0.0, end=0.0, reach_px=1) == pytest.approx(near)


def test_surface_schedule_falls_and_shows_as_a_metric() -> None:
    loss = get_loss("surface:start=1,step=.25,end=.1")
    seen = []
    for epoch in range(5):
        loss.on_epoch(epoch)
        seen.append(float(loss.metrics[0].result()))
    assert seen == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.1])
    loss.metrics[0].reset_state()
    assert float(loss.metrics[0].result()) == pytest.approx(0.1)
    with pytest.raises(ConfigError, match="start"):
        get_loss("surface:start=.2,end=.5")


def test_lovasz_by_hand() -> None:
    # Errors .4+ .2- .1+ .1-: Jaccard losses 1/2, 2/3, 1, 1 of the first 1, 2, 3, 4 pixels.
    expected = 0.4 * (1 / 2) + 0.2 * (2 / 3 - 1 / 2) + 0.1 * (1 - 2 / 3)
    assert value("lovasz_softmax") == pytest.approx(expected, rel=1e-5)
    # Hinge 1 - s z: logits 2.197, .405, -1.386, -2.197; only the second is inside the margin.
    hinge = 1 - math.log(0.6 / 0.4)
    assert value("lovasz_hinge") == pytest.approx(0.5 * hinge, rel=1e-5)


@pytest.mark.parametrize("spec", ["tverski", "tversky:gamma=1", ":alpha=1"])
def test_unknown_names_are_errors(spec: str) -> None:
    with pytest.raises(UnknownError, match="unknown"):
        get_loss(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "tversky:alpha",
        "tversky:alpha=x",
        "tversky:alpha=nan",
        "bce_dice:dice_weight=inf",
        "tversky:name=3",
        "bce:class_weights=2",
    ],
)
def test_unreadable_arguments_are_errors(spec: str) -> None:
    with pytest.raises(ConfigError, match="key=number"):
        get_loss(spec)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("tversky:alpha=-5", "at least 0"),
        ("tversky:smooth=-1", "at least 0"),
        ("focal_tversky:gamma=0", "0.1 to 10"),
        ("focal_crossentropy:gamma=-1", "at least 0"),
        ("focal_crossentropy:alpha=2", "0 to 1"),
        ("wbce:pos_weight=-2", "at least 0"),
        ("wbce_adaptive:max_weight=0", "at least 1"),
        ("wbce_adaptive_dice:max_weight=-3", "at least 1"),
        ("surface:step=-0.1", "0 to 1"),
        ("surface:start=1.5", "0 to 1"),
        ("surface:reach_px=0", "at least 1"),
        ("surface:reach_px=2.7", "whole number"),
    ],
)
def test_coefficients_out_of_range_are_errors(spec: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        get_loss(spec)


@pytest.mark.parametrize("weights", [2, "12", [1.0, math.nan], [1.0, -1.0], [0.0, 0.0], [[1.0]]])
def test_class_weights_that_cannot_be(weights: Any) -> None:
    with pytest.raises(ConfigError, match="one number >= 0 per class"):
        losses.BCE(class_weights=weights)


def test_numbers_of_numpy_are_numbers() -> None:
    assert losses.Tversky(alpha=np.float32(0.5)).arguments["alpha"] == 0.5
    assert losses.Surface(reach_px=np.int64(3)).arguments["reach_px"] == 3
    weights = np.array([1, 2])
    assert losses.BCE(class_weights=weights).get_config()["class_weights"] == [1, 2]


def test_an_argument_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ConfigError, match="alpha of the loss tversky"):
        losses.Tversky(alpha="much")
    with pytest.raises(UnknownError, match="name"):
        get_loss("tversky", {"name": 3.0})


def test_shapes_without_channel_are_errors() -> None:
    with pytest.raises(DataError, match="B, h, w, 1"):
        losses.bce(IDS[..., 0], P)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_config_round_trip_keeps_the_value(name: str) -> None:
    loss = get_loss(name)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss)
    assert float(again(IDS, P)) == float(loss(IDS, P))


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(name: str, dtype: str) -> None:
    half = keras.ops.cast(P, dtype)
    loss = get_loss(name)(IDS, half)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    expected = value(
        name, p=np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(half, "float32")))
    )
    assert float(loss) == pytest.approx(expected, rel=1e-6)


CASES = {
    "empty": np.zeros((2, 3, 3, 1), "uint8"),
    "full": np.ones((2, 3, 3, 1), "uint8"),
    "ignored": np.full((2, 3, 3, 1), 255, "uint8"),
}


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_extremes_stay_finite(name: str, channels: int, case: str, level: float) -> None:
    _check_extreme(get_loss(name, SHORT.get(name)), case, channels, level)


@pytest.mark.parametrize("name", ["tversky", "focal_tversky", "dice", "jaccard", "bce_dice"])
@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_extremes_stay_finite_without_smoothing(name: str, case: str, level: float) -> None:
    _check_extreme(get_loss(name, {"smooth": 0.0}), case, 1, level)


def _check_extreme(loss: losses.SegmentationLoss, case: str, channels: int, level: float) -> None:
    ids = CASES[case]
    p = np.full((2, 3, 3, channels), level, "float32")
    slope = gradient(lambda x: loss(ids, x), p)
    assert math.isfinite(float(loss(ids, p)))
    assert np.isfinite(slope).all()
    if case == "ignored":
        assert float(loss(ids, p)) == float(loss(ids, 0.5 * p))
        assert not slope.any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_value_and_gradient_are_the_same_in_a_graph(name: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    ids = rng.choice([*range(max(channels, 2)), 255], (2, 5, 4, 1)).astype("uint8")
    p = rng.dirichlet(np.ones(max(channels, 2)), (2, 5, 4)).astype("float32")[..., -channels:]
    loss = get_loss(name, SHORT.get(name))
    found, slope = traced(loss)(ids, p)
    assert float(found) == pytest.approx(float(loss(ids, p)), rel=1e-5)
    np.testing.assert_allclose(slope, gradient(lambda x: loss(ids, x), p), rtol=1e-4, atol=1e-6)
