"""Images read by window: pixels, validity, bands, refusals."""

import pickle

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from scenes import PLAIN, Scene, pixel_values

from gim_cv.errors import DataError, MissingError, UnknownError
from gim_cv.patches import Window
from gim_cv.raster import open_image

WHOLE = Window(0, 0, 96, 96)


def open_it(path, **options):
    defaults = {
        "bands": None,
        "bounds": None,
        "nodata": None,
        "image_crs": None,
        "resolution_m": 0.0,
        "resampling": "bilinear",
    }
    return open_image(path, **(defaults | options))


def edit(path, change):
    with rasterio.open(path, "r+") as sink:
        change(sink)


def test_pixels_come_back_as_written(tmp_path):
    image = open_it(Scene().write(tmp_path) / "image.tif")
    pixels, valid = image.read(Window(10, 20, 30, 40))
    assert np.array_equal(pixels, pixel_values(96, 96)[10:40, 20:60])
    assert pixels.dtype == np.uint8
    assert valid.all()
    assert image.band_names == ("red", "green", "blue")


def test_beyond_the_edge_is_zero_and_invalid(tmp_path):
    image = open_it(Scene().write(tmp_path) / "image.tif")
    pixels, valid = image.read(Window(90, -3, 10, 10))
    assert valid[:6, 3:].all()
    assert valid.sum() == 6 * 7
    assert not pixels[~valid].any()
    nothing, none_valid = image.read(Window(200, 200, 4, 4))
    assert not nothing.any()
    assert not none_valid.any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_nodata_of_the_file_is_invalid(tmp_path, dtype):
    scene = Scene(dtype=dtype, nodata=0, nodata_columns=5)
    pixels, valid = open_it(scene.write(tmp_path) / "image.tif").read(WHOLE)
    assert not valid[:, :5].any()
    assert valid[:, 5:].all()
    assert pixels.dtype == dtype


def test_nodata_may_be_named_and_needs_all_bands(tmp_path):
    folder = Scene().write(tmp_path)
    marked = pixel_values(96, 96)
    marked[0, 0] = 7
    marked[0, 1, 0] = 7
    edit(folder / "image.tif", lambda sink: sink.write(np.moveaxis(marked, -1, 0)))
    _, valid = open_it(folder / "image.tif", nodata=7).read(WHOLE)
    assert not valid[0, 0]
    assert valid.sum() == 96 * 96 - 1


def test_nodata_that_the_type_cannot_hold_marks_nothing(tmp_path):
    folder = Scene().write(tmp_path)
    _, valid = open_it(folder / "image.tif", nodata=-9999).read(WHOLE)
    assert valid.all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_in_any_band_is_invalid_and_becomes_zero(tmp_path, value):
    folder = Scene(dtype="float32").write(tmp_path)
    marked = pixel_values(96, 96, 3, "float32")
    marked[3, 4, 1] = value
    edit(folder / "image.tif", lambda sink: sink.write(np.moveaxis(marked, -1, 0)))
    pixels, valid = open_it(folder / "image.tif").read(WHOLE)
    assert np.argwhere(~valid).tolist() == [[3, 4]]
    assert pixels[3, 4].tolist() == [0, 0, 0]


def test_an_internal_mask_is_obeyed(tmp_path):
    folder = Scene().write(tmp_path)
    mask = np.full((96, 96), 255, np.uint8)
    mask[:, 90:] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        edit(folder / "image.tif", lambda sink: sink.write_mask(mask))
    _, valid = open_it(folder / "image.tif").read(WHOLE)
    assert np.array_equal(valid, mask > 0)


def test_alpha_is_validity_and_no_band(tmp_path):
    folder = Scene(bands=4).write(tmp_path, photometric="rgb", alpha="yes")
    alpha = np.full((96, 96), 255, np.uint8)
    alpha[:5] = 0
    edit(folder / "image.tif", lambda sink: sink.write(alpha, 4))
    image = open_it(folder / "image.tif")
    pixels, valid = image.read(WHOLE)
    assert pixels.shape[2] == 3
    assert np.array_equal(valid, alpha > 0)


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize(("bands", "dtype"), [(4, "uint8"), (5, "uint8"), (6, "float32")])
def test_alpha_is_validity_whatever_gdal_s_own_mask_says(tmp_path, bands, dtype, nodata):
    folder = Scene(bands=bands, dtype=dtype, nodata=nodata).write(tmp_path)
    alpha = np.full((96, 96), 255, dtype)
    alpha[:5] = 0

    def add_alpha(sink):
        sink.colorinterp = [*sink.colorinterp[:-1], ColorInterp.alpha]
        sink.write(alpha, bands)

    edit(folder / "image.tif", add_alpha)
    pixels, valid = open_it(folder / "image.tif").read(WHOLE)
    assert pixels.shape[2] == bands - 1
    assert np.array_equal(valid, alpha > 0)


def band_files(folder, nodata=(None, None, None)):
    """Files of one band each, whose first five columns are 9, 8 and 7."""
    files = []
    for band, value in enumerate(nodata):
        place = Scene(bands=1, nodata=value).write(folder / f"b{band}")
        values = pixel_values(96, 96)[..., band]
        values[:, :5] = 9 - band
        edit(place / "image.tif", lambda sink, v=values: sink.write(v, 1))
        files.append(place / "image.tif")
    return files


