"""Where pixels lie on the ground."""

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS
from scenes import georeference

from gim_cv.errors import DataError
from gim_cv.grid import PixelGrid
from gim_cv.patches import Window

UTM = PixelGrid(CRS(32633), Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000), 80, 60)


def grid_at(crs: str, lat: float, metres: float, angle: float = 0.0) -> PixelGrid:
    crs, transform = georeference(crs, 15.0, lat, metres, angle)
    return PixelGrid(CRS(crs), transform, 100, 100)


@pytest.mark.parametrize(
    ("crs", "angle"),
    [
        ("EPSG:32633", 0.0),
        ("EPSG:32633", 0.4),
        ("EPSG:3857", 0.0),
        ("EPSG:3857", 0.4),
        ("EPSG:3035", 0.4),
        ("EPSG:4326", 0.0),
    ],
)
def test_resolution_is_true_metres_in_every_crs(crs, angle):
    assert grid_at(crs, 48.0, 0.25, angle).resolution_m == pytest.approx((0.25, 0.25), rel=6e-3)


def test_a_metre_of_web_mercator_is_half_a_metre_at_60_degrees():
    grid = PixelGrid(CRS(3857), Affine(1, 0, 0, 0, -1, 8_399_737.9), 10, 10)
    assert grid.resolution_m == pytest.approx((0.5, 0.5), rel=5e-3)


def test_a_place_off_the_earth_has_no_resolution():
    grid = PixelGrid(CRS(32633), Affine(0.5, 0, 1e12, 0, -0.5, 1e12), 10, 10)
    with pytest.raises(DataError, match="not a place on the ground"):
        _ = grid.resolution_m


def test_pixels_invert_lonlat():
    grid = grid_at("EPSG:32633", 48.0, 0.25, 0.4)
    rows, cols = np.array([0.0, 17.5, 100.0]), np.array([3.0, 50.0, 99.5])
    back = grid.pixels(*grid.lonlat(rows, cols))
    assert np.allclose(back, (rows, cols), atol=1e-6)


def test_a_part_keeps_its_place():
    part = UTM.part(Window(10, 20, 5, 6))
    assert (part.height, part.width) == (5, 6)
    assert part.transform == Affine(0.5, 0, 500_010, 0, -0.5, 3_999_995)
    turned = grid_at("EPSG:32633", 48.0, 0.25, 0.4)
    there = turned.part(Window(10, 20, 5, 6)).lonlat(np.array([1.0]), np.array([2.0]))
    assert np.allclose(there, turned.lonlat(np.array([11.0]), np.array([22.0])), atol=1e-12)


def test_bounds_become_whole_pixels_and_neighbours_share_none():
    west = UTM.bounds_window((500_000, 3_999_960, 500_010.2, 4_000_000))
    east = UTM.bounds_window((500_010.2, 3_999_960, 500_030, 4_000_000))
    assert west == Window(0, 0, 80, 20)
    assert east == Window(0, 20, 80, 40)


def test_bounds_are_clipped_to_the_raster():
    assert UTM.bounds_window((0, 0, 500_005, 4_100_000)) == Window(0, 0, 80, 10)


def test_bounds_elsewhere_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.tif: bounds hold no pixel"):
        UTM.bounds_window((0, 0, 10, 10), path=tmp_path / "a.tif")


def test_factors_and_size_of_a_resampled_grid():
    own = UTM.resolution_m[0]
    factors = UTM.factors(2 * own)
    assert factors == pytest.approx((2, 2), rel=1e-6)
    coarse = UTM.resampled((2.0, 2.0))
    assert (coarse.height, coarse.width) == (40, 30)
    assert coarse.transform == Affine(1, 0, 500_000, 0, -1, 4_000_000)
    assert UTM.resampled((2.0, 8.0)).width == 8  # 7.5 rounds up
    assert UTM.resampled((999.0, 999.0)).height == 1


@pytest.mark.parametrize("share", [0, 1, 0.992, 1.009])
def test_close_to_native_is_native(share):
    assert UTM.factors(share * UTM.resolution_m[0]) == (1.0, 1.0)


def test_a_negative_resolution_is_refused():
    with pytest.raises(DataError, match="negative"):
        UTM.factors(-1)


def test_attrs_round_trip():
    again = PixelGrid.from_attrs(UTM.attrs())
    assert again == UTM


def test_a_crs_that_is_not_of_the_earth_is_one_clear_error():
    local = CRS('LOCAL_CS["arbitrary",UNIT["metre",1]]')
    with pytest.raises(DataError, match=r"no way from arbitrary to WGS 84.*gdal_edit"):
        _ = PixelGrid(local, UTM.transform, 80, 60).resolution_m
