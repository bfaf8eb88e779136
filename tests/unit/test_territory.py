"""Which patches of a raster go to which split, and what they may not see."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS
from scenes import PLAIN, RULE, georeference

from gim_cv.errors import ConfigError, DataError
from gim_cv.grid import PixelGrid
from gim_cv.patches import PatchGrid, Window
from gim_cv.territory import cell_polygons, footprint, survey

GRID = PixelGrid(CRS(32633), PLAIN, 300, 260)


def territory(grid=GRID, rule=RULE, *, forced=None, reach_px=0.0):
    return survey(grid, rule, pair="p", forced=forced, reach_px=reach_px)


def foreign(ground, window):
    """Split code → what it must not see."""
    hidden = {code: ground.foreign(window, code) for code in ground.codes}
    return {code: blank for code, blank in hidden.items() if blank is not None}


def test_a_forced_pair_is_one_territory():
    whole = territory(forced="val")
    table = whole.patches(PatchGrid(300, 260, 100, 100))
    assert table[:, 2].tolist() == [1] * 9
    assert foreign(whole, Window(0, 0, 300, 260)) == {}
    assert whole.attrs()["rule"] is None
    assert whole.attrs()["splits"] == ["val"]


def test_mode_pairs_goes_by_name():
    rule = replace(RULE, mode="pairs")
    assert territory(rule=rule).codes == (rule.of_pair("p"),)


def test_only_one_split_needs_no_cells():
    whole = territory(rule=replace(RULE, fractions=(1.0, 0.0)))
    assert whole.codes == (0,)
    assert foreign(whole, Window(0, 0, 50, 50)) == {}
    assert whole.attrs()["rule"]["fractions"] == [1.0, 0.0]


def test_each_split_that_a_patch_meets_has_it_once():
    ground = territory()
    table = ground.patches(PatchGrid(300, 260, 64, 64))
    assert len(np.unique(table, axis=0)) == len(table)
    assert (np.lexsort(table.T[::-1]) == np.arange(len(table))).all()
    rows, cols = np.mgrid[:300, :260] + 0.5
    codes = RULE.of_places(*GRID.lonlat(rows, cols))
    for row, col, code in table.tolist():
        assert (codes[row : row + 64, col : col + 64] == code).any()


def test_foreign_pixels_are_those_another_cell_touches():
    rows, cols = np.mgrid[:301, :261].astype(float)
    codes = RULE.of_places(*GRID.lonlat(rows, cols))
    corners = np.stack([codes[:-1, :-1], codes[1:, :-1], codes[:-1, 1:], codes[1:, 1:]])
    hidden = foreign(territory(), Window(0, 0, 300, 260))
    assert set(hidden) == {0, 1, 2}
    for code, blank in hidden.items():
        other = (corners != code).any(axis=0)
        assert not (other & ~blank).any()
        assert (blank & ~other).sum() < 0.005 * blank.size


def test_a_window_inside_one_cell_hides_it_from_the_others_only():
    rows, cols = np.mgrid[:300, :260] + 0.5
    code = int(RULE.of_places(*GRID.lonlat(rows, cols))[150, 150])
    hidden = foreign(territory(), Window(150, 150, 1, 1))
    assert code not in hidden
    assert all(blank.all() for blank in hidden.values())


def test_a_buffer_leaves_its_width_between_splits():
    rule = replace(RULE, buffer_m=6.0)
    hidden = foreign(territory(rule=rule), Window(0, 0, 300, 260))
    seen = {code: np.argwhere(~blank) * 0.5 for code, blank in hidden.items()}
    for one in (0, 1):
        for other in range(one + 1, 3):
            nearest = min(np.hypot(*(seen[other] - point).T).min() for point in seen[one][::37])
            assert nearest - 0.5 * np.sqrt(2) >= 6.0 - 1.5
            assert nearest >= 6.0


def test_reach_widens_what_is_hidden():
    window = Window(0, 0, 300, 260)
    near, far = foreign(territory(), window), foreign(territory(reach_px=2.0), window)
    for code, blank in near.items():
        assert (blank <= far[code]).all()
        assert far[code].sum() > blank.sum()


def test_cells_are_where_the_rule_says():
    lon, lat = GRID.lonlat(np.array([150.0]), np.array([130.0]))
    rows, cols = (np.floor(v).astype(int) for v in _cell(lon, lat))
    polygon = cell_polygons(GRID, rows, cols, RULE.block_m)[0]
    x0, y0, x1, y1 = polygon.bounds
    assert x0 <= 130 <= x1
    assert y0 <= 150 <= y1
    assert (x1 - x0) * 0.5 == pytest.approx(RULE.block_m, rel=0.02)
    assert (y1 - y0) * 0.5 == pytest.approx(RULE.block_m, rel=0.02)


def _cell(lon, lat):
    from gim_cv.ground import cells_of

    return cells_of(lon, lat, RULE.block_m)


def test_a_footprint_is_in_degrees():
    west, south, east, north = footprint(GRID).bounds
    assert (west, north) == pytest.approx((15.0, 36.144), abs=1e-3)
    assert east - west == pytest.approx(130 / 90_000, rel=0.02)
    assert north - south == pytest.approx(150 / 111_000, rel=0.02)


def test_a_territory_pickles():
    window = Window(10, 10, 50, 60)
    again = pickle.loads(pickle.dumps(territory()))
    for code, blank in foreign(territory(), window).items():
        assert np.array_equal(again.foreign(window, code), blank)


def test_cells_of_a_few_pixels_are_refused():
    with pytest.raises(ConfigError, match="block_m is too small"):
        territory(rule=replace(RULE, block_m=3.0))
    huge = PixelGrid(GRID.crs, GRID.transform, 100_000, 100_000)
    with pytest.raises(ConfigError, match="too many cells"):
        territory(huge, replace(RULE, block_m=4.5))


def test_the_antimeridian_and_the_poles_are_refused():
    crs, transform = georeference("EPSG:32601", 179.9995, 10.0, 1.0)
    with pytest.raises(DataError, match="antimeridian"):
        territory(PixelGrid(CRS(crs), transform, 200, 200))
    pole = PixelGrid(CRS(3031), Affine(1, 0, -100, 0, -1, 100), 200, 200)
    with pytest.raises(DataError, match="pole"):
        territory(pole)
    assert territory(pole, forced="test").codes == (2,)
