"""Tests of gim_cv.sheets."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gim_cv.sheets import (
    GAP_PX,
    SHEET_ROWS,
    UNKNOWN,
    batch_sheet,
    contact_sheet,
    write_sheet,
)


@pytest.mark.parametrize("bands", [1, 4])
def test_a_row_is_image_truth_prediction(bands: int, tmp_path: Path) -> None:
    images = np.full((2, 8, 8, bands), 0.2, np.float32)
    images[1] = 0.6  # of two values, the lower is stretched to black, the higher to white
    masks = np.zeros((2, 8, 8, 1), np.uint8)
    masks[1, :4], masks[1, 4:] = 1, 255
    probabilities = np.full((2, 8, 8, 1), 0.4, np.float32)
    sheet = contact_sheet(images, masks, probabilities)
    step = 8 + GAP_PX
    assert sheet.shape == (2 * step, 3 * step, 3)
    columns = [0, step, 2 * step]
    assert sheet[0, columns, 0].tolist() == [0, 0, 102]
    assert sheet[step, columns, 0].tolist() == [255, 255, 102]
    assert sheet[step + 7, columns, 0].tolist() == [UNKNOWN] * 3
    assert (sheet[8:step] == 255).all()
    write_sheet(tmp_path / "sheet.png", sheet)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), sheet)


def test_classes_are_grey_levels() -> None:
    masks = np.array([[[[0], [1], [2]]]], np.uint8)
    probabilities = np.eye(3, dtype=np.float32)[None, None]
    sheet = contact_sheet(np.zeros((1, 1, 3, 3), np.float32), masks, probabilities)
    step = 3 + GAP_PX
    for column in (1, 2):
        assert sheet[0, column * step : column * step + 3, 0].tolist() == [0, 128, 255]


def test_nothing_known_is_still_a_sheet() -> None:
    masks = np.full((1, 2, 2, 1), 255, np.uint8)
    images = np.zeros((1, 2, 2, 3), np.float32)
    sheet = contact_sheet(images, masks, np.zeros((1, 2, 2, 1), np.float32))
    assert (sheet[:2, :2] == UNKNOWN).all()


def test_a_batch_is_shown_as_image_and_truth_of_its_first_patches() -> None:
    masks = np.zeros((SHEET_ROWS + 1, 8, 8, 1), np.uint8)
    masks[0], masks[1, 4:] = 1, 255
    images = np.zeros((SHEET_ROWS + 1, 8, 8, 3), np.float32)
    sheet = batch_sheet(images, masks, classes=3)
    step = 8 + GAP_PX
    assert sheet.shape == (SHEET_ROWS * step, 2 * step, 3)
    assert sheet[[0, step, step + 4], step, 0].tolist() == [128, 0, UNKNOWN]
