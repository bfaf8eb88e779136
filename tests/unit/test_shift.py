"""A planted shift of the labels is found; labels that fit are left alone."""

import numpy as np
import pytest
from scipy import ndimage

from gim_cv.shift import label_shift


def scene(shift=(0, 0)):
    rng = np.random.default_rng(3)
    mask = np.zeros((256, 256), np.uint8)
    for row, col in rng.integers(20, 210, (25, 2)):
        h, w = rng.integers(8, 25, 2)
        mask[row : row + h, col : col + w] = 1
    image = ndimage.gaussian_filter(rng.normal(60, 40, mask.shape), 2) + 90 * mask
    return np.stack([image] * 3, -1).astype(np.uint8), np.roll(mask, shift, (0, 1))


@pytest.mark.parametrize("planted", [(0, 0), (5, -3), (-7, 4)])
def test_the_shift_that_would_undo_the_planted_one_is_found(planted):
    found = label_shift([scene(planted)])
    assert np.abs(np.add(found, planted)).max() <= 1


def test_an_image_without_edges_says_nothing_against_the_labels():
    image, mask = scene()
    assert label_shift([(np.full_like(image, 7), mask)]) == (0, 0)


def test_too_few_outlines_say_nothing():
    image, _ = scene()
    assert label_shift([(image, np.zeros(image.shape[:2], np.uint8))]) is None
    assert label_shift([(image, np.full(image.shape[:2], 255, np.uint8))]) is None
