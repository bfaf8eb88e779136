"""Optimisers and schedules: against loops in numpy, and by name."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from gim_cv.errors import UnknownError
from gim_cv.optimizers import OPTIMIZERS, Ranger, make_optimizer, make_schedule

STEPS = 20


def ranger_in_numpy(start: np.ndarray, gradients: np.ndarray, rate: float) -> np.ndarray:
    """The two papers' algorithms, a step at a time, in float64."""
    w = slow = start.astype(float)
    mean = square = np.zeros_like(w)
    longest = 2 / (1 - 0.999) - 1
    for t, gradient in enumerate(gradients, start=1):
        mean = 0.95 * mean + 0.05 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        momentum = mean / (1 - 0.95**t)
        length = longest - 2 * t * 0.999**t / (1 - 0.999**t)
        if length > 5:
            r = math.sqrt(
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            )
            momentum = r * momentum / (np.sqrt(square / (1 - 0.999**t)) + 1e-5)
        w = w - rate * momentum
        if t % 6 == 0:
            slow = slow + 0.5 * (w - slow)
            w = slow
    return w


def test_ranger_equals_the_papers() -> None:
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=3), rng.normal(size=(STEPS, 3))
    weight = keras.Variable(start.astype("float32"))
    optimizer = Ranger(learning_rate=0.05)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [weight])
    expected = ranger_in_numpy(start, gradients, 0.05)
    np.testing.assert_allclose(np.asarray(weight), expected, rtol=2e-4)


def test_ranger_starts_from_weights_loaded_after_it_was_built() -> None:
    weight = keras.Variable(np.zeros(1, "float32"))
    optimizer = Ranger(learning_rate=1e-6)
    optimizer.build([weight])
    weight.assign(np.ones(1, "float32"))
    for _ in range(6):
        optimizer.apply([keras.ops.ones((1,))], [weight])
    assert float(weight[0]) == pytest.approx(1.0, abs=1e-4)


def test_the_norm_of_all_gradients_together_is_clipped() -> None:
    weights = [keras.Variable(np.zeros(2, "float32")), keras.Variable(np.zeros(1, "float32"))]
    optimizer = make_optimizer("sgd", 0.5, weight_decay=0.0, clipnorm=2.0)
    gradients = [np.array([30.0, 0.0], "float32"), np.array([40.0], "float32")]
    optimizer.apply([keras.ops.convert_to_tensor(part) for part in gradients], weights)
    found = np.concatenate([np.asarray(weight) for weight in weights])
    np.testing.assert_allclose(found, [-0.6, 0.0, -0.8], rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_downhill_and_round_trips(name: str) -> None:
    optimizer = make_optimizer(name, 0.1, weight_decay=0.01, clipnorm=1.0)
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(optimizer)
    assert again.global_clipnorm == 1.0
    weight = keras.Variable(np.array([3.0, -4.0], "float32"))
    for _ in range(250):
        optimizer.apply([2 * weight], [weight])
    assert float(keras.ops.max(keras.ops.abs(weight))) < 0.5


def test_momentum_and_decay_are_what_was_asked_for() -> None:
    sgd = make_optimizer("sgd", 0.1, weight_decay=0.0, clipnorm=0.0)
    assert (sgd.momentum, sgd.weight_decay, sgd.global_clipnorm) == (0.85, None, None)
    assert make_optimizer("adam", 0.1, weight_decay=0.5, clipnorm=0.0).weight_decay is None


@pytest.mark.parametrize("name", ["adamw", "ranger", "sgd"])
def test_decay_spares_biases_and_batch_norms(name: str) -> None:
    ones = np.ones(2, "float32")
    kernel, bias, gamma = (keras.Variable(ones, name=part) for part in ("kernel", "bias", "gamma"))
    optimizer = make_optimizer(name, 0.1, weight_decay=0.5, clipnorm=0.0)
    optimizer.apply([keras.ops.zeros((2,))] * 3, [kernel, bias, gamma])
    assert float(kernel[0]) == pytest.approx(1 - 0.1 * 0.5)
    assert float(bias[0]) == float(gamma[0]) == 1.0


def test_clipnorm_is_of_all_gradients_together() -> None:
    weights = [keras.Variable(np.zeros(1, "float32")) for _ in range(2)]
    optimizer = make_optimizer("sgd", 1.0, weight_decay=0.0, clipnorm=1.0)
    gradients = [keras.ops.convert_to_tensor(np.array([g], "float32")) for g in (3.0, 4.0)]
    optimizer.apply(gradients, weights)
    assert [float(w[0]) for w in weights] == pytest.approx([-0.6, -0.8])


def values(name: str, **changes: float) -> list[float]:
    options = {"steps": STEPS, "warmup_steps": 4, "final_share": 0.1, **changes}
    schedule = make_schedule(name, 2.0, **options)
    return [float(schedule(step)) for step in range(STEPS + 2)]


def test_cosine_rises_then_falls_to_its_share() -> None:
    found = values("cosine")
    assert found[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert found[4] == pytest.approx(2.0)
    assert found[12] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5), rel=1e-5)
    assert found[20] == found[21] == pytest.approx(0.2, rel=1e-5)
    assert values("cosine", warmup_steps=0)[0] == pytest.approx(2.0)


def test_one_cycle_begins_at_a_25th_and_peaks_at_30_percent() -> None:
    found = values("one_cycle")
    assert found[0] == pytest.approx(2.0 / 25, rel=1e-5)
    assert found[6] == pytest.approx(2.0)
    assert max(found) == found[6]
    assert found[20] == pytest.approx(0.2, rel=1e-5)


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_schedules_round_trip(name: str) -> None:
    schedule = make_schedule(name, 2.0, steps=STEPS, warmup_steps=4, final_share=0.1)
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == schedule.get_config()


def test_constant_and_plateau_are_numbers_that_can_be_lowered() -> None:
    for name in ("constant", "plateau"):
        assert make_schedule(name, 0.5, steps=1, warmup_steps=0, final_share=0.0) == 0.5


def test_unknown_names() -> None:
    with pytest.raises(UnknownError, match="adamw"):
        make_optimizer("adam_w", 0.1, weight_decay=0.0, clipnorm=0.0)
    with pytest.raises(UnknownError, match="one_cycle"):
        make_schedule("onecycle", 0.1, steps=1, warmup_steps=0, final_share=0.0)
