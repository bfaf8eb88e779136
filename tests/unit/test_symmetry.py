"""Predictions averaged over turns and mirror images."""

import numpy as np
import pytest

from gim_cv.symmetry import averaged


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 4, 6, 1)])
def test_each_symmetry_is_seen_once_and_taken_back(shape):
    images = np.random.default_rng(0).random(shape).astype(np.float32)
    seen = []

    def predict(batch):
        seen.append(batch.copy())
        return batch[..., :1]

    found = averaged(predict)(images)
    np.testing.assert_allclose(found, images[..., :1], rtol=1e-6)
    assert found.dtype == np.float32
    assert len({(batch.shape, batch.tobytes()) for batch in seen}) == 8


def test_what_comes_out_turns_with_what_goes_in():
    images = np.random.default_rng(1).random((3, 8, 8, 2)).astype(np.float32)
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8, 1)

    def crooked(batch):
        return batch[..., :1] * ramp

    straight = averaged(crooked)
    upright = straight(images)
    for turns in range(4):
        turned = straight(np.rot90(images, turns, axes=(1, 2)))
        np.testing.assert_allclose(turned, np.rot90(upright, turns, axes=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(straight(images[:, ::-1]), upright[:, ::-1], rtol=1e-5)
