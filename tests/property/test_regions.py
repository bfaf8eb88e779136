"""Patches show every whole pixel of a split's regions, and begin at their edges."""

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity

from gim_cv.patches import PatchGrid
from gim_cv.regions import cover, visible

HEIGHT, WIDTH = 60, 70
STEPS = 256  # coordinates on a lattice: no edge lies within the slack of a pixel's border


def lattice(shape):
    return shapely.transform(shape, lambda xy: np.round(xy * STEPS) / STEPS)


@st.composite
def ground(draw) -> list[shapely.Polygon]:
    """Turned rectangles, some of them beside each other or beyond the raster."""
    boxes = []
    for _ in range(draw(st.integers(1, 4))):
        x, y = draw(st.integers(-20, WIDTH)), draw(st.integers(-20, HEIGHT))
        box = shapely.box(x, y, x + draw(st.integers(1, 50)), y + draw(st.integers(1, 50)))
        boxes.append(lattice(affinity.rotate(box, draw(st.sampled_from([0, 0, 7, 45])))))
    return boxes


def whole_pixels(shape) -> np.ndarray:
    """(HEIGHT, WIDTH) bool: pixels that lie inside."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    return shapely.covers(shape, shapely.box(cols, rows, cols + 1, rows + 1))


@given(own=ground(), hidden=ground(), patch=st.integers(1, 24), step=st.integers(1, 24))
def test_every_whole_pixel_is_shown_and_no_two_patches_are_equal(own, hidden, patch, step):
    grid = PatchGrid(HEIGHT, WIDTH, patch, min(step, patch))
    origins = cover(visible(np.array(own), np.array(hidden), HEIGHT, WIDTH), grid)
    assert len(np.unique(origins, axis=0)) == len(origins)
    shown = np.zeros((HEIGHT, WIDTH), bool)
    for row, col in origins.tolist():
        assert 0 <= row <= HEIGHT - patch
        assert 0 <= col <= WIDTH - patch
        shown[row : row + patch, col : col + patch] = True
    seen = shapely.difference(shapely.union_all(own), shapely.union_all(hidden))
    assert not (whole_pixels(seen) & ~shown).any()


def test_a_rectangle_has_as_many_patches_as_fit_from_its_own_corner():
    region = shapely.box(13.3, 7.6, 46.2, 40.1)  # 32 by 32 whole pixels
    origins = cover([region], PatchGrid(HEIGHT, WIDTH, 16, 16))
    assert origins.tolist() == [[8, 14], [8, 30], [24, 14], [24, 30]]


def test_a_step_in_the_ground_is_followed_by_columns_where_that_takes_fewer():
    stairs = shapely.union_all([shapely.box(0, 0, 16, 32), shapely.box(16, 8, 32, 40)])
    origins = cover([stairs], PatchGrid(HEIGHT, WIDTH, 16, 16))
    assert origins.tolist() == [[0, 0], [8, 16], [16, 0], [24, 16]]


def test_what_one_patch_shows_of_the_next_piece_needs_no_other():
    pieces = shapely.union_all(
        [shapely.box(0, 0, 40, 1), shapely.box(0, 0, 3, 6), shapely.box(9, 0, 12, 6)]
    )
    origins = cover([pieces], PatchGrid(HEIGHT, 40, 16, 16))
    assert origins.tolist() == [[0, 0], [0, 16], [0, 24]]


def test_cells_that_share_an_edge_are_one_region():
    slit = 1e-9
    cells = np.array([shapely.box(0, 0, 20, 20), shapely.box(20 + slit, 0, 40, 20)])
    assert len(visible(cells, np.array([]), HEIGHT, WIDTH)) == 1


def test_a_region_beyond_the_edge_has_a_patch_that_ends_there():
    origins = cover([shapely.box(64, 50, 70, 60)], PatchGrid(HEIGHT, WIDTH, 16, 16))
    assert origins.tolist() == [[44, 54]]
    assert cover([], PatchGrid(HEIGHT, WIDTH, 16, 16)).shape == (0, 2)
