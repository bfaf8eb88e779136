"""Streamed metrics: by hand, against scikit-learn, and over batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import rasterio
from sklearn import metrics as reference

from gim_cv import metrics
from gim_cv.errors import ConfigError, UnknownError
from gim_cv.measures import FRACTIONS
from gim_cv.metrics import CARRY, Scores
from gim_cv.scores import confusion, scores

IDS = np.array([1, 1, 1, 0, 0, 255], "uint8").reshape(1, 2, 3, 1)
P = np.array([0.9, 0.5, 0.2, 0.7, 0.1, 0.9], "float32").reshape(1, 2, 3, 1)
# TP 2, FN 1, FP 1, TN 1
BY_HAND = {
    metrics.IoU: 2 / 4,
    metrics.F1: 4 / 6,
    metrics.Precision: 2 / 3,
    metrics.Recall: 2 / 3,
    metrics.Specificity: 1 / 2,
    metrics.NPV: 1 / 2,
    metrics.Accuracy: 3 / 5,
    metrics.TverskyIndex: 2 / (2 + 0.7 + 0.3),
}


def random_batch(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = rng.choice([*range(classes), 255], (2, 9, 9, 1)).astype("uint8")
    p = rng.dirichlet(np.ones(classes), (2, 9, 9)).astype("float32")
    return ids, p


def function_of(kind: type) -> Callable[..., Any]:
    """The function of a class's name: ``TverskyIndex`` → ``tversky_index``."""
    names = {metrics.IoU: "iou", metrics.TverskyIndex: "tversky_index"}
    found: Callable[..., Any] = getattr(metrics, names.get(kind, kind.__name__.lower()))
    return found


@pytest.mark.parametrize("kind", list(BY_HAND))
def test_functions_by_hand(kind: type) -> None:
    assert float(function_of(kind)(IDS, P)) == pytest.approx(BY_HAND[kind])


def test_every_class_has_its_function() -> None:
    kinds = [kind for kind in vars(metrics).values() if isinstance(kind, type)]
    kinds = [kind for kind in kinds if issubclass(kind, metrics.ConfusionMetric)]
    assert set(kinds) - {metrics.ConfusionMetric, Scores} == set(BY_HAND)
    assert metrics.jaccard is metrics.iou
    assert metrics.dice is metrics.f1


@pytest.mark.parametrize("average", ["auto", "macro", "micro", "none", 2])
def test_functions_are_the_classes_of_one_batch(average: str | int) -> None:
    ids, p = random_batch(4)
    for kind in set(BY_HAND) - {metrics.Accuracy, metrics.TverskyIndex}:
        metric = kind(n_classes=4, average=average)
        metric.update_state(ids, p)
        found = function_of(kind)(ids, p, average=average)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(metric.result()))


@pytest.mark.parametrize("kind", list(BY_HAND))
def test_by_hand(kind: type) -> None:
    metric = kind()
    metric.update_state(IDS, P)
    assert float(metric.result()) == pytest.approx(BY_HAND[kind])
    metric.reset_state()
    metric.update_state(IDS, np.ones_like(P))
    assert float(metric.counts()[0, 1]) == 2


def test_threshold_is_inclusive() -> None:
    metric = metrics.Recall(threshold=0.2)
    metric.update_state(IDS, P)
    assert float(metric.result()) == pytest.approx(2 / 3 if P[0, 0, 2, 0] < 0.2 else 1.0)


def test_batches_add_up_to_one_confusion_matrix() -> None:
    ids, p = random_batch(3)
    whole, parts = metrics.IoU(n_classes=3), metrics.IoU(n_classes=3)
    whole.update_state(ids, p)
    for row in range(9):
        parts.update_state(ids[:, row : row + 1], p[:, row : row + 1])
    assert float(whole.result()) == float(parts.result())
    expected = confusion(ids[..., 0], p.argmax(-1), 3)
    assert (np.asarray(parts.counts()) == expected).all()


