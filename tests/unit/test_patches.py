"""Windows, starts, cutting and stitching, worked by hand."""

import numpy as np
import pytest

from gim_cv.errors import ConfigError
from gim_cv.patches import PatchGrid, Window, cut, padded, starts, step_px, stitch


def test_a_window_knows_its_edges():
    window = Window(2, 3, 4, 5)
    assert (window.row1, window.col1) == (6, 8)
    assert window.slices == (slice(2, 6), slice(3, 8))
    assert window.grown(1) == Window(1, 2, 6, 7)


@pytest.mark.parametrize(
    ("window", "inside"),
    [
        (Window(0, 0, 4, 4), Window(0, 0, 4, 4)),
        (Window(8, 9, 4, 4), Window(8, 9, 2, 1)),
        (Window(-2, -3, 4, 4), Window(0, 0, 2, 1)),
        (Window(20, 0, 4, 4), Window(10, 0, 0, 4)),
        (Window(-9, -9, 4, 4), Window(0, 0, 0, 0)),
    ],
)
def test_clipping_keeps_what_is_inside(window, inside):
    assert window.clipped(10, 10) == inside


def test_within_gives_the_place_in_a_larger_window():
    outer = np.arange(100).reshape(10, 10)[2:8, 1:9]
    assert outer[Window(3, 4, 2, 2).within(Window(2, 1, 6, 8))].tolist() == [[34, 35], [44, 45]]


@pytest.mark.parametrize(
    ("patch", "overlap", "step"), [(256, 0, 256), (256, 0.5, 128), (100, 0.25, 75), (3, 0.99, 1)]
)
def test_step_follows_from_overlap(patch, overlap, step):
    assert step_px(patch, overlap) == step


@pytest.mark.parametrize(("patch", "overlap"), [(0, 0.0), (8, 1.0), (8, -0.1)])
def test_step_refuses_what_cannot_be(patch, overlap):
    with pytest.raises(ConfigError, match=r"patch_px|overlap"):
        step_px(patch, overlap)


@pytest.mark.parametrize(
    ("length", "step", "expected"),
    [
        (12, 4, [0, 4, 8]),  # fits
        (13, 4, [0, 4, 8, 9]),  # the last is shifted back
        (4, 4, [0]),
        (5, 4, [0, 1]),
        (3, 4, [0]),  # shorter than a patch
        (8, 2, [0, 2, 4]),
        (9, 2, [0, 2, 4, 5]),
    ],
)
def test_starts_shift_the_last_patch(length, step, expected):
    assert starts(length, 4, step).tolist() == expected


def test_grid_lists_patches_row_by_row():
    grid = PatchGrid(5, 9, 4, 4)
    assert [(w.row0, w.col0) for w in grid] == [(0, 0), (0, 4), (0, 5), (1, 0), (1, 4), (1, 5)]
    assert len(grid) == 6
    assert grid.shape == (5, 9)
    assert PatchGrid(2, 9, 4, 4).shape == (4, 9)


def test_cut_fills_beyond_the_edge():
    patches = cut(np.ones((3, 5, 2), np.uint16), np.array([[0, 0], [0, 3]]), 4, fill=9)
    assert patches.shape == (2, 4, 4, 2)
    assert patches.dtype == np.uint16
    assert patches[0, :3].max() == 1
    assert patches[0, 3].min() == 9
    assert patches[1, :3, 2:].min() == 9


def test_nothing_to_cut_is_an_empty_array():
    assert cut(np.ones((3, 5, 2)), np.zeros((0, 2), np.int64), 4).shape == (0, 4, 4, 2)


def test_stitch_lets_the_later_patch_win():
    patches = np.stack([np.full((2, 2), 1), np.full((2, 2), 2)])
    raster = stitch(patches, np.array([[0, 0], [0, 1]]), 3, 3)
    assert raster.tolist() == [[1, 2, 2], [1, 2, 2], [0, 0, 0]]


def test_padding_copies_only_where_it_must():
    array = np.ones((4, 4))
    assert padded(array, 3, 4) is array
    assert padded(array, 5, 4, fill=7)[4].tolist() == [7, 7, 7, 7]
