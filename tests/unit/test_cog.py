"""Cloud-optimised GeoTIFFs: what is in them, and that they are whole or absent."""

import resource
from contextlib import contextmanager

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from pyproj import CRS
from scenes import PLAIN

from gim_cv.cog import BLOCK_PX, cog_writer
from gim_cv.errors import RunError
from gim_cv.grid import PixelGrid

TURNED = Affine(0.3, 0.4, 500_000.25, 0.4, -0.3, 4_000_000.125)
DEGREES = Affine(5e-6, 0.0, 15.1234567890123, 0.0, -5e-6, 47.9876543210987)


def grid(height=1100, width=700, transform=PLAIN, crs="EPSG:32633"):
    return PixelGrid(CRS.from_user_input(crs), transform, height, width)


def write(path, place, pixels, **options):
    names = [f"band {number}" for number in range(pixels.shape[-1])]
    defaults = {
        "bands": {name: number for number, name in enumerate(names, start=1)},
        "dtype": pixels.dtype,
        "nodata": 255 if pixels.dtype == np.uint8 else np.nan,
        "overviews": "mode" if pixels.dtype == np.uint8 else "average",
        "tags": {"made": "here"},
    }
    with cog_writer(path, place, **(defaults | options)) as keep:
        for window in place.window.strips(BLOCK_PX * place.width):
            keep(window, pixels[window.slices])


def probabilities(place, bands=2):
    values = np.random.default_rng(0).random((place.height, place.width, bands), np.float32)
    values[:40, :50] = np.nan
    return values


def classes(place):
    rows, cols = np.ogrid[: place.height, : place.width]
    values = ((rows // 60 + cols // 60) % 3).astype(np.uint8)
    values[:40, :50] = 255
    return values[..., None]


@pytest.mark.parametrize(("make", "dtype"), [(probabilities, "float32"), (classes, "uint8")])
def test_pixels_come_back_as_given(tmp_path, make, dtype):
    place = grid()
    pixels = make(place)
    write(tmp_path / "a.tif", place, pixels)
    with rasterio.open(tmp_path / "a.tif") as found:
        assert found.dtypes == (dtype,) * pixels.shape[-1]
        assert np.array_equal(found.read(), np.moveaxis(pixels, -1, 0), equal_nan=dtype != "uint8")
        assert found.nodata == 255 if dtype == "uint8" else np.isnan(found.nodata)
        assert (found.dataset_mask() == 0).sum() == 40 * 50


def test_it_is_cloud_optimised(tmp_path):
    place = grid()
    write(tmp_path / "a.tif", place, probabilities(place))
    with rasterio.open(tmp_path / "a.tif") as found:
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert found.block_shapes == [(BLOCK_PX, BLOCK_PX)] * 2
        assert found.overviews(1) == [2, 4]
        assert found.compression.name == "deflate"


def test_overviews_are_means_or_the_commonest_class(tmp_path):
    place = grid()
    pixels, ids = probabilities(place, 1), classes(place)
    write(tmp_path / "p.tif", place, pixels)
    write(tmp_path / "c.tif", place, ids)
    with rasterio.open(tmp_path / "p.tif", overview_level=0) as found:
        mean = pixels[..., 0].reshape(550, 2, 350, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(found.read(1), mean, rtol=1e-5)
    with rasterio.open(tmp_path / "c.tif", overview_level=0) as found:
        assert np.array_equal(found.read(1), ids[::2, ::2, 0])


def test_bands_have_names_and_the_file_has_tags(tmp_path):
    place = grid(64, 64)
    pixels = probabilities(place, 2)
    write(tmp_path / "a.tif", place, pixels, bands={"öl": 1, "tree": 2}, tags={"a": "1", "b": "ü"})
    with rasterio.open(tmp_path / "a.tif") as found:
        assert found.descriptions == ("öl", "tree")
        assert {"a": "1", "b": "ü"}.items() <= found.tags().items()


def test_classes_have_colours(tmp_path):
    place = grid(64, 64)
    colours = {1: (230, 159, 0, 255), 2: (86, 180, 233, 255), 255: (0, 0, 0, 0)}
    write(tmp_path / "a.tif", place, classes(place), colours=colours)
    with rasterio.open(tmp_path / "a.tif") as found:
        assert found.colorinterp[0].name == "palette"
        assert {key: found.colormap(1)[key] for key in colours} == colours


@pytest.mark.parametrize(
    "crs", ["EPSG:32633", "EPSG:31370", "EPSG:3857", "EPSG:4326", "ESRI:54009"]
)
@pytest.mark.parametrize("transform", [PLAIN, TURNED, DEGREES, Affine(0.5, 0, 9, 0, 0.5, 7)])
def test_the_grid_is_exact(tmp_path, crs, transform):
    place = grid(30, 20, transform, crs)
    write(tmp_path / "a.tif", place, classes(place))
    with rasterio.open(tmp_path / "a.tif") as found:
        assert found.transform == transform
        assert CRS.from_wkt(found.crs.to_wkt()).equals(place.crs, ignore_axis_order=True)
        assert found.shape == (30, 20)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 600), (600, 1), (512, 512), (513, 511)])