def test_counts_stay_exact_beyond_2_to_24() -> None:
    metric = metrics.Accuracy()
    start = 2.0**24 + CARRY - 1
    metric.carried.assign(np.full((2, 2), start // CARRY, "float32"))
    metric.rest.assign(np.full((2, 2), start % CARRY, "float32"))
    for _ in range(3):
        metric.update_state(IDS, P)
    carried, rest = (np.asarray(part, "float64") for part in (metric.carried, metric.rest))
    assert (carried * CARRY + rest == start + 3 * np.array([[1, 1], [1, 2]])).all()


NAMES = {
    "iou": "jaccard_score",
    "f1": "f1_score",
    "precision": "precision_score",
    "recall": "recall_score",
}


@pytest.mark.parametrize("average", ["macro", "micro", "none", 2])
@pytest.mark.parametrize("measure", sorted(NAMES))
def test_equals_scikit_learn(measure: str, average: str | int) -> None:
    ids, p = random_batch(4)
    metric = Scores(measures=[measure], n_classes=4, average=average)
    metric.update_state(ids, p)
    seen = ids[..., 0] != 255
    truth, guess = ids[..., 0][seen], p.argmax(-1)[seen]
    how = {"none": None}.get(average, average) if isinstance(average, str) else None
    expected = getattr(reference, NAMES[measure])(truth, guess, average=how)
    expected = expected[average] if isinstance(average, int) else expected
    np.testing.assert_allclose(np.asarray(metric.result()[measure]), expected, rtol=1e-6)


def test_real_masks_score_as_in_scikit_learn(shared_data: Path) -> None:
    """Buildings of a city against the same masks a little off, in batches."""
    paths = sorted((shared_data / "hot_kampala_chips" / "masks").glob("*.tif"))[:6]
    masks = [(rasterio.open(path).read(1)[:256, :256] > 0).astype("uint8") for path in paths]
    ids = np.stack(masks)[..., None]
    p = 0.8 * np.roll(ids, 3, axis=2).astype("float32") + 0.1
    ids[:, :8] = 255
    metric = Scores(measures=[*NAMES, "accuracy"])
    for part in (slice(0, 4), slice(4, 6)):
        metric.update_state(ids[part], p[part])
    truth, guess = ids[ids != 255], p[ids != 255] >= 0.5
    assert 0.02 < truth.mean() < 0.98
    found = {name: float(measured) for name, measured in metric.result().items()}
    expected = {name: getattr(reference, NAMES[name])(truth, guess) for name in NAMES}
    expected["accuracy"] = reference.accuracy_score(truth, guess)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_auto_equals_the_scores_of_evaluation(classes: int) -> None:
    ids, p = random_batch(classes, seed=classes)
    metric = Scores(measures=[*FRACTIONS, "accuracy"], n_classes=classes)
    metric.update_state(ids, p)
    expected = scores(confusion(ids[..., 0], p.argmax(-1), classes))
    for name, found in metric.result().items():
        assert float(found) == pytest.approx(expected[name], rel=1e-6)


def test_absent_classes_are_not_numbers_and_not_averaged() -> None:
    ids = np.zeros((1, 2, 2, 1), "uint8")
    p = np.tile(np.array([0.8, 0.1, 0.1], "float32"), (1, 2, 2, 1))
    per_class = metrics.IoU(n_classes=3, average="none")
    per_class.update_state(ids, p)
    assert np.asarray(per_class.result()).tolist()[0] == 1.0
    assert np.isnan(np.asarray(per_class.result())[1:]).all()
    macro = metrics.IoU(n_classes=3)
    macro.update_state(ids, p)
    assert float(macro.result()) == 1.0
    empty = metrics.IoU()
    empty.update_state(ids, np.zeros((1, 2, 2, 1), "float32"))
    assert math.isnan(float(empty.result()))


def test_half_precision_predictions() -> None:
    metric = metrics.IoU()
    metric.update_state(IDS, keras.ops.cast(P, "bfloat16"))
    assert float(metric.result()) == 0.5


@pytest.mark.parametrize("kind", [*BY_HAND, Scores])
def test_config_round_trip(kind: type) -> None:
    metric = kind(threshold=0.3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    for one in (metric, again):
        one.update_state(IDS, P)
    assert again.get_config() == metric.get_config()
    assert str(again.result()) == str(metric.result())


def test_mistakes_are_errors() -> None:
    with pytest.raises(ConfigError, match="average"):
        metrics.IoU(average="weighted")
    with pytest.raises(ConfigError, match="under 2"):
        metrics.iou(IDS, P, average=2)
    with pytest.raises(ConfigError, match="under 3"):
        metrics.TverskyIndex(n_classes=3, class_id=3)
    with pytest.raises(UnknownError, match="measure"):
        Scores(measures=["iuo"])
    with pytest.raises(ConfigError, match="255"):
        metrics.IoU().update_state(IDS, P, sample_weight=np.ones(1))


def test_no_warning_from_empty_divisions() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(float(metrics.F1().result()))
