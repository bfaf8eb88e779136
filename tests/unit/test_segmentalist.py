"""Segmentalist: every option builds, trains, saves, loads, and runs at another size."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import keras
import numpy as np
import pytest
from autograd import gradient

from gim_cv.errors import ConfigError, MissingError, UnknownError
from gim_cv.losses import get_loss
from gim_cv.metrics import Scores
from gim_cv.models import Design, Segmentalist
from gim_cv.models.attention import LambdaLayer, MaxChannel, MeanChannel
from gim_cv.models.blocks import DoubleLike, residual_block

TINY = {"initial_filters": 4, "residual_filters": (4, 8)}
OPTIONS = (
    "block",
    "n_classes",
    "layer_blocks",
    "last_decoder_layer_blocks",
    "act",
    "cardinality",
    "downsample",
    "decoder_attention_gates",
    "encoder_cbam",
    "decoder_cbam",
    "pyramid_pooling",
    "deep_supervision",
    "lambda_conv",
    "multi_level_skip",
)
CASES = [
    ("bottleneck", 3, 1, 2, "relu", 1, "strides", None, False, False, False, False, True, True),
    ("bottleneck", 3, 2, 1, "swish", 2, "pool", None, True, True, True, True, False, True),
    ("bottleneck", 1, 2, 1, "relu", 1, "pool", "CSAG", False, True, True, False, True, False),
    ("bottleneck", 1, 1, 1, "relu", 1, "strides", "SAG", True, False, True, True, False, False),
    ("bottleneck", 3, 1, 2, "swish", 2, "pool", "CSAG", True, False, False, True, True, False),
    ("basic", 1, 2, 2, "relu", 2, "strides", "SAG", False, True, False, True, True, True),
    ("basic", 1, 2, 2, "swish", 2, "strides", "CSAG", False, False, False, False, False, True),
    ("basic", 3, 2, 1, "swish", 1, "pool", "SAG", False, True, False, False, True, False),
    ("basic", 1, 1, 2, "swish", 1, "pool", None, True, True, True, False, True, False),
]
RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 16, 16, 3)).astype("float32")
IDS = RNG.choice([0, 1, 255], (2, 16, 16, 1)).astype("uint8")


def test_cases_hold_every_pair_of_values() -> None:
    values = [sorted({str(case[i]) for case in CASES}) for i in range(len(OPTIONS))]
    assert [len(found) for found in values] == [2] * 7 + [3] + [2] * 6
    for a, b in itertools.combinations(range(len(OPTIONS)), 2):
        wanted = set(itertools.product(values[a], values[b]))
        assert {(str(case[a]), str(case[b])) for case in CASES} == wanted


@pytest.mark.parametrize("case", CASES)
def test_builds_trains_saves_loads_and_runs_at_another_size(
    case: tuple[object, ...], tmp_path: Path
) -> None:
    options = dict(zip(OPTIONS, case, strict=True))
    keras.utils.set_random_seed(0)
    model = Segmentalist(**TINY, **options)
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=get_loss("dice"),
        metrics=[Scores(n_classes=model.design.n_classes)],
        run_eagerly=keras.backend.backend() == "tensorflow",  # tracing takes longer than one step
    )
    before = [np.array(weight) for weight in model.get_weights()]
    logs = model.train_on_batch(IMAGES, IDS, return_dict=True)
    assert math.isfinite(logs["loss"])
    assert any((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again, Segmentalist)
    assert again.get_config() == model.get_config()
    expected = np.asarray(model(IMAGES))
    np.testing.assert_array_equal(np.asarray(again(IMAGES)), expected)

    odd = np.asarray(model(RNG.random((1, 13, 22, 3)).astype("float32")))
    assert odd.shape == (1, 13, 22, options["n_classes"])
    assert odd.dtype == np.float32
    assert (odd >= 0).all()
    assert (odd <= 1).all()
    if options["n_classes"] == 3:
        np.testing.assert_allclose(odd.sum(-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_predicts_one_size_after_another(case: tuple[object, ...]) -> None:
    """TensorFlow's second graph is one for any size."""
    keras.utils.set_random_seed(0)
    model = Segmentalist(**TINY, **dict(zip(OPTIONS, case, strict=True)))
    for height, width in [(8, 8), (13, 22)]:
        images = RNG.random((2, height, width, 3)).astype("float32")
        found = model.predict_on_batch(images)
        np.testing.assert_allclose(found, np.asarray(model(images)), atol=1e-5)


