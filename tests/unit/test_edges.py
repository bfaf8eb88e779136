"""Which pixels a polygon holds and which its edges pass through, drawn by hand."""

import numpy as np
import pytest
import shapely

from gim_cv.edges import LATTICE, Edges, held, passed, ranges
from gim_cv.patches import Window
from gim_cv.shapes import Shapes

WHOLE = Window(0, 0, 6, 6)


def drawing(spans, window=WHOLE) -> list[str]:
    """The spans as rows of text."""
    picture = np.full((window.height, window.width), ".")
    for row, start, stop, _ in spans.T:
        picture[row, start:stop] = "#"
    return ["".join(row) for row in picture]


def edges_of(*points, window=WHOLE, holes=()):
    polygon = np.array([shapely.Polygon(points, holes)])
    return Edges.of(polygon).near(np.array([0]), window)


def test_centres_of_a_triangle():
    ends, rank = edges_of((0, 0), (6, 0), (0, 6))
    assert drawing(held(ends, rank, WHOLE)) == [
        "######",
        "#####.",
        "####..",
        "###...",
        "##....",
        "#.....",
    ]


def test_edges_of_a_triangle_pass_through_its_long_side_only():
    ends, rank = edges_of((0, 0), (6, 0), (0, 6))
    assert drawing(passed(ends, rank, WHOLE)) == [
        ".....#",
        "....#.",
        "...#..",
        "..#...",
        ".#....",
        "#.....",
    ]


def test_a_box_between_pixels_is_passed_all_around():
    ends, rank = edges_of((1.5, 1.5), (4.5, 1.5), (4.5, 3.5), (1.5, 3.5))
    assert drawing(passed(ends, rank, WHOLE)) == [
        "......",
        ".####.",
        ".#..#.",
        ".####.",
        "......",
        "......",
    ]


def test_a_box_on_pixel_borders_passes_through_nothing():
    ends, rank = edges_of((1, 1), (4, 1), (4, 3), (1, 3))
    assert passed(ends, rank, WHOLE).shape == (4, 0)
    assert drawing(held(ends, rank, WHOLE))[1:3] == [".###..", ".###.."]


def test_holes_are_left_out():
    hole = [(2, 2), (4, 2), (4, 4), (2, 4)]
    ends, rank = edges_of((0, 0), (6, 0), (6, 6), (0, 6), holes=[hole])
    assert drawing(held(ends, rank, WHOLE))[2:4] == ["##..##", "##..##"]


def test_a_window_sees_what_lies_beyond_its_sides():
    window = Window(2, 2, 2, 2)
    ends, rank = edges_of((-9, -9), (20, -9), (20, 20), (-9, 20), window=window)
    assert drawing(held(ends, rank, window), window) == ["##", "##"]
    assert passed(ends, rank, window).shape == (4, 0)


def test_edges_know_their_polygon():
    parts = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 3, 4, 4)])
    edges = Edges.of(np.array([shapely.box(0, 0, 2, 2), shapely.Polygon(), parts]))
    assert edges.first.tolist() == [0, 4, 4, 12]
    assert edges.ends.max() == 4 * LATTICE
    _, rank = edges.near(np.array([2]), WHOLE)
    assert rank.tolist() == [0] * 8


def test_of_overlapping_shapes_the_last_is_seen():
    boxes = np.array([shapely.box(0, 0, 4, 4), shapely.box(2, 2, 6, 6), shapely.box(3, 0, 4, 6)])
    burnt = Shapes(boxes, np.array([1, 2, 3], np.uint8), all_touched=True).burn(WHOLE, 9)
    assert burnt.tolist() == [
        [1, 1, 1, 3, 9, 9],
        [1, 1, 1, 3, 9, 9],
        [1, 1, 2, 3, 2, 2],
        [1, 1, 2, 3, 2, 2],
        [9, 9, 2, 3, 2, 2],
        [9, 9, 2, 3, 2, 2],
    ]


@pytest.mark.parametrize("side", [3, 700, 2000])
def test_large_windows_are_painted_in_bands(side):
    ring = shapely.Point(side * 0.51, side * 0.48).buffer(side * 0.3)
    one = Shapes(np.array([ring]), np.array([1], np.uint8), all_touched=False)
    window = Window(0, 0, side, side)
    rows, cols = np.indices((side, side)) + 0.5
    inside = shapely.contains_xy(ring, cols, rows)
    assert (one.burn(window, 0) != inside).mean() < 0.01


def test_ranges_are_laid_end_to_end():
    which, number = ranges(np.array([3, 7, 0]), np.array([5, 7, 3]))
    assert which.tolist() == [0, 0, 2, 2, 2]
    assert number.tolist() == [3, 4, 0, 1, 2]
