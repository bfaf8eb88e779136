import numpy as np
import pytest

from gim_cv.baseline import (
    ColourCube,
    Constant,
    fit_colour_baseline,
    majority,
    sample_pixels,
)
from gim_cv.errors import DataError


def noise(count, *, bands, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        images = rng.random((2, 8, 8, bands), dtype=np.float32)
        masks = (images[..., :1] > 0.6).astype(np.uint8)
        masks[:, 0] = 255
        yield images, masks


def test_constant_answers_one_class():
    images = np.zeros((2, 3, 4, 5), np.float32)
    assert Constant(1, 2)(images).tolist() == np.ones((2, 3, 4, 1)).tolist()
    assert Constant(2, 3)(images)[0, 0, 0].tolist() == [0, 0, 1]


def test_the_sample_is_as_large_as_asked_and_labelled():
    rows, labels = sample_pixels(noise(20, bands=3), pixels=500, seed=1)
    assert rows.shape == (500, 3)
    assert ((rows[:, 0] > 0.6) == labels).all()
    every, _ = sample_pixels(noise(2, bands=3), pixels=500, seed=1)
    assert len(every) == 2 * 2 * 7 * 8


def test_each_pixel_is_as_likely_to_be_sampled_as_any_other():
    images = np.repeat(np.arange(20, dtype=np.float32), 64).reshape(20, 1, 8, 8, 1)
    batches = [(image, np.zeros((1, 8, 8, 1), np.uint8)) for image in images]
    rows = np.concatenate([sample_pixels(batches, pixels=64, seed=s)[0] for s in range(40)])
    counts = np.bincount(rows[:, 0].astype(int), minlength=20)
    # 128 expected of each batch; binomial with standard deviation 11
    assert abs(counts - 128).max() < 45


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_learns_a_colour_that_tells(bands):
    predict = fit_colour_baseline(noise(30, bands=bands), classes=2, pixels=3000, seed=0)
    images, _ = next(noise(1, bands=bands, seed=9))
    right = (predict(images) >= 0.5) == (images[..., :1] > 0.6)
    # of five equally varied bands, three directions keep only part of what tells
    assert right.mean() > (0.95 if bands <= 3 else 0.6)


def test_classes_that_the_sample_lacks_have_no_probability():
    images = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    only = fit_colour_baseline(
        [(images, np.full((2, 8, 8, 1), 2, np.uint8))], classes=3, pixels=50, seed=0
    )
    assert only(images)[0, 0, 0].tolist() == [0, 0, 1]


def test_no_labelled_pixel_is_an_error():
    batch = np.zeros((1, 4, 4, 3), np.float32), np.full((1, 4, 4, 1), 255, np.uint8)
    with pytest.raises(DataError, match="no labelled train pixel"):
        fit_colour_baseline([batch], classes=2, pixels=10, seed=0)


def test_a_cube_places_every_colour_in_a_cell():
    rows = np.random.default_rng(0).normal(0, 1, (500, 3)).astype(np.float32)
    cube = ColourCube.around(rows)
    cells = cube.cells(np.concatenate([rows, rows * 1000]))
    assert (cells.min() >= 0, cells.max() < len(cube)) == (True, True)
    assert len(cube) == 32**3
    flat = ColourCube.around(np.ones((10, 1), np.float32))
    assert len(flat) == 1024
    assert flat.cells(np.ones((2, 1), np.float32)).tolist() in ([0, 0], [1023, 1023], [512, 512])


def test_majority_is_the_commonest_class():
    assert majority(np.array([[5, 1, 0], [0, 1, 9]])) == 2
