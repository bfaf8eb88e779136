"""Overlapping windows become one raster: no seam, no gap, the same wherever it is begun."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim_cv.blending import blended, rows_from, shares, taper
from gim_cv.patches import PatchGrid, Window, padded

SIZES = st.integers(1, 60)


@st.composite
def grids(draw) -> PatchGrid:
    patch = draw(st.integers(1, 24))
    return PatchGrid(draw(SIZES), draw(SIZES), patch, draw(st.integers(1, patch)))


def answers(grid, channels, seed=0):
    """A random answer for each window."""
    rng = np.random.default_rng(seed)
    shape = grid.patch_px, grid.patch_px, channels
    return [(window, rng.random(shape, np.float32)) for window in grid]


def whole(found, grid, channels, first_row=0):
    """The rows from `first_row` on as one array, each strip checked to follow on the last."""
    strips, row = [np.zeros((0, grid.width, channels), np.float32)], min(first_row, grid.height)
    for start, values in blended(found, grid, channels, first_row):
        assert start == row
        assert values.shape[0] > 0
        assert values.dtype == np.float32
        strips.append(values)
        row += len(values)
    assert row == grid.height
    return np.concatenate(strips)


def weighted_mean(found, grid, channels):
    """The mean over the whole raster at once, weighted by the distance from a window's edge."""
    down = np.sin(np.pi * (np.arange(grid.patch_px) + 0.5) / grid.patch_px) ** 2
    weight = (down[:, None] * down)[..., None]
    total, sums = np.zeros((*grid.shape, 1)), np.zeros((*grid.shape, channels))
    for window, values in found:
        total[window.slices] += weight
        sums[window.slices] += weight * values
    return (sums / total)[: grid.height, : grid.width]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096])
def test_a_window_counts_for_less_towards_its_edges_but_never_for_nothing(size):
    weight = taper(size)
    assert weight.min() > 0
    assert np.allclose(weight, weight[::-1], rtol=1e-4, atol=0)
    assert (np.diff(weight[: (size + 1) // 2]) > 0).all()


@given(grids())
def test_shares_sum_to_one_at_every_pixel(grid):
    total = np.zeros(grid.shape)
    down, across = (shares(starts, grid.patch_px) for starts in (grid.rows, grid.cols))
    products = [row[:, None] * col for row in down for col in across]
    for window, share in zip(grid, products, strict=True):
        assert share.min() > 0
        total[window.slices] += share
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(grids(), st.integers(1, 3))
def test_windows_cut_from_a_raster_give_it_back(grid, channels):
    raster = np.random.default_rng(1).random((grid.height, grid.width, channels), np.float32)
    around = padded(raster, *grid.shape, fill=0.5)
    found = [(window, around[window.slices]) for window in grid]
    np.testing.assert_allclose(whole(found, grid, channels), raster, atol=1e-6)


@given(grids(), st.integers(1, 3))
def test_what_disagrees_is_averaged_by_weight(grid, channels):
    found = answers(grid, channels)
    wanted = weighted_mean(found, grid, channels)
    np.testing.assert_allclose(whole(found, grid, channels), wanted, atol=2e-6)


def test_two_windows_that_disagree_meet_without_a_step():
    grid = PatchGrid(64, 96, 64, 32)
    left, right = np.zeros((64, 64, 1), np.float32), np.ones((64, 64, 1), np.float32)
    line = whole([(Window(0, 0, 64, 64), left), (Window(0, 32, 64, 64), right)], grid, 1)[0, :, 0]
    assert line[:32].max() == 0
    assert line[64:].min() == 1
    assert (np.diff(line) >= 0).all()
    assert np.diff(line).max() < 0.06


@given(grids(), st.integers(0, 70))
def test_begun_at_any_row_the_rows_are_the_same_bit_for_bit(grid, first_row):
    found = answers(grid, 2)
    all_rows = whole(found, grid, 2)
    needed = set(rows_from(grid, first_row).tolist())
    rest = [(window, values) for window, values in found if window.row0 in needed]
    assert np.array_equal(whole(rest, grid, 2, first_row), all_rows[first_row:])
    assert np.array_equal(whole(found, grid, 2, first_row), all_rows[first_row:])


@given(grids(), st.integers(0, 70))
def test_only_windows_that_reach_a_row_are_needed_for_it(grid, first_row):
    needed = rows_from(grid, first_row).tolist()
    reach = [row for row in grid.rows.tolist() if row + grid.patch_px > first_row]
    assert needed == (reach if first_row < grid.height else [])


@given(grids(), st.data())
def test_windows_left_out_disturb_no_other(grid, data):
    found = answers(grid, 1)
    kept = data.draw(st.sets(st.sampled_from(range(len(found)))))
    some = whole([found[number] for number in sorted(kept)], grid, 1)
    touched, missed = np.zeros((2, *grid.shape), bool)
    for number, (window, _) in enumerate(found):
        (touched if number in kept else missed)[window.slices] = True
    inside = np.s_[: grid.height, : grid.width]
    assert not some[~touched[inside]].any()
    every = whole(found, grid, 1)
    assert np.array_equal(some[~missed[inside]], every[~missed[inside]])


@given(grids(), st.data())
def test_whole_rows_of_windows_may_be_left_out(grid, data):
    found = answers(grid, 1)
    rows = data.draw(st.sets(st.sampled_from(grid.rows.tolist())))
    some = whole([item for item in found if item[0].row0 in rows], grid, 1)
    touched = np.zeros(grid.height, bool)
    for row in rows:
        touched[row : row + grid.patch_px] = True
    assert not some[~touched].any()
    assert (some[touched] > 0).any(axis=(1, 2)).all()


def test_nothing_is_held_but_one_row_of_windows():
    grid = PatchGrid(1000, 8, 8, 4)
    seen = []

    def windows():
        for window, values in answers(grid, 1):
            seen.append(window.row0)
            yield window, values

    for row, values in blended(windows(), grid, 1):
        assert row + len(values) <= seen[-1] + 8
        assert row + 8 >= seen[-1]
