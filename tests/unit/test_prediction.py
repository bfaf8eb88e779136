"""Whole scenes: exact grids, nodata, no seams, finished or nothing, in little memory."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from predicting import Asked, contents, first_band, opened, peak, predict, predictor, read, whole
from pyproj import CRS
from rasterio.enums import ColorInterp
from scenes import PLAIN, Scene, pixel_values

from gim_cv.maps import CLASSES, PROBABILITY
from gim_cv.patches import PatchGrid
from gim_cv.prediction import FILES, POLYGONS
from gim_cv.symmetry import averaged

TURNED = Affine(0.3, 0.4, 500_000.25, 0.4, -0.3, 4_000_000.125)
SOUTH_UP = Affine(0.5, 0.0, 500_000.0, 0.0, 0.5, 4_000_000.0)
SHEARED = Affine(0.5, 0.03, 500_000.0, -0.02, -0.5, 4_000_000.0)
DEGREES = Affine(5e-6, 0.0, 15.1234567890123, 0.0, -5e-6, 0.9876543210987)


def constant(value):
    def answer(images):
        return np.full((*images.shape[:3], 1), value, np.float32)

    return predictor(answer)


def ramp(images):
    """Answers that depend on where a pixel is in its window: seams would show."""
    size = images.shape[1]
    return images[..., :1] * 0.5 + np.linspace(0, 0.5, size, dtype=np.float32)[:, None, None]


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (PLAIN, "EPSG:32633"),
        (PLAIN, "EPSG:31370"),
        (TURNED, "EPSG:32633"),
        (SHEARED, "EPSG:32633"),
        (SOUTH_UP, "EPSG:32633"),
        (DEGREES, "EPSG:4326"),
    ],
)
def test_results_lie_on_the_grid_of_the_scene(tmp_path, transform, crs):
    path = Scene(height=70, width=90, transform=transform, crs=crs).write_image(tmp_path)
    predict(path, tmp_path / "out")
    with rasterio.open(path) as source:
        for name in (PROBABILITY, CLASSES):
            with rasterio.open(tmp_path / "out" / name) as found:
                assert found.transform == source.transform
                assert found.crs == source.crs
                assert found.shape == source.shape
    polygons = gpd.read_file(tmp_path / "out" / POLYGONS)
    assert polygons.crs == CRS(crs)
    ids = read(tmp_path / "out")[1]
    burnt = rasterio.features.rasterize(polygons.geometry, ids.shape, transform=transform)
    assert np.array_equal(burnt, ids)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 100), (100, 1), (31, 33), (32, 32), (20, 70), (75, 129)]
)
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
def test_an_answer_that_is_the_image_comes_out_as_the_image(tmp_path, height, width, overlap):
    path = Scene(height=height, width=width).write_image(tmp_path)
    predict(path, tmp_path / "out", overlap=overlap)
    levels, ids = read(tmp_path / "out")
    band = pixel_values(height, width)[..., 0]
    assert np.array_equal(levels[..., 0].round(), band)
    assert np.array_equal(ids, band >= 128)


def test_windows_are_blended(tmp_path):
    path = Scene(height=100, width=90).write_image(tmp_path)
    image = pixel_values(100, 90).astype(np.float64) / 255
    grid = PatchGrid(100, 90, 32, 16)
    total, sums = np.zeros((100, 90)), np.zeros((100, 90))
    weight = np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2
    for window in grid:
        part = image[window.slices][None].astype(np.float32)
        sums[window.slices] += weight[:, None] * weight * ramp(part)[0, ..., 0]
        total[window.slices] += weight[:, None] * weight
    predict(path, tmp_path / "out", predictor(ramp))
    levels = read(tmp_path / "out")[0][..., 0]
    assert np.abs(levels - 255 * sums / total).max() < 0.51


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_any_type_of_pixels_is_divided_by_the_scale(tmp_path, dtype):
    path = Scene(dtype=dtype).write_image(tmp_path)
    predict(path, tmp_path / "out")
    assert np.array_equal(read(tmp_path / "out")[0][..., 0].round(), pixel_values(96, 96)[..., 0])


def nodata_of_the_file(path):
    with rasterio.open(path, "r+") as sink:
        pixels = sink.read()
        pixels[:, 10:50, 20:40] = 0
        sink.write(pixels)
        sink.nodata = 0


def not_a_number_in_one_band(path):
    with rasterio.open(path, "r+") as sink:
        pixels = sink.read()
        pixels[1, 10:50, 20:40] = np.nan
        sink.write(pixels)


def internal_mask(path):
    mask = np.full((96, 96), 255, np.uint8)
    mask[:40, 30:] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as sink:
        sink.write_mask(mask)


@pytest.mark.parametrize("change", [nodata_of_the_file, not_a_number_in_one_band, internal_mask])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_nodata_is_kept_and_changes_nothing_around_it(tmp_path, change, overlap):
    path = Scene(dtype="float32").write_image(tmp_path)
    change(path)
    pixels, valid = whole(path)
    assert 0 < valid.sum() < valid.size
    about = predict(path, tmp_path / "out", overlap=overlap)
    levels, ids = read(tmp_path / "out")
    assert np.array_equal(np.isnan(levels[..., 0]), ~valid)
    assert np.array_equal(ids == 255, ~valid)
    assert np.array_equal(levels[valid, 0].round(), pixels[valid, 0])
    assert about["pixels_without_image"] == (~valid).sum()
    assert sum(row["pixels"] for row in about["classes"].values()) == valid.sum()


def test_alpha_is_no_band_and_marks_nodata(tmp_path):
    path = Scene(bands=4).write_image(tmp_path, photometric="rgb", alpha="yes")
    with rasterio.open(path, "r+") as sink:
        assert sink.colorinterp[3] == ColorInterp.alpha
        alpha = sink.read(4)
        alpha[:, :35] = 0
        alpha[:, 35:] = 255
        sink.write(alpha, 4)
    predict(path, tmp_path / "out")
    assert (read(tmp_path / "out")[1] == 255).sum() == 35 * 96


def test_a_scene_without_any_pixel_has_results(tmp_path):
    model = Asked()
    path = Scene(nodata=0, nodata_columns=96).write_image(tmp_path)
    about = predict(path, tmp_path / "out", predictor(model))
    assert model.batches == 0
    assert about["pixels_without_image"] == 96 * 96
    assert about["polygons"] == {}
    assert set(contents(tmp_path / "out")) == FILES
    assert len(gpd.read_file(tmp_path / "out" / POLYGONS)) == 0


def test_windows_without_a_pixel_are_not_asked(tmp_path):
    path = Scene(nodata=0, nodata_columns=65).write_image(tmp_path)
    model = Asked()
    predict(path, tmp_path / "out", predictor(model))
    assert model.windows == 5 * 2  # those at columns 48 and 64
    assert model.batches == 4


def test_a_model_that_cannot_stand_empty_images_is_asked_about_none(tmp_path):
    def relative(images):
        with np.errstate(invalid="ignore"):
            return images[..., :1] / images.max(axis=(1, 2, 3), keepdims=True)

    path = Scene(height=40, width=40).write_image(tmp_path)
    predict(path, tmp_path / "out", predictor(relative), batch=16)
    assert not np.isnan(read(tmp_path / "out")[0]).any()


@pytest.mark.parametrize("metres", [0.3, 0.75, 1.0, 1.5])
@pytest.mark.parametrize("columns", [40, 47, 48, 49, 50, 63, 64, 65])
def test_the_last_pixels_before_nodata_are_predicted_at_any_resolution(tmp_path, metres, columns):
    path = Scene(nodata=0, nodata_columns=columns).write_image(tmp_path)
    flipped = rasterio.open(path).read()[:, :, ::-1]
    with rasterio.open(path, "r+") as sink:
        sink.write(flipped)
    options = {"resolution_m": metres, "overlap": 0.0, "window_px": 16}
    predict(path, tmp_path / "out", constant(0.8), **options)
    levels, ids = read(tmp_path / "out")
    assert set(np.unique(ids[:, : 96 - columns])) == {1}
    assert (levels[:, : 96 - columns] == 204).all()
    assert (ids[:, 96 - columns :] == 255).all()


@pytest.mark.parametrize("metres", [0.3, 0.5, 1.0, 1.3])
@pytest.mark.parametrize("transform", [PLAIN, TURNED])
def test_another_resolution_comes_back_to_the_grid_of_the_scene(tmp_path, metres, transform):
    scene = Scene(height=100, width=120, transform=transform)
    path = scene.write_image(tmp_path)
    rows, cols = np.mgrid[:100, :120]
    smooth = (120 + 60 * np.sin(rows / 25) + 60 * np.cos(cols / 25)).astype(np.uint8)
    with rasterio.open(path, "r+") as sink:
        sink.write(np.stack([smooth] * 3))
    image = opened(path, resolution_m=metres)
    assert (image.resampler is None) == (metres == 0.5)
    predict(path, tmp_path / "out", resolution_m=metres)
    with rasterio.open(tmp_path / "out" / CLASSES) as found:
        assert (found.shape, found.transform) == ((100, 120), transform)
    levels, _ = read(tmp_path / "out")
    assert np.abs(levels[..., 0] - smooth).max() <= (0.5 if metres == 0.5 else 6)


def test_several_files_of_bands_are_one_scene(tmp_path):
    values, paths = pixel_values(50, 60), []
    for band in range(3):
        path = Scene(bands=1, height=50, width=60).write_image(tmp_path / str(band))
        with rasterio.open(path, "r+") as sink:
            sink.write(values[..., band], 1)
        paths.append(path.rename(tmp_path / f"b{band}.tif"))
    about = predict(paths, tmp_path / "out", bands=["b2", "b1", "b0"])
    assert np.array_equal(read(tmp_path / "out")[0][..., 0].round(), values[..., 2])
    assert [list(file) for file in about["recipe"]["image"]] == [["b2.tif"], ["b1.tif"], ["b0.tif"]]


def test_bounds_keep_a_part_of_the_scene(tmp_path):
    path = Scene().write_image(tmp_path)
    predict(path, tmp_path / "out", bounds=(500_010, 3_999_970, 500_030, 3_999_990))
    with rasterio.open(tmp_path / "out" / CLASSES) as found:
        assert found.transform == PLAIN @ Affine.translation(20, 20)
        assert found.shape == (40, 40)
    levels = read(tmp_path / "out")[0][..., 0]
    assert np.array_equal(levels.round(), pixel_values(96, 96)[20:60, 20:60, 0])


def test_more_than_two_classes_have_a_band_each(tmp_path):
    path = Scene(height=50, width=60).write_image(tmp_path)
    names = ("ground", "building", "tree")

    def shares(images):
        return images / images.sum(-1, keepdims=True)

    about = predict(path, tmp_path / "out", predictor(shares, classes=names))
    values = pixel_values(50, 60).astype(float)
    levels, ids = read(tmp_path / "out")
    exact = 255 * values / values.sum(-1, keepdims=True)
    assert np.abs(levels - exact).max() < 0.51
    likeliest = np.sort(exact, axis=-1)
    clear = likeliest[..., 2] - likeliest[..., 1] > 1
    assert np.array_equal(ids[clear], values.argmax(-1)[clear])
    assert about["threshold"] is None
    assert set(about["classes"]) == set(names)
    assert set(gpd.read_file(tmp_path / "out" / POLYGONS)["class_name"]) == {"building", "tree"}


def test_symmetries_turn_windows_and_answers_back(tmp_path):
    path = Scene().write_image(tmp_path)
    model = Asked()
    predict(path, tmp_path / "plain", predictor(Asked()))
    predict(path, tmp_path / "out", predictor(averaged(model)))
    assert model.windows == 8 * len(PatchGrid(96, 96, 32, 16))
    one, other = read(tmp_path / "plain")[0], read(tmp_path / "out")[0]
    assert np.abs(one - other).max() <= 1.001


@pytest.mark.parametrize("classes", [2, 3])
def test_pruned_windows_are_background_and_not_asked(tmp_path, classes):
    path = Scene(height=64, width=96).write_image(tmp_path)
    with rasterio.open(path, "r+") as sink:
        pixels = np.full((3, 64, 96), 200, np.uint8)
        pixels[:, :, :32] = 10
        sink.write(pixels)

    def dark(pixels):
        return pixels.mean() < 50

    def bright(images):
        assert not (images.any(axis=(1, 2, 3)) & (images.mean(axis=(1, 2, 3)) < 0.2)).any()
        answer = np.zeros((*images.shape[:3], 1 if classes == 2 else 3), np.float32)
        answer[..., -1] = 0.9
        return answer

    model = Asked(bright)
    names = ("ground", "building", "tree")[:classes]
    about = predict(
        path,
        tmp_path / "out",
        predictor(model, classes=names),
        overlap=0.0,
        batch=4,
        prune_fn=dark,
    )
    assert model.windows == 4
    ids = read(tmp_path / "out")[1]
    assert (ids[:, :32] == 0).all()
    assert (ids[:, 32:] == classes - 1).all()
    assert "dark" in about["recipe"]["prune_fn"]


def test_the_batch_changes_nothing(tmp_path):
    path = Scene(nodata=0, nodata_columns=20).write_image(tmp_path)
    found = []
    for batch in (1, 2, 7, 100):
        predict(path, tmp_path / str(batch), predictor(ramp), batch=batch)
        found.append(read(tmp_path / str(batch)))
    for levels, ids in found[1:]:
        assert np.nanmax(np.abs(levels - found[0][0])) <= 1.001
        assert np.array_equal(ids == 255, found[0][1] == 255)


def test_a_batch_has_one_shape(tmp_path):
    shapes = set()

    def answer(images):
        shapes.add((images.shape, images.dtype.name))
        return first_band(images)

    predict(Scene().write_image(tmp_path), tmp_path / "out", predictor(answer), batch=7)
    assert shapes == {((7, 32, 32, 3), "float32")}


def tall(path, height):
    """Write a raster of 400 columns and any height, bright and dark by turns."""
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "width": 400, "height": height}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=PLAIN, tiled=True, **profile) as sink:
        for row in range(0, height, 500):
            pixels = np.full((3, 500, 400), 20 + row // 500 % 2 * 200, np.uint8)
            sink.write(pixels, window=((row, row + 500), (0, 400)))
    return path


@pytest.mark.parametrize("metres", [0.0, 0.8])
def test_memory_does_not_grow_with_the_height(tmp_path, metres):
    found = []
    for height in (3000, 12_000):
        path = tall(tmp_path / f"{height}.tif", height)
        outs = [tmp_path / f"{height}-{run}" for run in range(3)]
        options = {"window_px": 128, "overlap": 0.25, "batch": 8, "resolution_m": metres}
        peaks = [peak(path, out, **options) for out in outs]
        found.append(np.min(peaks, axis=0))  # whether a row is read ahead in time is chance
        assert all(set(contents(out)) == FILES for out in outs)
    (low, low_rss), (high, high_rss) = found
    assert high < 1.1 * low + 0.5
    assert high_rss < low_rss + 32 + 24  # MiB: GDAL's cache fills, and chance
