"""Label rasters: values, places, what is unknown."""

import pickle

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Transformer
from scenes import PLAIN

from gim_cv.errors import DataError
from gim_cv.grid import PixelGrid
from gim_cv.maskraster import open_mask_raster
from gim_cv.patches import Window

GRID = PixelGrid(CRS(32633), PLAIN, 60, 80)
WHOLE = GRID.window
CHECKS = (np.indices((60, 80)).sum(axis=0) // 5 % 2).astype(np.uint8)


def write(path, array, transform=PLAIN, crs="EPSG:32633", **profile):
    planes = array if array.ndim == 3 else array[None]
    count, height, width = planes.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=planes.dtype,
        crs=crs,
        transform=transform,
        **profile,
    ) as sink:
        sink.write(planes)
    return path


def open_it(path, **options):
    defaults = {"mask_values": None, "ignore_values": (), "n_classes": 2, "labels_crs": None}
    return open_mask_raster(path, grid=GRID, **(defaults | options))


def test_the_same_grid_is_read_as_it_is(tmp_path):
    source = open_it(write(tmp_path / "m.tif", CHECKS))
    assert np.array_equal(source.burn(WHOLE, 255), CHECKS)
    assert np.array_equal(source.burn(Window(7, 9, 11, 13), 255), CHECKS[7:18, 9:22])
    assert source.cover == 1


def test_a_shifted_grid_is_unknown_outside(tmp_path):
    moved = Affine(0.5, 0, 500_005, 0, -0.5, 3_999_990)  # 10 px right, 20 px down
    source = open_it(write(tmp_path / "m.tif", CHECKS, moved))
    mask = source.burn(WHOLE, 255)
    assert np.array_equal(mask[20:, 10:], CHECKS[:40, :70])
    assert (mask[:20] == 255).all()
    assert (mask[:, :10] == 255).all()
    assert source.cover == pytest.approx(40 * 70 / (60 * 80), abs=0.02)


def test_a_coarser_grid_gives_its_nearest_pixel(tmp_path):
    coarse = Affine(1.0, 0, 500_000, 0, -1.0, 4_000_000)
    source = open_it(write(tmp_path / "m.tif", CHECKS[:30, :40], coarse))
    assert np.array_equal(source.burn(WHOLE, 255), CHECKS[:30, :40].repeat(2, 0).repeat(2, 1))


def test_another_crs_gives_the_pixel_under_each_centre(tmp_path):
    x, y = Transformer.from_crs(32633, 3857, always_xy=True).transform(500_000, 4_000_000)
    there = Affine(0.6, 0, x - 9.1, 0, -0.6, y + 3.3)
    source = open_it(write(tmp_path / "m.tif", CHECKS, there, "EPSG:3857"))
    rows, cols = np.indices((60, 80)) + 0.5
    lon_lat = GRID.lonlat(rows, cols)
    mx, my = Transformer.from_crs(4326, 3857, always_xy=True).transform(*lon_lat)
    r = np.floor((my - there.f) / there.e).astype(int)
    c = np.floor((mx - there.c) / there.a).astype(int)
    inside = (r >= 0) & (r < 60) & (c >= 0) & (c < 80)
    expected = np.where(inside, CHECKS[r.clip(0, 59), c.clip(0, 79)], 255)
    assert (expected == 255).any()
    assert np.array_equal(source.burn(WHOLE, 255), expected)
    part = Window(13, 5, 31, 40)
    assert np.array_equal(source.burn(part, 255), expected[part.slices])


def test_values_become_classes(tmp_path):
    path = write(tmp_path / "m.tif", CHECKS * 255)
    assert np.array_equal(open_it(path, mask_values={0: 0, 255: 1}).burn(WHOLE, 255), CHECKS)
    with pytest.raises(DataError, match=r"found 255.*mask_values"):
        open_it(path).burn(WHOLE, 255)


def test_0_and_black_are_background_where_no_value_is(tmp_path):
    path = write(tmp_path / "m.tif", CHECKS * 255)
    assert np.array_equal(open_it(path, mask_values={255: 1}).burn(WHOLE, 255), CHECKS)
    ignored = open_it(path, mask_values={255: 1}, ignore_values=[0]).burn(WHOLE, 255)
    assert np.array_equal(ignored, np.where(CHECKS, 1, 255))
    with pytest.raises(DataError, match=r"expected one of 255, found 0"):
        open_it(path, mask_values={255: 0}).burn(WHOLE, 255)
    path = write(tmp_path / "n.tif", CHECKS * 255, nodata=0)
    assert np.array_equal(open_it(path, mask_values={255: 1}).burn(WHOLE, 255), ignored)
    planes = np.stack([CHECKS * 200, CHECKS * 0, CHECKS * 0])
    path = write(tmp_path / "c.tif", planes)
    assert np.array_equal(open_it(path, mask_values={(200, 0, 0): 1}).burn(WHOLE, 255), CHECKS)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_any_type_of_value(tmp_path, dtype):
    values = CHECKS.astype(dtype) * 4000 + 1
    if dtype == "float32":
        values[0, 0] = np.nan
    mask = open_it(write(tmp_path / "m.tif", values), mask_values={1: 0, 4001: 1}).burn(WHOLE, 255)
    assert np.array_equal(mask[1:], CHECKS[1:])
    assert mask[0, 0] == (255 if dtype == "float32" else CHECKS[0, 0])


