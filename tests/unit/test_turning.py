"""Tests of gim_cv.models.turning."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from gim_cv.models import Segmentalist, TurningSegmentalist, turning
from gim_cv.models.turning import turned, turned_back

TINY = {"layer_blocks": 1, "initial_filters": 4, "residual_filters": (8,), "bands": 2}
IMAGES = np.random.default_rng(0).random((4, 16, 16, 2), np.float32)


def flags(values: tuple[bool, ...]) -> list[np.ndarray]:
    return [np.full((4, 1, 1, 1), value) for value in values]


def test_turns_are_the_eight_of_a_square_and_undone() -> None:
    found = set()
    for values in product((False, True), repeat=3):
        images = np.asarray(turned(IMAGES, *flags(values)))
        found.add(images.tobytes())
        back = ops.convert_to_numpy(turned_back(images, *flags(values)))
        np.testing.assert_array_equal(back, IMAGES)
    turns = [np.rot90(IMAGES, k, (1, 2)) for k in range(4)]
    wanted = [*turns, *(turn[:, ::-1] for turn in turns)]
    assert found == {np.ascontiguousarray(array).tobytes() for array in wanted}


def test_predictions_are_turned_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # A network of 1×1 convolutions does not care how its input lies, only how it is lit.
    monkeypatch.setattr(turning, "BRIGHTNESS", 0.0)
    model = TurningSegmentalist(turn_p=1.0, turn_seed=1, initial_kernel_size=1, **TINY)
    for layer in model.layers:
        if layer.__class__.__name__ == "Conv2D" and layer.kernel.shape[0] == 3:
            kernel = np.zeros(layer.kernel.shape, np.float32)
            kernel[1, 1] = 0.1
            layer.kernel.assign(kernel)
    images = np.repeat(np.repeat(IMAGES[:, :4, :4], 4, 1), 4, 2)
    plain = Segmentalist(initial_kernel_size=1, **TINY)
    plain.set_weights(model.get_weights())
    seen = ops.convert_to_numpy(model(images, training=True))
    wanted = ops.convert_to_numpy(plain(images, training=True))
    np.testing.assert_allclose(seen, wanted, atol=1e-4)


def test_only_training_is_changed_and_p_0_is_not() -> None:
    model = TurningSegmentalist(turn_p=1.0, turn_seed=1, **TINY)
    still = [ops.convert_to_numpy(model(IMAGES, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(still[0], still[1])
    moved = [ops.convert_to_numpy(model(IMAGES, training=True)) for _ in range(2)]
    assert not np.array_equal(moved[0], moved[1])
    calm = TurningSegmentalist(turn_p=0.0, turn_seed=1, **TINY)
    plain = Segmentalist(**TINY)
    plain.set_weights(calm.get_weights())
    np.testing.assert_allclose(
        ops.convert_to_numpy(calm(IMAGES, training=True)),
        ops.convert_to_numpy(plain(IMAGES, training=True)),
        rtol=1e-6,
    )


def test_weights_are_those_of_a_segmentalist(tmp_path: Path) -> None:
    model = TurningSegmentalist(turn_p=0.5, turn_seed=3, **TINY)
    model.save_weights(tmp_path / "best.weights.h5")
    plain = Segmentalist(**TINY)
    plain.load_weights(tmp_path / "best.weights.h5")
    np.testing.assert_allclose(
        plain.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), rtol=1e-6
    )
    again = TurningSegmentalist.from_config(model.get_config())
    assert again.get_config() == model.get_config()
