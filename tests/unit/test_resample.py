"""Resampling, with numbers worked by hand."""

import numpy as np
import pytest

from gim_cv.errors import ConfigError
from gim_cv.patches import Window
from gim_cv.resample import Axis, Resampler


def resampler(source: int, target: int, method: str = "bilinear") -> Resampler:
    """A square resampling from `source` px to `target` px a side."""
    axis = Axis(source, target, source / target)
    return Resampler(axis, axis, method)


def whole(side: int) -> Window:
    return Window(0, 0, side, side)


def image_of(rows: list[list[float]], dtype: str = "uint8") -> np.ndarray:
    return np.array(rows, dtype)[..., None]


def full(array: np.ndarray) -> np.ndarray:
    return np.ones(array.shape[:2], bool)


def test_shrinking_by_two_averages_four_pixels():
    image = image_of([[0, 4, 10, 10], [8, 12, 10, 14], [1, 1, 0, 0], [1, 1, 0, 1]])
    out, valid = resampler(4, 2).image(image, full(image), whole(2))
    assert out[..., 0].tolist() == [[6, 11], [1, 0]]
    assert valid.all()


def test_shrinking_by_one_and_a_half_weighs_by_area():
    image = np.array([[30, 60, 90]], "float32")[..., None]
    one = Resampler(Axis(1, 1, 1.0), Axis(3, 2, 1.5), "bilinear")
    out, _ = one.image(image, full(image), Window(0, 0, 1, 2))
    assert out[0, :, 0].tolist() == pytest.approx([(30 + 0.5 * 60) / 1.5, (0.5 * 60 + 90) / 1.5])


def test_bilinear_enlarging_by_two_mixes_a_quarter():
    image = np.array([[0, 100]], "float32")[..., None]
    one = Resampler(Axis(1, 1, 1.0), Axis(2, 4, 0.5), "bilinear")
    out, _ = one.image(image, full(image), Window(0, 0, 1, 4))
    assert out[0, :, 0].tolist() == pytest.approx([0, 25, 75, 100])


def test_cubic_follows_a_line_exactly_and_overshoots_a_step():
    line = np.arange(8, dtype="float32")[None, :, None]
    one = Resampler(Axis(1, 1, 1.0), Axis(8, 16, 0.5), "cubic")
    out, _ = one.image(line, full(line), Window(0, 0, 1, 16))
    assert out[0, 3:13, 0].tolist() == pytest.approx([1.25 + 0.5 * i for i in range(10)])
    step = np.array([0, 0, 0, 0, 1, 1, 1, 1], "float32")[None, :, None]
    out, _ = one.image(step, full(step), Window(0, 0, 1, 16))
    assert out.max() > 1
    assert out.min() < 0


def test_integers_are_rounded_and_clipped():
    step = np.array([0, 0, 0, 0, 255, 255, 255, 255], "uint8")[None, :, None]
    one = Resampler(Axis(1, 1, 1.0), Axis(8, 16, 0.5), "cubic")
    out, _ = one.image(step, full(step), Window(0, 0, 1, 16))
    assert out.dtype == np.uint8
    assert out.min() == 0
    assert out.max() == 255


def test_invalid_pixels_have_no_weight():
    image = image_of([[0, 4], [8, 0]])
    valid = np.array([[False, True], [True, False]])
    out, good = resampler(2, 1).image(image, valid, whole(1))
    assert out.item() == 6
    assert good.item()


def test_less_than_half_valid_is_invalid_and_zero():
    image = image_of([[0, 0], [8, 0]])
    valid = np.array([[False, False], [True, False]])
    out, good = resampler(2, 1).image(image, valid, whole(1))
    assert out.item() == 0
    assert not good.item()


def test_cubic_beside_an_invalid_pixel_is_bilinear():
    image = np.full((8, 8, 1), 50, "uint8")
    image[:, 0] = 0
    valid = np.ones((8, 8), bool)
    valid[:, 0] = False
    out, good = resampler(8, 16, "cubic").image(image, valid, whole(16))
    assert not good[:, 0].any()
    assert good[:, 2:].all()
    assert set(out[good].ravel().tolist()) == {50}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("sizes", [(9, 4), (4, 9), (5, 5)])
def test_a_constant_stays_constant(dtype, sizes):
    image = np.full((sizes[0], sizes[0], 2), 117, dtype)
    out, valid = resampler(*sizes, "cubic").image(image, full(image), whole(sizes[1]))
    assert out.dtype == dtype
    assert np.allclose(out, 117)
    assert valid.all()


@pytest.mark.parametrize(("fraction", "expected"), [(0.1, 1), (0.24, 1), (0.25, 0), (0.5, 0)])
def test_binary_is_positive_above_the_fraction(fraction, expected):
    mask = np.array([[1, 0], [0, 0]], np.uint8)
    assert resampler(2, 1).classes(mask, whole(1), 2, fraction).item() == expected


def test_the_fraction_is_of_the_labelled_area():
    mask = np.array([[1, 255], [0, 255]], np.uint8)
    assert resampler(2, 1).classes(mask, whole(1), 2, 0.49).item() == 1
    assert resampler(2, 1).classes(mask, whole(1), 2, 0.5).item() == 0


def test_less_than_half_labelled_is_ignored():
    mask = np.array([[1, 255], [255, 255]], np.uint8)
    assert resampler(2, 1).classes(mask, whole(1), 2, 0.1).item() == 255


@pytest.mark.parametrize(
    ("mask", "expected"), [([[1, 2], [2, 0]], 2), ([[2, 2], [1, 1]], 1), ([[0, 2], [1, 2]], 2)]
)
def test_several_classes_take_the_largest_and_the_lower_in_a_tie(mask, expected):
    array = np.array(mask, np.uint8)
    assert resampler(2, 1).classes(array, whole(1), 3, 0.1).item() == expected


def test_enlarged_classes_have_sharp_edges():
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    big = resampler(2, 4).classes(mask, whole(4), 3, 0.1)
    assert big.tolist() == np.kron(mask, np.ones((2, 2), np.uint8)).tolist()


def test_reach_tells_how_far_a_value_sees():
    assert resampler(8, 4).reach_px == 0.5  # one source pixel is half a target pixel
    assert resampler(4, 8).reach_px == 2.5  # (1.5 - 0.25) source px
    assert resampler(4, 8, "cubic").reach_px == 4.5


def test_another_method_is_refused():
    with pytest.raises(ConfigError, match="bilinear or cubic"):
        resampler(4, 8, "lanczos")
