"""Patches cover a raster, are all different, and stitch back to it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gim_cv.patches import PatchGrid, Window, cut, stitch

SIZES = st.integers(1, 70)


@st.composite
def grids(draw) -> PatchGrid:
    patch = draw(st.integers(1, 24))
    return PatchGrid(draw(SIZES), draw(SIZES), patch, draw(st.integers(1, patch)))


@given(grids())
def test_every_pixel_is_covered_and_no_two_patches_are_equal(grid):
    origins = grid.origins
    assert len(np.unique(origins, axis=0)) == len(origins) == len(grid)
    height, width = grid.shape
    count = np.zeros((height, width), int)
    for window in grid:
        assert window.row1 <= height
        assert window.col1 <= width
        count[window.slices] += 1
    assert count.min() >= 1


@given(grids())
def test_patches_stand_a_step_apart_but_for_the_last(grid):
    for starts in (grid.rows, grid.cols):
        assert (np.diff(starts)[:-1] == grid.step).all()
        assert (np.diff(starts)[-1:] <= grid.step).all()


@given(grids(), st.integers(0, 3), st.sampled_from(["uint8", "uint16", "float32"]))
def test_stitch_undoes_cut(grid, bands, dtype):
    shape = (grid.height, grid.width, bands)[: 3 if bands else 2]
    raster = np.random.default_rng(0).integers(1, 200, shape).astype(dtype)
    patches = cut(raster, grid.origins, grid.patch_px)
    assert patches.dtype == raster.dtype
    assert np.array_equal(stitch(patches, grid.origins, grid.height, grid.width), raster)


WINDOWS = st.builds(Window, st.integers(-30, 90), st.integers(-30, 90), SIZES, SIZES)


@given(WINDOWS, SIZES, SIZES)
def test_clipping_is_the_intersection(window, height, width):
    raster = {(r, c) for r in range(height) for c in range(width)}
    inside = window.clipped(height, width)
    rows, cols = range(window.row0, window.row1), range(window.col0, window.col1)
    kept = {(r, c) for r in rows for c in cols} & raster
    rows, cols = range(inside.row0, inside.row1), range(inside.col0, inside.col1)
    assert kept == {(r, c) for r in rows for c in cols}
    assert inside.clipped(height, width) == inside


@given(WINDOWS, st.integers(0, 5))
def test_a_window_finds_itself_in_a_grown_one(window, margin):
    around = window.grown(margin)
    rows, cols = np.mgrid[around.row0 : around.row1, around.col0 : around.col1]
    place = window.within(around)
    assert rows[place].shape == (window.height, window.width)
    assert rows[place][0, 0] == window.row0
    assert cols[place][0, 0] == window.col0


@given(WINDOWS, st.integers(1, 500))
def test_strips_are_the_window(window, most_px):
    strips = list(window.strips(most_px))
    rows = [row for strip in strips for row in range(strip.row0, strip.row1)]
    assert rows == list(range(window.row0, window.row1))
    assert all((strip.col0, strip.width) == (window.col0, window.width) for strip in strips)
    assert all(strip.height == 1 or strip.height * strip.width <= most_px for strip in strips)
