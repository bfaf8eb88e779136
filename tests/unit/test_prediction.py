"""Whole scenes: exact grids, nodata, no seams, finished or nothing, in little memory."""

import errno
import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from predicting import Asked, contents, first_band, how, opened, peak, predict, predictor, whole
from pyproj import CRS
from rasterio.enums import ColorInterp
from scenes import PLAIN, Scene, pixel_values

from gim_cv.errors import ConfigError, DataError, MissingError, RunError
from gim_cv.maps import CLASSES, PROBABILITY
from gim_cv.patches import PatchGrid
from gim_cv.prediction import ABOUT, FILES, POLYGONS, QUICKLOOK
from gim_cv.symmetry import averaged

TURNED = Affine(0.3, 0.4, 500_000.25, 0.4, -0.3, 4_000_000.125)
SOUTH_UP = Affine(0.5, 0.0, 500_000.0, 0.0, 0.5, 4_000_000.0)
SHEARED = Affine(0.5, 0.03, 500_000.0, -0.02, -0.5, 4_000_000.0)
DEGREES = Affine(5e-6, 0.0, 15.1234567890123, 0.0, -5e-6, 0.9876543210987)


def read(out):
    """Levels (rows, cols, bands), NaN where there are none, and class ids."""
    with rasterio.open(out / PROBABILITY) as probability, rasterio.open(out / CLASSES) as ids:
        return np.moveaxis(probability.read(), 0, -1) * 255, ids.read(1)


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


def test_the_folder_holds_what_it_should_and_nothing_is_beside_it(tmp_path):
    path = Scene().write_image(tmp_path / "in")
    about = predict(path, tmp_path / "out" / "scene", min_area_m2=1.0, simplify_px=1.0)
    out = tmp_path / "out" / "scene"
    assert set(contents(out)) == FILES
    assert [item.name for item in out.parent.iterdir()] == ["scene"]
    assert json.loads((out / ABOUT).read_text()) == about
    assert (out / QUICKLOOK).read_bytes().startswith(b"\x89PNG")
    for name in (PROBABILITY, CLASSES):
        with rasterio.open(out / name) as raster:
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.tags()["classes"] == "background,building"
            assert raster.tags()["threshold"] == "0.5"
    polygons = gpd.read_file(out / POLYGONS)
    assert about["polygons"] == {"building": len(polygons)}
    assert polygons["area_m2"].min() > 0


def test_what_is_said_of_the_classes_is_what_the_map_holds(tmp_path):
    about = predict(Scene().write_image(tmp_path), tmp_path / "out")
    ids = read(tmp_path / "out")[1]
    for number, name in enumerate(("background", "building")):
        row = about["classes"][name]
        assert row["pixels"] == (ids == number).sum()
        assert row["share"] == pytest.approx(row["pixels"] / 96**2, abs=1e-6)
        assert row["area_m2"] == pytest.approx(0.25 * row["pixels"], rel=1e-3)
    polygons = gpd.read_file(tmp_path / "out" / POLYGONS)
    area = about["classes"]["building"]["area_m2"]
    assert polygons["area_m2"].sum() == pytest.approx(area, rel=1e-3)


@pytest.mark.parametrize("metres", [0.0, 0.8])
def test_the_same_scene_gives_the_same_bytes(tmp_path, metres):
    path = Scene(height=600, width=530, nodata=0, nodata_columns=7).write_image(tmp_path)
    for name in ("a", "b"):
        predict(path, tmp_path / name, resolution_m=metres, window_px=128, simplify_px=1.0)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_folder_of_the_image_does_not_matter(tmp_path):
    for name in ("a", "b"):
        path = Scene().write_image(tmp_path / name / "in")
        predict(path, tmp_path / name / "out")
    assert contents(tmp_path / "a" / "out") == contents(tmp_path / "b" / "out")


def test_a_finished_scene_is_skipped(tmp_path):
    path = Scene().write_image(tmp_path)
    about = predict(path, tmp_path / "out")
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in FILES}
    model = Asked()
    assert predict(path, tmp_path / "out", predictor(model)) == about
    assert model.batches == 0
    assert before == {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in FILES}


def test_overwritten_it_is_made_again(tmp_path):
    path = Scene().write_image(tmp_path)
    predict(path, tmp_path / "out")
    first, model = contents(tmp_path / "out"), Asked()
    predict(path, tmp_path / "out", predictor(model), overwrite=True)
    assert model.windows == len(PatchGrid(96, 96, 32, 16))
    assert contents(tmp_path / "out") == first
    assert sorted(item.name for item in tmp_path.iterdir()) == ["image.tif", "out"]


def brighter(path):
    with rasterio.open(path, "r+") as sink:
        sink.write(sink.read() + 1)


def bare(_pixels):
    return False


