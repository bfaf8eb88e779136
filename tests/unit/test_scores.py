import numpy as np
import pytest
from sklearn import metrics

from gim_cv.errors import DataError
from gim_cv.scores import MEASURES, confusion, scores, vectorised


def test_confusion_counts_true_by_predicted_and_skips_ignored():
    truth = [[0, 0, 1], [1, 255, 2]]
    guess = [[0, 1, 1], [2, 0, 2]]
    assert confusion(truth, guess, 3).tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_binary_scores_are_those_of_class_one():
    # tn 5, fp 1, fn 2, tp 4
    found = scores([[5, 1], [2, 4]])
    assert found["iou"] == pytest.approx(4 / 7)
    assert found["f1"] == pytest.approx(8 / 11)
    assert found["precision"] == pytest.approx(4 / 5)
    assert found["recall"] == pytest.approx(4 / 6)
    assert found["specificity"] == pytest.approx(5 / 6)
    assert found["npv"] == pytest.approx(5 / 7)
    assert found["accuracy"] == pytest.approx(9 / 12)


def test_a_class_that_is_absent_scores_none_and_leaves_the_macro_mean():
    found = scores([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert found["per_class"][2]["iou"] is None
    assert found["per_class"][2]["specificity"] == 1.0
    assert found["macro"]["iou"] == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert found["iou"] == found["macro"]["iou"]


def test_a_class_only_predicted_scores_zero_not_none():
    found = scores([[3, 1], [0, 0]])
    assert found["iou"] == 0.0
    assert found["precision"] == 0.0
    assert found["recall"] is None


def test_nothing_labelled_scores_none():
    found = scores(np.zeros((2, 2), int))
    assert {found[name] for name in (*MEASURES, "accuracy")} == {None}
    assert set(found["micro"].values()) == {None}


def test_micro_pools_counts_before_dividing():
    counts = np.array([[6, 2, 0], [1, 3, 0], [0, 4, 1]])
    # right 10 of 17; each wrong pixel is one fp and one fn
    assert scores(counts)["micro"]["iou"] == pytest.approx(10 / (10 + 7 + 7))
    assert scores(counts)["micro"]["f1"] == pytest.approx(10 / 17)


@pytest.mark.parametrize("classes", [2, 4])
def test_agrees_with_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    truth, guess = rng.integers(0, classes, (2, 500))
    counts = confusion(truth, guess, classes)
    assert counts.tolist() == metrics.confusion_matrix(truth, guess).tolist()
    found, average = scores(counts), "binary" if classes == 2 else "macro"
    assert found["iou"] == pytest.approx(metrics.jaccard_score(truth, guess, average=average))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, guess, average=average))
    assert found["precision"] == pytest.approx(
        metrics.precision_score(truth, guess, average=average)
    )
    assert found["recall"] == pytest.approx(metrics.recall_score(truth, guess, average=average))
    micro = metrics.jaccard_score(truth, guess, average="micro")
    assert found["micro"]["iou"] == pytest.approx(micro)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_vectorised_form_agrees(measure, classes):
    counts = np.random.default_rng(1).integers(1, 9, (5, classes, classes))
    values = vectorised(measure, classes)(counts.astype(float))
    assert values == pytest.approx([scores(one)[measure] for one in counts])


def test_the_vectorised_form_is_nan_where_a_measure_does_not_exist():
    assert np.isnan(vectorised("iou", 2)(np.zeros((1, 2, 2)))).all()
    assert np.isnan(vectorised("iou", 3)(np.zeros((1, 3, 3)))).all()


@pytest.mark.parametrize(
    ("truth", "guess"), [([0, 3], [0, 1]), ([0, 1], [0, 255]), ([0, 1, 1], [0, 1])]
)
def test_confusion_refuses_what_it_cannot_count(truth, guess):
    with pytest.raises(DataError, match="expected"):
        confusion(truth, guess, 2)


@pytest.mark.parametrize("counts", [[[1, 2]], [[1]], [[1, -1], [0, 2]]])
def test_scores_refuses_what_is_no_confusion_matrix(counts):
    with pytest.raises(DataError, match="not a confusion matrix"):
        scores(counts)
