"""Tests of gim_cv.sheets."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gim_cv.sheets import GAP_PX, UNKNOWN, contact_sheet, write_sheet


@pytest.mark.parametrize(("bands", "shown"), [(1, (51, 51, 51)), (4, (51, 102, 153))])
def test_a_row_is_image_truth_prediction(
    bands: int, shown: tuple[int, ...], tmp_path: Path
) -> None:
    images = np.tile(np.array([0.2, 0.4, 0.6, 0.8][:bands], np.float32), (2, 8, 8, 1))
    masks = np.zeros((2, 8, 8, 1), np.uint8)
    masks[1, :4], masks[1, 4:] = 1, 255
    probabilities = np.full((2, 8, 8, 1), 0.4, np.float32)
    sheet = contact_sheet(images, masks, probabilities)
    step = 8 + GAP_PX
    assert sheet.shape == (2 * step, 3 * step, 3)
    assert tuple(sheet[0, 0]) == shown
    assert [int(sheet[step + row, step, 0]) for row in (0, 7)] == [255, UNKNOWN]
    assert int(sheet[0, 2 * step, 0]) == 102
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
