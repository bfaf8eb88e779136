import hashlib

import numpy as np
import pytest
from PIL import Image

from gim_cv.pictures import (
    FOUND,
    INVENTED,
    MISSED,
    PREDICTION,
    TRUTH,
    cropped,
    display_bands,
    enlarged,
    errors,
    is_blank,
    limits,
    outlines,
    panels,
    side_by_side,
    stretched,
    with_holes,
    write_png,
)


def grey(side=8, value=100):
    return np.full((side, side, 3), value, np.uint8)


def colours(picture):
    return {tuple(pixel) for pixel in picture.reshape(-1, picture.shape[-1]).tolist()}


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (["red", "green", "blue"], [0, 1, 2]),
        (["nir", "Blue", "Green", "Red"], [3, 2, 1]),
        (["b1", "b2", "b3", "b4"], [0, 1, 2]),
        (["pan"], [0]),
        (["a", "b"], [0]),
    ],
)
def test_bands_to_show(names, bands):
    assert display_bands(names) == bands


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("bands", [1, 3])
def test_any_type_and_band_count_becomes_eight_bits(dtype, bands):
    image = np.linspace(0, 100, 64 * bands).reshape(1, 8, 8, bands).astype(dtype)
    picture = stretched(image[0], limits(image, np.ones((1, 8, 8), bool)))
    assert (picture.shape, picture.dtype) == ((8, 8, 3), np.uint8)
    assert (picture.min(), picture.max()) == (0, 255)
    assert (np.diff(picture[..., 0].ravel().astype(int)) >= 0).all()


def test_limits_look_at_scored_pixels_and_bear_nan():
    image = np.full((1, 2, 2, 1), np.nan, np.float32)
    image[0, 0] = [[1.0], [3.0]]
    seen = np.array([[[True, True], [False, False]]])
    assert limits(image, seen)[0] == pytest.approx([1.02, 2.98])
    assert stretched(image[0], limits(image, seen))[1].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_constant_image_is_no_division_by_zero():
    image = np.full((1, 2, 2, 1), 7, np.uint16)
    assert np.isfinite(stretched(image[0], limits(image, np.ones((1, 2, 2), bool)))).all()


def test_outlines_show_truth_and_prediction_and_nothing_of_ignored_ground():
    truth = np.zeros((12, 12), np.uint8)
    truth[2:7, 2:7] = 1
    truth[9:] = 255
    guess = np.zeros((12, 12), bool)
    guess[3:10, 3:10] = True
    picture = outlines(grey(12), truth, guess, times=2)
    assert picture.shape == (24, 24, 3)
    assert {TRUTH, PREDICTION} <= colours(picture)
    assert not {TRUTH, PREDICTION} & colours(picture[18:])
    assert tuple(picture[0, 0]) == (100, 100, 100)


def test_errors_tint_found_invented_and_missed():
    truth = np.array([[1, 1, 0, 0, 255]], np.uint8)
    guess = np.array([[True, False, True, False, True]])
    picture = errors(grey(5)[:1], truth, guess)
    ground = 100 * 0.55 + 18
    for column, colour, weight in ((0, FOUND, 0.5), (1, MISSED, 0.8), (2, INVENTED, 0.8)):
        expected = ground * (1 - weight) + np.array(colour) * weight
        assert picture[0, column] == pytest.approx(expected, abs=1)
    assert picture[0, 3] == pytest.approx([73] * 3, abs=1)


def test_the_three_kinds_differ_in_lightness_and_in_hue_for_the_colour_blind():
    """Under protanopia and deuteranopia red and green merge; blue against yellow stays."""

    def blue_yellow(colour):
        red, green, blue = colour
        return blue - (red + green) / 2

    found = sorted(blue_yellow(colour) for colour in (FOUND, INVENTED, MISSED))
    assert min(np.diff(found)) > 80


def test_panels_of_two_and_of_more_classes():
    truth = np.array([[0, 1], [2, 255]], np.uint8)
    assert len(panels(grey(2), truth % 2, truth % 2, classes=2, times=3)) == 3
    many = panels(grey(2), truth, np.array([[0, 1], [1, 1]], np.uint8), classes=3, times=3)
    assert [picture.shape for picture in many] == [(6, 6, 3)] * 4
    wrong = many[3][4, 1]
    assert wrong == pytest.approx(73 * 0.2 + np.array(MISSED) * 0.8, abs=1)


def test_side_by_side_has_a_transparent_gap():
    row = side_by_side([grey(2), grey(3)], gap=4)
    assert row.shape == (3, 9, 4)
    assert (row[:, 2:6, 3] == 0).all()
    assert (row[:2, :2, 3] == 255).all()


def test_what_holds_nothing_is_transparent_and_cut_off():
    image = np.ones((4, 5, 2), np.float32)
    image[0], image[:, 0] = 0, np.nan
    holes = is_blank(image)
    assert holes.sum() == 8
    picture = cropped(with_holes(grey(5)[:4], holes))
    assert picture.shape == (3, 4, 4)
    assert picture[..., 3].min() == 255
    nothing = with_holes(grey(2), np.ones((2, 2), bool))
    assert cropped(nothing).shape == nothing.shape


def test_enlarged_repeats_pixels():
    assert enlarged(np.array([[1, 2]]), 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_the_same_picture_is_the_same_file_without_words_in_it(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, picture)
    first, second = (
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.png", "b.png")
    )
    assert first == second
    with Image.open(tmp_path / "a.png") as back:
        assert back.info == {}
        assert (np.asarray(back) == picture).all()