def test_any_size_will_do(tmp_path, height, width):
    place = grid(height, width)
    pixels = np.random.default_rng(1).random((height, width, 1), np.float32)
    write(tmp_path / "a.tif", place, pixels)
    with rasterio.open(tmp_path / "a.tif") as found:
        assert np.array_equal(found.read(1), pixels[..., 0])
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_the_same_pixels_have_the_same_bytes(tmp_path):
    place = grid()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "p.tif", place, probabilities(place))
        write(tmp_path / name / "c.tif", place, classes(place), colours={1: (1, 2, 3, 255)})
    for name in ("p.tif", "c.tif"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_only_the_file_is_left(tmp_path):
    place = grid()
    write(tmp_path / "a.tif", place, classes(place), colours={1: (1, 2, 3, 255), 0: (0, 0, 0, 0)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("after", [0, 1])
def test_an_error_on_the_way_leaves_nothing(tmp_path, after):
    place = grid()
    pixels = classes(place)
    bands = {"class": 1}
    options = {"bands": bands, "dtype": np.uint8, "nodata": 255, "overviews": "mode", "tags": {}}

    def fail():
        with cog_writer(tmp_path / "a.tif", place, colours={1: (1, 2, 3, 255)}, **options) as keep:
            for window in list(place.window.strips(BLOCK_PX * place.width))[:after]:
                keep(window, pixels[window.slices])
            raise KeyError("on the way")

    with pytest.raises(KeyError, match="on the way"):
        fail()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def room_for(size):
    """Let no file grow beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    place = grid(600, 600)
    pixels = probabilities(place)
    write(tmp_path / "a.tif", place, pixels)
    size = (tmp_path / "a.tif").stat().st_size
    (tmp_path / "a.tif").unlink()
    for room in [*np.linspace(0.01, 0.99, 15) * size, size - 100, size - 1]:
        with pytest.raises(RunError, match="Make room"), room_for(int(room)):
            write(tmp_path / "a.tif", place, pixels)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("older", [False, True])
def test_a_copy_that_fails_half_way_is_not_taken_for_the_file(tmp_path, monkeypatch, older):
    place = grid(64, 64)
    path = tmp_path / "a.tif"
    if older:
        path.write_bytes(b"older")

    def full(_plain, out, **_options):
        type(path)(out).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rasterio.shutil, "copy", full)
    with pytest.raises(OSError, match="No space"):
        write(path, place, classes(place))
    assert [item.read_bytes() for item in tmp_path.iterdir()] == [b"older"] * older


def test_an_older_file_is_replaced(tmp_path):
    place = grid(64, 64)
    write(tmp_path / "a.tif", place, probabilities(place, 1))
    write(tmp_path / "a.tif", place, classes(place))
    with rasterio.open(tmp_path / "a.tif") as found:
        assert found.dtypes == ("uint8",)
