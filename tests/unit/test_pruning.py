"""Each reason to drop a patch, and none."""

import numpy as np
import pytest

from gim_cv.pruning import REASONS, nothing_kept, reason_to_drop

TEXTURE = np.arange(1, 8 * 8 * 3 + 1).reshape(8, 8, 3)
ALL = np.ones((8, 8), bool)
MASK = np.zeros((8, 8, 1), np.uint8)


def reason(image, mask=MASK, valid=ALL, *, min_valid=0.5, min_labelled=0.5, prune_fn=None):
    return reason_to_drop(
        np.asarray(image),
        mask,
        valid,
        valid_px=int(valid.sum()),
        labelled_px=int((mask != 255).sum()),
        min_valid=min_valid,
        min_labelled=min_labelled,
        prune_fn=prune_fn,
    )


def some(count: int) -> np.ndarray:
    return (np.arange(64) < count).reshape(8, 8)


def test_a_textured_patch_stays():
    assert reason(TEXTURE.astype(np.uint8)) is None


@pytest.mark.parametrize(("count", "expected"), [(32, None), (31, "invalid"), (0, "invalid")])
def test_too_few_valid_pixels(count, expected):
    assert reason(TEXTURE.astype(np.uint16), valid=some(count)) == expected


def test_no_valid_pixel_is_dropped_whatever_the_limit():
    assert reason(TEXTURE, valid=some(0), min_valid=0.0) == "invalid"


@pytest.mark.parametrize(("count", "expected"), [(32, None), (31, "unlabelled"), (0, "unlabelled")])
def test_too_few_labelled_pixels(count, expected):
    mask = np.where(some(count), 1, 255).astype(np.uint8)[..., None]
    assert reason(TEXTURE, mask) == expected


@pytest.mark.parametrize("bands", [1, 3, 13])
@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (0, "uint8", "black"),
        (255, "uint8", "white"),
        (255, "uint16", "constant"),
        (65535, "uint16", "white"),
        (32767, "int16", "white"),
        (0.0, "float32", "black"),
        (1.0, "float32", "constant"),
    ],
)
def test_flat_patches(bands, value, dtype, expected):
    assert reason(np.full((8, 8, bands), value, dtype)) == expected


def test_one_other_pixel_is_enough_to_stay():
    image = np.zeros((40, 40, 3), np.uint8)
    image[17, 23, 2] = 1
    mask, valid = np.zeros((40, 40, 1), np.uint8), np.ones((40, 40), bool)
    assert reason(image, mask, valid) is None
    valid[17, 23] = False
    assert reason(image, mask, valid) == "black"


def test_invalid_pixels_do_not_hide_a_flat_patch():
    image = np.full((8, 8, 1), 255, np.uint8)
    image[:4] = 0
    assert reason(image, valid=~some(32)) == "white"


def test_the_user_s_function_comes_last():
    seen = []

    def fn(image, mask):
        seen.append((image.shape, mask.shape))
        return True

    assert reason(TEXTURE, prune_fn=fn) == "prune_fn"
    assert reason(np.zeros((8, 8, 3), np.uint8), prune_fn=fn) == "black"
    assert seen == [((8, 8, 3), (8, 8, 1))]


def test_the_error_says_how_many_and_why():
    text = str(nothing_kept({"black": 2, "invalid": 7}, pair="a"))
    assert "pair a: no patch is left" in text
    assert "2 of which every valid pixel is 0, 7 with too few valid pixels" in text
    assert set(REASONS) >= {"black", "invalid"}
