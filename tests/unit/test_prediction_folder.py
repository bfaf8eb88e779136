"""The folder of a scene: whole or absent, finished or refused, or one clear error."""

import errno
import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from predicting import Asked, contents, first_band, how, opened, predict, predictor, read
from scenes import Scene

from gim_cv.errors import ConfigError, DataError, MissingError, RunError
from gim_cv.maps import CLASSES, PROBABILITY
from gim_cv.patches import PatchGrid
from gim_cv.prediction import ABOUT, FILES, POLYGONS, QUICKLOOK


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


def test_other_nodata_of_a_single_band_is_something_else(tmp_path):
    files = [
        Scene(bands=1, nodata=mark).write_image(tmp_path / name)
        for name, mark in (("r", 5), ("g", 7))
    ]
    predict(files, tmp_path / "out", predictor(bands=2))
    with pytest.raises(RunError, match="nodata"):
        predict(files, tmp_path / "out", predictor(bands=2), nodata=5)


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
