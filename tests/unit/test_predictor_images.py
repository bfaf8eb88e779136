"""The images that a predictor is asked about: bands, types, resolutions."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from answering import of_model, open_it, trained
from pyproj import CRS, Transformer
from scenes import Scene, georeference, pixel_values

from gim_cv.catalog import Scene as Entry
from gim_cv.errors import DataError, UnknownError
from gim_cv.patches import Window


def test_bands_are_taken_by_name(tmp_path):
    path = Scene(bands=4).write_image(tmp_path, photometric="minisblack")
    with rasterio.open(path, "r+") as sink:
        sink.descriptions = ("nir", "blue", "green", "red")
    image = open_it(trained(), path)
    assert image.band_names == ("red", "green", "blue")
    values = pixel_values(96, 96, 4)[..., [3, 2, 1]]
    assert np.array_equal(image.read(Window(0, 0, 96, 96))[0], values)


def test_bands_of_other_names_are_taken_as_they_are(tmp_path):
    path = Scene().write_image(tmp_path)
    image = open_it(trained(band_names=("b1", "b2", "b3")), path)
    assert image.band_names == ("red", "green", "blue")


def test_bands_of_other_colours_are_not_taken_unless_they_are_chosen(tmp_path):
    path = Scene().write_image(tmp_path)
    with rasterio.open(path, "r+") as sink:
        sink.descriptions = ("nir", "red", "green")
    with pytest.raises(DataError, match=r"another colour.*red, green, blue, found nir, red, green"):
        open_it(trained(), path)
    assert open_it(trained(), path, bands=[1, 2, 3]).band_names == ("nir", "red", "green")


def test_bands_that_are_named_come_first(tmp_path):
    path = Scene().write_image(tmp_path)
    assert open_it(trained(), path, bands=[3, 2, 1]).band_names == ("blue", "green", "red")
    with pytest.raises(UnknownError, match="nir"):
        open_it(trained(), path, bands=["nir", "red", "green"])


@pytest.mark.parametrize("count", [1, 4])
def test_another_number_of_bands_is_refused(tmp_path, count):
    path = Scene(bands=count).write_image(tmp_path, photometric="minisblack")
    with rasterio.open(path, "r+") as sink:
        sink.descriptions = tuple(f"x{number}" for number in range(count))
    with pytest.raises(DataError, match=r"image\.tif.*expected 3 \(red, green, blue\).*`bands`"):
        open_it(trained(), path)
    with pytest.raises(DataError, match=rf"expected 3 \(of any name\), found {count}"):
        open_it(of_model(), path)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_another_type_of_pixels_is_refused(tmp_path, dtype):
    path = Scene(dtype=dtype).write_image(tmp_path)
    with pytest.raises(DataError, match=rf"image\.tif.*expected uint8.*found {dtype}.*-ot"):
        open_it(trained(), path)
    assert open_it(of_model(), path).dtype == dtype


@pytest.mark.parametrize(
    ("low", "high", "target"),
    [
        (0.5, 0.5, None),
        (0.3, 0.8, None),
        (0.497, 0.497, None),
        (0.503, 0.503, None),
        (0.8, 1.2, 0.8),
        (0.2, 0.25, 0.25),
        (1.0, 1.0, 1.0),
    ],
)
def test_only_another_resolution_than_the_training_is_resampled(tmp_path, low, high, target):
    image = open_it(trained(resolution_m=(low, high)), Scene().write_image(tmp_path))
    assert image.native.resolution_m == pytest.approx((0.5, 0.5), rel=1e-3)
    if target is None:
        assert image.resampler is None
        assert image.grid == image.native
    else:
        assert image.grid.resolution_m == pytest.approx((target, target), rel=1e-3)


def test_a_resolution_may_be_given_instead(tmp_path):
    path = Scene().write_image(tmp_path)
    assert open_it(trained(resolution_m=(1.0, 1.0)), path, resolution_m=0.0).resampler is None
    for predictor in (trained(), of_model()):
        found = open_it(predictor, path, resolution_m=1.0).grid
        assert found.resolution_m == pytest.approx((1.0, 1.0), rel=1e-3)
    assert open_it(of_model(), path).resampler is None


@pytest.mark.parametrize("metres", [(0.5, 0.5), (0.4, 0.6), (0.2, 0.2), (1.0, 1.5)])
def test_pixels_that_are_not_square_are_made_so(tmp_path, metres):
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(15, 55)
    transform = Affine(0.3, 0, x, 0, -0.6, y)
    path = Scene(transform=transform).write_image(tmp_path)
    image = open_it(trained(resolution_m=metres), path)
    down, across = image.grid.resolution_m
    own = np.sqrt(0.18)
    assert down == pytest.approx(across, rel=1e-3)
    assert down == pytest.approx(min(max(own, metres[0]), metres[1]), rel=2e-3)
    assert image.native.transform == transform
    down, across = open_it(of_model(), path).grid.resolution_m
    assert (down, across) == pytest.approx((own, own), rel=2e-3)
    with pytest.raises(DataError, match="not square"):
        open_it(of_model(), path, resolution_m=0.0)


def test_degrees_are_taken_for_what_they_are_on_the_ground(tmp_path):
    _, transform = georeference("EPSG:4326", 15.0, 55.0, 0.5)
    equal = Affine(5e-6, 0, transform.c, 0, -5e-6, transform.f)
    path = Scene(crs="EPSG:4326", transform=equal).write_image(tmp_path)
    image = open_it(trained(), path)
    assert image.native.crs == CRS(4326)
    assert image.grid.resolution_m == pytest.approx((0.5, 0.5), rel=1e-3)


def test_a_scene_of_the_catalog_opens_as_it_says(tmp_path):
    Scene(height=40, width=50, crs=None).write_image(tmp_path / "src")
    entry = Entry(
        name="a",
        source="src",
        image="image.tif",
        bands=[2, 1, 3],
        bounds=(500_005, 3_999_990, 500_010, 3_999_998),
        nodata=7,
        image_crs="EPSG:32633",
    )
    image = trained().open_scene(entry, tmp_path, resampling="cubic")
    assert image.band_names == ("green", "red", "blue")
    assert (image.native.height, image.native.width, image.origin) == (16, 10, (4, 10))
    assert (image.nodata, image.native.crs) == (7, CRS(32633))