@pytest.mark.parametrize("bands", [1, 2, 5, 8, 13])
def test_every_band_of_an_image_counts(bands: int) -> None:
    keras.utils.set_random_seed(0)
    blocks = {"layer_blocks": 1, "last_decoder_layer_blocks": 1}
    model = Segmentalist(**TINY, **blocks, pyramid_pooling=True, bands=bands)
    assert Segmentalist.from_config(model.get_config()).input_shape[-1] == bands
    images = np.tile(RNG.random((9, 6, bands)).astype("float32"), (1 + bands, 1, 1, 1))
    for band in range(bands):
        images[1 + band, ..., band] = 1 - images[0, ..., band]
    found = np.asarray(model(images))
    assert found.shape == (1 + bands, 9, 6, 1)
    assert (found[1:] != found[0]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(
    ("options", "millions"),
    [
        ({}, 36.6),
        ({"decoder_attention_gates": "SAG"}, 41.2),
        ({"decoder_attention_gates": "CSAG"}, 38.8),
        (
            {
                "decoder_attention_gates": "SAG",
                "deep_supervision": True,
                "pyramid_pooling": True,
                "encoder_cbam": True,
                "decoder_cbam": True,
            },
            49.7,
        ),
    ],
)
def test_parameter_counts_of_the_old_model(options: dict[str, object], millions: float) -> None:
    assert Segmentalist(**options).count_params() / 1e6 == pytest.approx(millions, rel=0.01)


def test_config_round_trip() -> None:
    model = Segmentalist(**TINY, decoder_attention_gates="SAG", name="mine")
    config = model.get_config()
    assert config["residual_filters"] == [4, 8]
    again = Segmentalist.from_config(config)
    assert again.get_config() == config
    assert again.name == "mine"
    assert again.count_params() == model.count_params()


def test_layer_names_do_not_depend_on_what_was_built_before() -> None:
    options = dict(zip(OPTIONS, CASES[0], strict=True))
    first, second = (Segmentalist(**TINY, **options) for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    parts = [[layer.name for layer in model._flatten_layers()] for model in (first, second)]
    assert parts[0] == parts[1]


def test_any_size_down_to_one_pixel() -> None:
    model = Segmentalist(**TINY)
    for height, width in [(1, 1), (5, 2), (16, 31)]:
        assert model(np.zeros((1, height, width, 3), "float32")).shape == (1, height, width, 1)


def test_last_decoder_layer_blocks_counts_only_the_last_stage() -> None:
    def norms(blocks: int) -> int:
        model = Segmentalist(**TINY, last_decoder_layer_blocks=blocks)
        return sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)

    assert norms(3) - norms(1) == 2 * 3


def test_cardinality_groups_the_second_convolution() -> None:
    x = keras.Input((8, 8, 8))
    block = keras.Model(x, residual_block(x, 8, Design(cardinality=2), name="block"))
    kernels = [tuple(w.shape) for w in block.trainable_weights if len(w.shape) == 4]
    assert kernels == [(3, 3, 8, 4), (3, 3, 2, 8), (1, 1, 8, 8)]


def test_a_basic_block_is_two_convolutions_of_all_channels() -> None:
    x = keras.Input((8, 8, 4))
    design = Design(block="basic", cardinality=4)
    block = keras.Model(x, residual_block(x, 8, design, name="block"))
    kernels = [tuple(w.shape) for w in block.trainable_weights if len(w.shape) == 4]
    assert sorted(kernels) == [(1, 1, 4, 8), (3, 3, 2, 8), (3, 3, 4, 8)]


def test_strides_replace_pooling_without_more_weights() -> None:
    pool, strides = (Segmentalist(**TINY, downsample=how) for how in ("pool", "strides"))
    assert not any(isinstance(layer, keras.layers.MaxPooling2D) for layer in strides.layers)
    # A strided first block needs a projection even where the channels stay (4 → 4): 4·4 + 4·4.
    assert strides.count_params() - pool.count_params() == 4 * 4 + 4 * 4


@pytest.mark.parametrize("act", ["relu", "swish"])
def test_activation_is_used_throughout(act: str) -> None:
    model = Segmentalist(**TINY, act=act)
    kinds = {
        layer.activation.__name__
        for layer in model.layers
        if isinstance(layer, keras.layers.Activation) and layer.name != "probability"
    }
    assert kinds == {keras.activations.get(act).__name__}


@pytest.mark.parametrize("kind", ["bottleneck", "basic"])
@pytest.mark.parametrize("lambda_conv", [False, True])
def test_a_block_adds_to_its_input(kind: str, lambda_conv: bool) -> None:
    x = keras.Input((None, None, 4))
    y = residual_block(x, 4, Design(block=kind), name="block", lambda_conv=lambda_conv)
    block = keras.Model(x, y)
    image = RNG.random((1, 6, 6, 4)).astype("float32")
    assert not np.allclose(np.asarray(block(image)), image, atol=1e-2)
    for weight in block.weights:
        if weight.name in ("gamma", "beta"):
            weight.assign(np.zeros(weight.shape))
    np.testing.assert_allclose(np.asarray(block(image)), image, atol=1e-6)


def test_spatial_attention_sees_mean_and_maximum() -> None:
    x = np.array([1.0, 5.0, 3.0], "float32").reshape(1, 1, 1, 3)
    assert float(MeanChannel()(x)[0, 0, 0, 0]) == 3.0
    assert float(MaxChannel()(x)[0, 0, 0, 0]) == 5.0


def test_doubling_is_bilinear_and_cut() -> None:
    x = np.array([0.0, 1.0], "float32").reshape(1, 1, 2, 1)
    doubled = DoubleLike()(x, np.zeros((1, 1, 3, 7), "float32"))
    assert np.asarray(doubled)[0, :, :, 0].tolist() == [[0.0, 0.25, 0.75]]


def test_lambda_layer_against_loops() -> None:
    layer = LambdaLayer(6, keys=2, window_px=3)
    x = RNG.random((1, 3, 4, 5)).astype("float32")
    found = np.asarray(layer(x))[0].reshape(12, 6)
    flat = x[0].reshape(12, 5)
    query, key, value = (
        np.asarray(part.kernel)[0, 0] for part in (layer.query, layer.key, layer.value)
    )
    near = np.asarray(layer.near.kernel)  # (3, 3, depth, keys)
    shrink = 1 / math.sqrt(1 + 1e-3)  # a batch norm that has seen nothing
    q = (flat @ query * shrink).reshape(12, layer.heads, 2)
    v = flat @ value * shrink
    weights = np.exp(flat @ key)
    weights /= weights.sum(axis=0)  # over positions, not over keys
    for n in range(12):
        i, j = divmod(n, 4)
        position = np.zeros((2, v.shape[1]))
        for di, dj in itertools.product((-1, 0, 1), repeat=2):
            if 0 <= i + di < 3 and 0 <= j + dj < 4:
                other = v[(i + di) * 4 + j + dj]
                position += near[di + 1, dj + 1].T * other
        map_ = weights.T @ v + position
        np.testing.assert_allclose(found[n], (q[n] @ map_).reshape(-1), atol=1e-4)


def test_gates_look_at_the_signal() -> None:
    for gate in ("SAG", "CSAG"):
        keras.utils.set_random_seed(1)
        model = Segmentalist(**TINY, decoder_attention_gates=gate)
        slope = gradient(lambda x, model=model: keras.ops.sum(model(x)), IMAGES)
        assert np.isfinite(slope).all()
        assert slope.any()


def test_head_is_float32_under_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = Segmentalist(**TINY, deep_supervision=True)
        out = model(IMAGES)
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(out.dtype) == "float32"
    assert all(weight.dtype == "float32" for weight in model.weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cardinality": 3}, "multiple of 6"),
        ({"cardinality": 3, "block": "basic"}, "multiple of 3"),
        ({"block": "narrow"}, "bottleneck"),
        ({"decoder_attention_gates": "sag"}, "SAG"),
        ({"downsample": "stride"}, "pool"),
        ({"act": "rely"}, "activation"),
        ({"n_classes": 0}, "at least 1"),
        ({"residual_filters": ()}, "stage"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Segmentalist(**{**TINY, **options})


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownError, match="layer_blocks"):
        Segmentalist(layer_block=1)


def test_loading_what_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"run\.yml"):
        Segmentalist.load_from_metadata({"run_dir": tmp_path})
