"""Averaged weights, and batch norms whose statistics fit them."""

import keras
import numpy as np
import pytest

from gim_cv.averaging import WeightAverage, reestimate_norms
from gim_cv.models import Segmentalist

TINY = {"layer_blocks": 1, "initial_filters": 4, "residual_filters": (8,)}


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((3, 16, 16, 3), np.float32) for _ in range(count)]


def statistics(model, name):
    norm = model.get_layer(name)
    found = (norm.moving_mean, norm.moving_variance)
    return [keras.ops.convert_to_numpy(variable) for variable in found]


def test_the_average_weighs_each_epoch_equally():
    rng = np.random.default_rng(1)
    epochs = [[rng.normal(size=(2, 3)), rng.normal(size=4)] for _ in range(5)]
    average = WeightAverage()
    for weights in epochs:
        average.take(weights)
    for found, each in zip(average.mean, zip(*epochs, strict=True), strict=True):
        np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-12)


def test_a_model_gets_the_mean_weights_and_statistics_of_its_own():
    model = Segmentalist(**TINY)
    weights = model.get_weights()
    average = WeightAverage()
    for factor in (0.5, 2.0):
        average.take([factor * weight for weight in weights])
    batches = images(4)
    average.assign(model, batches)
    for weight, first, now in zip(model.weights, weights, model.get_weights(), strict=True):
        if "moving" not in weight.path:
            np.testing.assert_allclose(now, 1.25 * first, rtol=1e-6)

    # The stem's convolution is what its batch norm sees.
    stem = keras.Model(model.input, model.get_layer("stem_conv").output)
    seen = [keras.ops.convert_to_numpy(stem(batch)) for batch in batches]
    mean, variance = statistics(model, "stem_norm")
    means = [part.mean((0, 1, 2)) for part in seen]
    variances = [part.var((0, 1, 2)) for part in seen]
    np.testing.assert_allclose(mean, np.mean(means, 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, np.mean(variances, 0), rtol=1e-4)
    assert model.get_layer("stem_norm").momentum == pytest.approx(0.9)


def test_without_a_batch_the_statistics_stay():
    model = Segmentalist(**TINY)
    before = statistics(model, "stem_norm")
    reestimate_norms(model, [])
    assert all((a == b).all() for a, b in zip(before, statistics(model, "stem_norm"), strict=True))
