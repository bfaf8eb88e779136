"""What predicts, and the images that it is asked about: bands, types, resolutions, thresholds."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from answering import Brightness, of_model, trained
from fitting import fit

from gim_cv import predictor as module
from gim_cv import revisions
from gim_cv.errors import ConfigError, MissingError
from gim_cv.givenmodel import predictor_for
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
