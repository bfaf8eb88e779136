"""Burning window by window is burning the whole."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from gim_cv.patches import Window
from gim_cv.shapes import Shapes, on_lattice

SIDE = 120
WHOLE = Window(0, 0, SIDE, SIDE)
COORDINATES = st.one_of(
    st.integers(-20, SIDE + 20).map(float),
    st.integers(-40, 2 * SIDE + 40).map(lambda v: v / 2),
    st.floats(-30, SIDE + 30, width=32),
)


@st.composite
def polygons(draw):
    """A triangle to hexagon, often with corners on pixel borders or centres; or a long sliver."""
    points = draw(st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=6))
    shape = shapely.make_valid(shapely.Polygon(points), method="structure", keep_collapsed=False)
    return draw(st.sampled_from([shape, shapely.buffer(shape, 0.7, quad_segs=2)]))


@st.composite
def shapes(draw) -> Shapes:
    drawn = [p for p in draw(st.lists(polygons(), min_size=1, max_size=5)) if not p.is_empty]
    drawn.append(shapely.box(3, 3, 9, 9))
    ids = np.arange(1, len(drawn) + 1, dtype=np.uint8)
    return Shapes(on_lattice(np.array(drawn)), ids, draw(st.booleans()))


@settings(deadline=None, max_examples=60)
@given(shapes(), st.integers(5, 60), st.integers(0, 30), st.integers(0, 30))
def test_windows_equal_the_whole(drawn, size, down, right):
    whole = drawn.burn(WHOLE, 0)
    for row in range(-down, SIDE, size):
        for col in range(-right, SIDE, size):
            window = Window(row, col, size, size)
            inside = window.clipped(SIDE, SIDE)
            part = drawn.burn(window, 0)[inside.within(window)]
            assert np.array_equal(part, whole[inside.slices])


def on_no_centre_line(geometries) -> bool:
    """No corner on the centre line of a row, where GDAL treats level edges by another rule."""
    return not np.any(shapely.get_coordinates(geometries)[:, 1] % 1 == 0.5)


@settings(deadline=None, max_examples=60)
@given(shapes().filter(lambda drawn: on_no_centre_line(drawn.geometries)))
def test_centres_are_what_rasterio_burns_at_once(drawn):
    pairs = zip(drawn.geometries, drawn.values.tolist(), strict=True)
    plain = rasterize(pairs, (SIDE, SIDE), all_touched=False, dtype="uint8")
    centres = Shapes(drawn.geometries, drawn.values, all_touched=False)
    assert np.array_equal(centres.burn(WHOLE, 0), plain)


@settings(deadline=None, max_examples=60)
@given(polygons())
def test_centres_inside_are_burnt_and_those_outside_are_not(polygon):
    polygon = on_lattice(np.array([polygon]))[0]
    if polygon.is_empty or not polygon.is_valid:
        return
    rows, cols = np.indices((SIDE, SIDE)) + 0.5
    centres = shapely.points(cols, rows)
    burnt = Shapes(np.array([polygon]), np.array([1], np.uint8), all_touched=False)
    mask = burnt.burn(WHOLE, 0) == 1
    shapely.prepare(polygon)
    assert mask[shapely.contains_properly(polygon, centres)].all()
    assert not mask[shapely.disjoint(polygon, centres)].any()


@settings(deadline=None, max_examples=60)
@given(polygons())
def test_touched_pixels_are_those_that_share_area(polygon):
    polygon = on_lattice(np.array([polygon]))[0]
    rows, cols = np.indices((SIDE, SIDE))
    boxes = shapely.box(cols, rows, cols + 1, rows + 1)
    if polygon.is_empty or not polygon.is_valid:
        return
    shapely.prepare(polygon)
    shares = shapely.relate_pattern(polygon, boxes, "T********")
    drawn = Shapes(np.array([polygon]), np.array([1], np.uint8), all_touched=True)
    assert np.array_equal(drawn.burn(WHOLE, 0) == 1, shares)
