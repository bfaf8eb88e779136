"""What predicts, and the images that it is asked about: bands, types, resolutions, thresholds."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from affine import Affine
from fitting import fit
from pyproj import CRS, Transformer
from scenes import Scene, georeference, pixel_values

from gim_cv import predictor as module
from gim_cv import revisions
from gim_cv.catalog import Scene as Entry
from gim_cv.errors import ConfigError, DataError, MissingError, UnknownError
from gim_cv.givenmodel import predictor_for
from gim_cv.patches import Window
from gim_cv.predictor import Predictor
from gim_cv.rundir import run_digest

RUN = {
    "loss": "bce",
    "scale": 255.0,
    "classes": ["background", "building"],
    "band_names": ["red", "green", "blue"],
    "image_dtype": "uint8",
    "resolution_m": [0.5, 0.5],
}


class Brightness:
    """Stands for a Keras model: the mean of the bands is the probability."""

    name, layers = "brightness", ()

    def __init__(self, inputs=(None, None, None, 3), outputs=(None, None, None, 1), weight=1.0):
        self.input_shape, self.output_shape, self.weight = inputs, outputs, weight

    def predict_on_batch(self, images):
        return images.mean(-1, keepdims=True)

    def get_config(self):
        return {"outputs": self.output_shape}

    def get_weights(self):
        return [np.full((2, 2), self.weight, np.float32)]


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """A run without a model, which is not asked."""
    monkeypatch.setattr(module.Segmentalist, "load_from_metadata", lambda row: Brightness())
    return write_run(tmp_path / "models" / "run")


def write_run(folder, **more):
    folder.mkdir(parents=True)
    known = {name: value for name, value in (RUN | more).items() if value is not None}
    (folder / "run.yml").write_text(yaml.safe_dump(known))
    (folder / "history.csv").write_text("epoch,loss,val_loss\n0,0.5,0.6\n")
    (folder / "best.weights.h5").write_bytes(b"weights")
    return folder


def evaluate(run, folder, level=77):
    """Leave an evaluation of the run that chose a level."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = {"run_sha256": run_digest(run), "level": level}
    (folder / "scores.json").write_text(json.dumps(scores))
    part = {"iou": 0.5}
    metrics = {"val": part, "test": part, "test_digest": "aaaa"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def of_run(run, **options):
    defaults = {"threshold": None, "symmetries": False, "evaluation": None}
    return Predictor.of_run(run, **(defaults | options))


def of_model(model=None, **options):
    defaults = {"classes": ("background", "building"), "scale": 255.0, "threshold": 0.5}
    return Predictor.of_model(model or Brightness(), **(defaults | {"symmetries": False} | options))


def trained(**options):
    """A predictor of images such as those of `Scene`."""
    about = {
        "predict": Brightness().predict_on_batch,
        "classes": ("background", "building"),
        "scale": 255.0,
        "level": 128,
        "bands": 3,
        "band_names": ("red", "green", "blue"),
        "image_dtype": "uint8",
        "resolution_m": (0.5, 0.5),
        "about": {},
    }
    return Predictor(**(about | options))


def open_it(predictor, *paths, **options):
    defaults = {"bands": None, "bounds": None, "nodata": None, "image_crs": None}
    return predictor.open_image(paths, **(defaults | {"resampling": "bilinear"} | options))


def test_a_run_says_what_it_was_trained_on(run_dir):
    found = of_run(run_dir, threshold=0.5)
    assert found.about["threshold"] == found.threshold == 0.5
    assert found.classes == ("background", "building")
    assert (found.bands, found.band_names) == (3, ("red", "green", "blue"))
    assert (found.scale, found.image_dtype, found.resolution_m) == (255.0, "uint8", (0.5, 0.5))
    assert (found.channels, found.level, found.threshold) == (1, 128, 0.5)
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(found.predict(images), images.mean(-1, keepdims=True))


@pytest.mark.parametrize("place", ["models/run/evaluate", "results/evaluate"])
def test_the_threshold_is_that_of_the_evaluation(tmp_path, run_dir, place):
    evaluate(run_dir, tmp_path / place, level=77)
    assert of_run(run_dir).level == 77


def test_an_evaluation_elsewhere_may_be_named(tmp_path, run_dir):
    evaluate(run_dir, tmp_path / "results" / "evaluate", level=77)
    other = evaluate(run_dir, tmp_path / "other", level=99)
    assert of_run(run_dir, evaluation=other).level == 99


@pytest.mark.parametrize(("threshold", "level"), [(0.5, 128), (0.25, 64), (0.9, 230)])
def test_a_threshold_that_is_given_needs_no_evaluation(tmp_path, run_dir, threshold, level):
    assert of_run(run_dir, threshold=threshold).level == level
    evaluate(run_dir, tmp_path / "results" / "evaluate", level=77)
    assert of_run(run_dir, threshold=threshold).level == level


def test_without_an_evaluation_there_is_no_threshold(tmp_path, run_dir):
    with pytest.raises(MissingError, match=r"no evaluation.*predict\.threshold"):
        of_run(run_dir)
    with pytest.raises(MissingError, match="not evaluated"):
        of_run(run_dir, evaluation=tmp_path / "none")


@pytest.mark.parametrize("named", [False, True])
def test_the_evaluation_of_another_run_is_not_taken(tmp_path, run_dir, named):
    folder = evaluate(run_dir, tmp_path / "results" / "evaluate")
    write_run(tmp_path / "models" / "later", loss="dice")
    with pytest.raises(MissingError, match="no evaluation"):
        of_run(tmp_path / "models" / "later", evaluation=folder if named else None)


def test_several_classes_need_no_threshold(tmp_path, run_dir):
    run = write_run(tmp_path / "models" / "three", classes=["ground", "building", "tree"])
    found = of_run(run)
    assert (found.channels, found.threshold) == (3, None)
    assert of_run(run, threshold=0.9).about == found.about


@pytest.mark.parametrize("lacking", ["band_names", "image_dtype", "resolution_m", "scale"])
def test_a_run_of_an_older_gim_cv_is_refused(tmp_path, run_dir, lacking):
    run = write_run(tmp_path / "models" / "old", **{lacking: None})
    with pytest.raises(ConfigError, match=rf"run\.yml.*found no {lacking}.*Train it again"):
        of_run(run, threshold=0.5)


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(MissingError, match="not a run directory"):
        of_run(tmp_path / "none", threshold=0.5)


def test_a_run_without_weights_is_an_error(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "best.weights.h5").unlink()
    with pytest.raises(MissingError, match=r"best\.weights\.h5"):
        of_run(run, threshold=0.5)


def test_what_answers_otherwise_is_told_apart(tmp_path, run_dir):
    plain = of_run(run_dir, threshold=0.5).about
    assert of_run(run_dir, threshold=0.5).about == plain
    assert of_run(run_dir, threshold=0.6).about != plain
    assert of_run(run_dir, threshold=0.5, symmetries=True).about != plain
    other = write_run(tmp_path / "models" / "other", loss="dice")
    assert of_run(other, threshold=0.5).about != plain
    (run_dir / "best.weights.h5").write_bytes(b"trained again")
    assert of_run(run_dir, threshold=0.5).about != plain


def test_the_threshold_of_the_evaluation_given_by_hand_is_the_same(tmp_path, run_dir):
    evaluate(run_dir, tmp_path / "results" / "evaluate", level=77)
    chosen = of_run(run_dir)
    assert of_run(run_dir, threshold=chosen.threshold).about == chosen.about


def test_a_trained_run_predicts_scenes(tmp_path, squares, eager):
    fit(squares, tmp_path, epochs=1)
    run = tmp_path / "Segmentalist"
    found = of_run(run, threshold=0.5)
    assert found.band_names == ("b0", "b1", "b2")
    images = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
    answer = found.predict(images)
    assert answer.shape == (2, 32, 32, 1)
    assert ((answer >= 0) & (answer <= 1)).all()
    moved = shutil.move(run, tmp_path / "moved")
    again = of_run(moved, threshold=0.5)
    assert again.about == found.about
    np.testing.assert_array_equal(again.predict(images), answer)
    turned = of_run(moved, threshold=0.5, symmetries=True)
    upright = turned.predict(images)
    np.testing.assert_allclose(turned.predict(images[:, ::-1]), upright[:, ::-1], atol=1e-5)


def test_a_keras_model_is_for_any_image():
    found = of_model()
    assert (found.bands, found.band_names, found.image_dtype) == (3, None, None)
    assert (found.resolution_m, found.level, found.channels) == (None, 128, 1)


@pytest.mark.parametrize(
    ("inputs", "outputs", "classes"),
    [
        ((None, None, None, 3), (None, None, None, 2), ("background", "building")),
        ((None, None, None, 3), (None, None, None, 1), ("ground", "building", "tree")),
        ((None, None, None, 3), (None, None, None, 4), ("ground", "building", "tree")),
        ((None, 10), (None, 1), ("background", "building")),
        ((None, None, None, None), (None, None, None, 1), ("background", "building")),
        ([(None, None, None, 3)] * 2, (None, None, None, 1), ("background", "building")),
        ((None, None, None, 3), [(None, None, None, 1)] * 2, ("background", "building")),
    ],
)
def test_a_model_of_something_else_is_refused(inputs, outputs, classes):
    with pytest.raises(ConfigError, match="no model of images"):
        of_model(Brightness(inputs, outputs), classes=classes)


def test_what_is_no_model_is_refused():
    with pytest.raises(ConfigError, match="no model of images"):
        of_model(object())


def test_models_that_answer_otherwise_are_told_apart():
    plain = of_model().about
    assert of_model().about == plain
    assert of_model(Brightness(weight=2.0)).about != plain
    for change in ({"threshold": 0.6}, {"symmetries": True}, {"scale": 1.0}):
        assert of_model(**change).about != plain


def test_a_keras_model_built_again_is_the_same():
    import keras

    def built(activation):
        image = keras.Input((None, None, 3))
        answer = keras.layers.Conv2D(1, 3, padding="same", activation=activation)(image)
        model = keras.Model(image, answer)
        model.set_weights([np.full(w.shape, 0.1, np.float32) for w in model.get_weights()])
        return model

    abouts = [of_model(built(name)).about for name in ("sigmoid", "sigmoid", "hard_sigmoid")]
    assert abouts[0] == abouts[1] != abouts[2]


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


def test_any_way_to_name_a_model_will_do(run_dir):
    own = trained()
    assert predictor_for(own, ("a", "b"), 1.0, None, symmetries=False) is own
    for row in ({"run_dir": str(run_dir)}, pd.Series({"run_dir": str(run_dir)})):
        found = predictor_for(row, (), 1.0, 0.25, symmetries=False)
        assert (found.level, found.scale, found.band_names) == (64, 255.0, own.band_names)
    found = predictor_for(Brightness(), ("a", "b"), 2.0, None, symmetries=False)
    assert (found.level, found.scale, found.classes) == (128, 2.0, ("a", "b"))


def test_the_weights_of_another_revision_are_fetched(run_dir, monkeypatch):
    fetched = []
    monkeypatch.setattr(revisions, "fetch_run", lambda row: fetched.append(row) or run_dir)
    row = {"rev": "tag", "run_dir": "elsewhere"}
    assert predictor_for(row, (), 1.0, 0.5, symmetries=False).level == 128
    assert fetched == [row]
    predictor_for({"rev": "workspace", "run_dir": run_dir}, (), 1.0, 0.5, symmetries=False)
    assert fetched == [row]


def test_a_threshold_without_meaning_is_refused(tmp_path, run_dir):
    three = write_run(tmp_path / "models" / "three", classes=["ground", "building", "tree"])
    for model in ({"run_dir": three}, Brightness(outputs=(None, None, None, 3))):
        names = ("ground", "building", "tree")
        assert predictor_for(model, names, 255.0, None, symmetries=False).threshold is None
        with pytest.raises(ConfigError, match=r"a threshold is for two classes.*Leave it out"):
            predictor_for(model, names, 255.0, 0.9, symmetries=False)
    for wrong in (-0.1, 1.5, float("nan")):
        for model in ({"run_dir": run_dir}, Brightness()):
            with pytest.raises(ConfigError, match=r"threshold; expected a probability, from 0 to"):
                predictor_for(model, ("a", "b"), 255.0, wrong, symmetries=False)


@pytest.mark.parametrize("given", ["data/models/Segmentalist", None])
def test_what_is_neither_a_run_nor_a_model_is_named(given):
    with pytest.raises(ConfigError, match=rf"found {type(given).__name__}\. .*run_dir"):
        predictor_for(given, ("a", "b"), 255.0, None, symmetries=False)