def test_colours_become_classes(tmp_path):
    planes = np.stack([CHECKS * 200, CHECKS * 0, 50 - CHECKS * 50])
    path = write(tmp_path / "m.tif", planes)
    colours = {(0, 0, 50): 0, (200, 0, 0): 1}
    assert np.array_equal(open_it(path, mask_values=colours).burn(WHOLE, 255), CHECKS)
    with pytest.raises(DataError, match=r"\(0, 0, 50\)"):
        open_it(path, mask_values={(200, 0, 0): 1}).burn(WHOLE, 255)
    with pytest.raises(DataError, match="3 bands"):
        open_it(write(tmp_path / "one.tif", CHECKS), mask_values=colours)


COLOURS = {(0, 0, 0): 0, (200, 0, 0): 1}


@pytest.mark.parametrize("nodata", [0, 7])
def test_a_colour_raster_may_have_nodata(tmp_path, nodata):
    planes = np.stack([CHECKS * 200, CHECKS * 0, CHECKS * 0])
    planes[:, :, 3] = nodata
    path = write(tmp_path / "m.tif", planes, nodata=nodata)
    mask = open_it(path, mask_values=COLOURS).burn(WHOLE, 255)
    assert (mask[:, 3] == (255 if nodata else 0)).all()
    assert np.array_equal(np.delete(mask, 3, 1), np.delete(CHECKS, 3, 1))


def test_colours_may_be_unknown(tmp_path):
    planes = np.stack([CHECKS * 200, CHECKS * 0, CHECKS * 0])
    planes[:, 0], planes[:, 1] = 9, np.array([[1], [2], [3]])
    path = write(tmp_path / "m.tif", planes)
    mask = open_it(path, mask_values=COLOURS, ignore_values=[9, (1, 2, 3)]).burn(WHOLE, 0)
    assert (mask[:2] == 255).all()
    assert np.array_equal(mask[2:], CHECKS[2:])


@pytest.mark.parametrize("value", [-1, 256, 999])
def test_a_value_that_no_byte_has_marks_nothing(tmp_path, value):
    path = write(tmp_path / "m.tif", CHECKS * 255)
    mask = open_it(path, mask_values={0: 0, 255: 1}, ignore_values=[value]).burn(WHOLE, 255)
    assert np.array_equal(mask, CHECKS)


def test_nodata_and_ignored_values_are_unknown(tmp_path):
    values = CHECKS.copy()
    values[0], values[1] = 9, 7
    mask = open_it(write(tmp_path / "m.tif", values, nodata=9), ignore_values=[7]).burn(WHOLE, 0)
    assert (mask[:2] == 255).all()
    assert np.array_equal(mask[2:], CHECKS[2:])


def test_nodata_that_has_a_class_is_that_class(tmp_path):
    path = write(tmp_path / "m.tif", CHECKS, nodata=0)
    assert np.array_equal(open_it(path, mask_values={0: 0, 1: 1}).burn(WHOLE, 255), CHECKS)
    assert np.array_equal(open_it(path).burn(WHOLE, 255), np.where(CHECKS == 0, 255, CHECKS))


def test_an_internal_mask_is_unknown(tmp_path):
    path = write(tmp_path / "m.tif", CHECKS)
    hidden = np.full(CHECKS.shape, 255, np.uint8)
    hidden[:, :7] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as sink:
        sink.write_mask(hidden)
    mask = open_it(path).burn(WHOLE, 255)
    assert (mask[:, :7] == 255).all()
    assert np.array_equal(mask[:, 7:], CHECKS[:, 7:])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_bare_raster_of_the_image_s_size_lies_on_it(tmp_path):
    source = open_it(_png(tmp_path))
    assert np.array_equal(source.burn(WHOLE, 255), CHECKS)


def _png(folder):
    with rasterio.open(
        folder / "m.png", "w", driver="PNG", count=1, height=60, width=80, dtype="uint8"
    ) as sink:
        sink.write(CHECKS, 1)
    return folder / "m.png"


def test_a_raster_elsewhere_is_refused(tmp_path):
    far = Affine(0.5, 0, 600_000, 0, -0.5, 4_000_000)
    with pytest.raises(DataError, match="does not overlap"):
        open_it(write(tmp_path / "m.tif", CHECKS, far))


def test_a_raster_much_smaller_than_the_image_is_found(tmp_path):
    image = PixelGrid(CRS(32633), PLAIN, 6400, 6400)
    inside = Affine(0.5, 0, 500_510, 0, -0.5, 3_999_490)  # rows and columns 1020 to 1080
    path = write(tmp_path / "m.tif", CHECKS[:60, :60], inside)
    options = {"mask_values": None, "ignore_values": (), "n_classes": 2, "labels_crs": None}
    source = open_mask_raster(path, grid=image, **options)
    assert source.cover == pytest.approx((60 / 6400) ** 2)
    assert np.array_equal(source.burn(Window(1020, 1020, 60, 60), 255), CHECKS[:60, :60])
    beside = Affine(0.5, 0, 503_200, 0, -0.5, 4_000_000)
    with pytest.raises(DataError, match="does not overlap"):
        open_mask_raster(write(tmp_path / "m.tif", CHECKS, beside), grid=image, **options)


def test_a_mask_raster_pickles(tmp_path):
    source = open_it(write(tmp_path / "m.tif", CHECKS))
    assert np.array_equal(pickle.loads(pickle.dumps(source)).burn(WHOLE, 255), CHECKS)