OTHER = [
    ({"overlap": 0.25}, "overlap"),
    ({"window_px": 64}, "window_px"),
    ({"min_area_m2": 5.0}, "min_area_m2"),
    ({"fill_holes_m2": 5.0}, "fill_holes_m2"),
    ({"simplify_px": 1.0}, "simplify_px"),
    ({"bands": [2, 1, 3]}, "bands"),
    ({"nodata": 3}, "nodata"),
    ({"bounds": (500_010, 3_999_970, 500_030, 3_999_990)}, "window"),
    ({"resolution_m": 1.0}, "resampling"),
    ({"prune_fn": bare}, "prune_fn"),
]


@pytest.mark.parametrize(("change", "named"), OTHER)
def test_results_of_something_else_are_in_the_way(tmp_path, change, named):
    path = Scene().write_image(tmp_path)
    predict(path, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(RunError, match=r"out: there is a prediction.*Overwrite it") as caught:
        predict(path, tmp_path / "out", **change)
    assert named in str(caught.value) or "grid" in str(caught.value)
    assert contents(tmp_path / "out") == before
    predict(path, tmp_path / "out", overwrite=True, **change)
    assert predict(path, tmp_path / "out", **change) == json.loads(
        (tmp_path / "out" / ABOUT).read_text()
    )


def test_results_of_another_image_or_model_are_in_the_way(tmp_path):
    path = Scene().write_image(tmp_path)
    predict(path, tmp_path / "out")
    with pytest.raises(RunError, match="model"):
        predict(path, tmp_path / "out", predictor(about={"model": "other"}))
    with pytest.raises(RunError, match="classes"):
        predict(path, tmp_path / "out", predictor(classes=("background", "tree")))
    brighter(path)
    with pytest.raises(RunError, match="image"):
        predict(path, tmp_path / "out")


def test_another_way_to_resample_is_something_else(tmp_path):
    path = Scene().write_image(tmp_path)
    predict(path, tmp_path / "out", resolution_m=0.3, resampling="bilinear")
    first = contents(tmp_path / "out")
    with pytest.raises(RunError, match="resampling"):
        predict(path, tmp_path / "out", resolution_m=0.3, resampling="cubic")
    predict(path, tmp_path / "out", resolution_m=0.3, resampling="cubic", overwrite=True)
    assert contents(tmp_path / "out")[PROBABILITY] != first[PROBABILITY]


@pytest.mark.parametrize("gone", sorted(FILES))
def test_a_part_of_a_prediction_is_not_taken_for_a_finished_one(tmp_path, gone):
    path = Scene().write_image(tmp_path)
    predict(path, tmp_path / "out")
    before = contents(tmp_path / "out")
    (tmp_path / "out" / gone).unlink()
    with pytest.raises(RunError, match=rf"found no {gone}.*Overwrite it"):
        predict(path, tmp_path / "out")
    assert set(contents(tmp_path / "out")) == FILES - {gone}
    predict(path, tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"recipe": 3}', "\xff"])
def test_what_says_nothing_of_a_prediction_is_an_error(tmp_path, text):
    path = Scene().write_image(tmp_path)
    predict(path, tmp_path / "out")
    (tmp_path / "out" / ABOUT).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"prediction\.json.*Overwrite it"):
        predict(path, tmp_path / "out")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_is_refused(tmp_path, overwrite):
    path = Scene().write_image(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("years of work")
    model = Asked()
    with pytest.raises(RunError, match=r"out.*found thesis\.doc"):
        predict(path, tmp_path / "out", predictor(model), overwrite=overwrite)
    with pytest.raises(RunError, match="found a file"):
        predict(path, tmp_path / "out" / "thesis.doc", overwrite=overwrite)
    assert contents(tmp_path / "out") == {"thesis.doc": b"years of work"}
    assert model.batches == 0


def test_maps_of_someone_else_are_not_replaced(tmp_path):
    path = Scene().write_image(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / CLASSES).write_text("drawn by hand")
    with pytest.raises(RunError, match="Overwrite it"):
        predict(path, tmp_path / "out")
    assert contents(tmp_path / "out") == {CLASSES: b"drawn by hand"}


def test_what_a_gis_leaves_beside_the_files_is_in_nobodys_way(tmp_path):
    path = Scene().write_image(tmp_path)
    about = predict(path, tmp_path / "out")
    for name in ("classes.tif.aux.xml", "polygons.gpkg-wal"):
        (tmp_path / "out" / name).write_bytes(b"")
    assert predict(path, tmp_path / "out") == about
    predict(path, tmp_path / "out", overwrite=True)
    assert set(contents(tmp_path / "out")) == FILES


def full(*_args, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_that_cannot_be_written_is_one_of_our_errors(tmp_path, monkeypatch):
    path = Scene().write_image(tmp_path)
    with pytest.raises(RunError, match=r"image\.tif/out: results cannot be written"):
        predict(path, path / "out")
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunError, match=r"No space left.*room on the disk"):
        predict(path, tmp_path / "out")
    assert [item.name for item in tmp_path.iterdir()] == ["image.tif"]


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "out").mkdir()
    predict(Scene().write_image(tmp_path), tmp_path / "out")
    assert set(contents(tmp_path / "out")) == FILES