def test_each_band_file_has_its_own_nodata(tmp_path):
    outside = np.arange(96) < 5
    _, valid = open_it(band_files(tmp_path / "own", (9, 8, 7))).read(WHOLE)
    assert np.array_equal(valid, np.broadcast_to(~outside, (96, 96)))
    image = open_it(band_files(tmp_path / "one", (None, 8, 8)))
    assert image.marks == (8, 8, 8)
    assert image.read(WHOLE)[1].all()


def test_each_band_file_has_its_own_mask(tmp_path):
    files = band_files(tmp_path)
    mask = np.full((96, 96), 255, np.uint8)
    mask[:, 90:] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        edit(files[1], lambda sink: sink.write_mask(mask))
    assert np.array_equal(open_it(files).read(WHOLE)[1], mask > 0)


@pytest.mark.parametrize("nodata", [float("nan"), float("inf")])
def test_no_integer_is_nan_or_infinite(tmp_path, nodata):
    image = open_it(Scene().write(tmp_path) / "image.tif", nodata=nodata)
    assert image.read(WHOLE)[1].all()


@pytest.mark.parametrize(("bands", "picked"), [([3, 1], [2, 0]), (["green"], [1])])
def test_bands_are_picked_in_order(tmp_path, bands, picked):
    image = open_it(Scene().write(tmp_path) / "image.tif", bands=bands)
    assert np.array_equal(image.read(WHOLE)[0], pixel_values(96, 96)[..., picked])


def test_descriptions_name_bands(tmp_path):
    folder = Scene(bands=2).write(tmp_path)
    edit(folder / "image.tif", lambda sink: sink.set_band_description(2, "nir"))
    image = open_it(folder / "image.tif", bands=["nir"])
    assert image.band_names == ("nir",)
    assert open_it(folder / "image.tif").band_names == ("band_1", "nir")


def test_single_band_files_are_stacked(tmp_path):
    files = []
    for band in range(3):
        folder = Scene(bands=1).write(tmp_path / f"b{band}")
        values = pixel_values(96, 96)[..., band]
        edit(folder / "image.tif", lambda sink, v=values: sink.write(v, 1))
        files.append((folder / "image.tif").rename(tmp_path / f"b{band}.tif"))
    image = open_it(files)
    assert image.band_names == ("b0", "b1", "b2")
    assert np.array_equal(image.read(WHOLE)[0], pixel_values(96, 96))
    assert np.array_equal(open_it(files, bands=["b2"]).read(WHOLE)[0][..., 0], values)


def test_a_file_in_a_list_must_have_one_band(tmp_path):
    path = Scene().write(tmp_path) / "image.tif"
    with pytest.raises(DataError, match="single-band"):
        open_it([path, path])


def test_bounds_keep_a_window(tmp_path):
    image = open_it(
        Scene().write(tmp_path) / "image.tif", bounds=(500_010, 3_999_980, 500_020, 3_999_990)
    )
    assert (image.grid.height, image.grid.width) == (20, 20)
    pixels, valid = image.read(Window(0, 0, 21, 20))
    assert np.array_equal(pixels[:20], pixel_values(96, 96)[20:40, 20:40])
    assert not valid[20].any()


def test_a_resampled_image_reads_by_window_too(tmp_path):
    image = open_it(Scene().write(tmp_path) / "image.tif", resolution_m=1.0)
    assert (image.grid.height, image.grid.width) == (48, 48)
    pixels, valid = image.read(Window(0, 0, 50, 48))
    block = pixel_values(96, 96)[:2, :2].astype(float).mean(axis=(0, 1))
    assert np.abs(pixels[0, 0] - block).max() < 0.6
    assert valid[:48].all()
    assert not valid[48:].any()


def test_an_image_pickles(tmp_path):
    image = open_it(Scene().write(tmp_path) / "image.tif")
    image.read(WHOLE)
    again = pickle.loads(pickle.dumps(image))
    assert again == image
    assert np.array_equal(again.read(WHOLE)[0], image.read(WHOLE)[0])


def test_image_crs_is_for_a_file_that_has_none(tmp_path):
    path = Scene(crs=None).write_image(tmp_path)
    with pytest.raises(DataError, match="image_crs"):
        open_it(path)
    assert open_it(path, image_crs="EPSG:32633").grid.crs.to_epsg() == 32633


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(MissingError):
        open_it(tmp_path / "no.tif")
    path = Scene().write(tmp_path) / "image.tif"
    with pytest.raises(UnknownError, match="green"):
        open_it(path, bands=["gren"])
    with pytest.raises(DataError, match="no such band"):
        open_it(path, bands=[4])


def test_a_raster_too_large_for_exact_labels_is_refused(tmp_path):
    path = tmp_path / "long.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "SPARSE_OK": True}
    with rasterio.open(
        path, "w", height=1, width=2**19 + 1, crs="EPSG:32633", transform=PLAIN, **profile
    ):
        pass
    with pytest.raises(DataError, match="524288 px a side"):
        open_it(path)
    assert open_it(path, bounds=(500_000, 3_999_000, 500_010, 4_001_000)).grid.width == 20


def test_a_palette_is_a_band_like_any_other(tmp_path):
    folder = Scene(bands=1).write(tmp_path)
    edit(folder / "image.tif", lambda s: setattr(s, "colorinterp", [ColorInterp.palette]))
    assert open_it(folder / "image.tif").band_names == ("band_1",)
