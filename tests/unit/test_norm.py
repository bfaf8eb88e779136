"""Batch norm: Keras' own, whatever operation does it."""

import keras
import numpy as np
import pytest
from autograd import gradient
from keras import ops

from gim_cv.models.norm import MOMENTUM, BatchNorm


def twins(shape=(4, 6, 5, 3), dtype="float32"):
    """A batch norm of ours and one of Keras with equal random weights, and images."""
    rng = np.random.default_rng(3)
    images = (2 * rng.standard_normal(shape) + 5).astype(np.float32)
    norms = [
        kind(momentum=MOMENTUM, dtype=dtype)
        for kind in (BatchNorm, keras.layers.BatchNormalization)
    ]
    weights = [rng.random(shape[-1]).astype(np.float32) + 0.5 for _ in range(4)]
    for norm in norms:
        norm.build(shape)
        norm.set_weights(weights)
    return *norms, images


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("training", [True, False])
def test_images_and_running_statistics_are_those_of_keras(training, dtype):
    mine, plain, images = twins(dtype=dtype)
    found, expected = mine(images, training=training), plain(images, training=training)
    assert keras.backend.standardize_dtype(found.dtype) == mine.compute_dtype
    exact = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-2, "atol": 1e-2}
    found, expected = (np.asarray(ops.cast(x, "float32")) for x in (found, expected))
    np.testing.assert_allclose(found, expected, **exact)
    for one, two in zip(mine.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_gradients_are_those_of_keras():
    mine, plain, images = twins()
    weigh = np.random.default_rng(4).random(images.shape).astype(np.float32)
    found, expected = (
        gradient(lambda x, norm=norm: ops.sum(norm(x, training=True) * weigh), images)
        for norm in (mine, plain)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_single_value_has_no_variance():
    mine, _, _ = twins()
    assert np.isfinite(np.asarray(mine(np.ones((1, 1, 1, 3), np.float32), training=True))).all()
    assert np.isfinite(mine.get_weights()[3]).all()


def test_what_is_not_trained_keeps_its_statistics():
    mine, _, images = twins()
    before = [np.array(weight) for weight in mine.get_weights()]
    mine.trainable = False
    mine(images, training=True)
    for one, two in zip(before, mine.get_weights(), strict=True):
        assert np.array_equal(one, two)


def test_it_is_saved_and_loaded_by_name():
    mine, _, _ = twins()
    again = keras.layers.deserialize(keras.layers.serialize(mine))
    assert type(again) is BatchNorm
    assert again.momentum == MOMENTUM