def not_a_number(images):
    return first_band(images) * np.float32(np.nan)


def too_much(images):
    return first_band(images) + 1


def below_zero(images):
    return first_band(images) - 1


def half_size(images):
    return images[:, ::2, ::2, :1]


def all_bands(images):
    return images


def no_channel(images):
    return images[..., 0]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (not_a_number, r"no probability.*expected values from 0 to 1, found nan"),
        (too_much, "no probability"),
        (below_zero, "no probability"),
        (half_size, r"another shape.*expected \(3, 32, 32, 1\), found \(3, 16, 16, 1\)"),
        (all_bands, r"another shape.*found \(3, 32, 32, 3\)"),
        (no_channel, r"another shape.*found \(3, 32, 32\)"),
    ],
)
def test_answers_that_are_no_probabilities_are_refused(tmp_path, answer, text):
    path = Scene().write_image(tmp_path)
    with pytest.raises(DataError, match=text):
        predict(path, tmp_path / "out", predictor(answer))
    assert [item.name for item in tmp_path.iterdir()] == ["image.tif"]


def test_an_error_leaves_older_results_as_they_are(tmp_path):
    path = Scene().write_image(tmp_path)
    predict(path, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(DataError):
        predict(path, tmp_path / "out", predictor(not_a_number), overwrite=True)
    assert contents(tmp_path / "out") == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["image.tif", "out"]


def test_a_scene_that_breaks_off_is_an_error(tmp_path):
    path = Scene(height=900).write_image(tmp_path)
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"image\.tif: rows .* cannot be read.*get it again"):
        predict(path, tmp_path / "out")
    assert [item.name for item in tmp_path.iterdir()] == ["image.tif"]


def test_a_scene_that_is_gone_is_an_error(tmp_path):
    path = Scene().write_image(tmp_path)
    image = opened(path)
    path.unlink()
    with pytest.raises(MissingError, match="no such raster"):
        module_predict(image, tmp_path / "out")


def module_predict(image, out):
    from gim_cv.prediction import predict_scene

    return predict_scene(image, predictor(), out, how(), overwrite=False, progress=None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"batch": 1.5},
        {"window_px": 0},
        {"overlap": 1.0},
        {"overlap": -0.1},
        {"overlap": float("nan")},
        {"min_area_m2": -1.0},
        {"fill_holes_m2": -1.0},
        {"simplify_px": -1.0},
        {"simplify_px": float("nan")},
        {"min_area_m2": float("inf")},
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_done(wrong):
    with pytest.raises(ConfigError, match="expected"):
        how(**wrong)
    with pytest.raises(ConfigError, match="expected"):
        replace(how(), **wrong)


def test_a_scene_in_work_is_not_begun_twice(tmp_path):
    path = Scene().write_image(tmp_path)
    seen = []

    def answer(images):
        if not seen:
            seen.append(1)
            with pytest.raises(RunError, match="another process is making out of the same"):
                predict(path, tmp_path / "out")
        return first_band(images)

    predict(path, tmp_path / "out", predictor(answer))
    assert seen == [1]
    assert set(contents(tmp_path / "out")) == FILES


def test_unfinished_work_lies_where_it_is_told(tmp_path):
    path = Scene().write_image(tmp_path / "in")

    def answer(images):
        assert [item.name.partition(".of-")[0] for item in (tmp_path / "tmp").iterdir()] == ["out"]
        assert list((tmp_path / "results").glob("*")) == []
        return first_band(images)

    predict(path, tmp_path / "results" / "out", predictor(answer), tmp_dir=tmp_path / "tmp")
    assert list((tmp_path / "tmp").iterdir()) == []
    assert [item.name for item in (tmp_path / "results").iterdir()] == ["out"]


def test_nothing_is_drawn_where_there_is_no_terminal(tmp_path, capsys):
    predict(Scene().write_image(tmp_path), tmp_path / "out", progress="scene")
    assert capsys.readouterr() == ("", "")


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
        out = tmp_path / f"{height}-out"
        found.append(peak(path, out, window_px=128, overlap=0.25, batch=8, resolution_m=metres))
        assert set(contents(out)) == FILES
    (low, low_rss), (high, high_rss) = found
    assert high < 1.1 * low + 0.5
    assert high_rss < low_rss + 32 + 24  # MiB: GDAL's cache fills, and chance
