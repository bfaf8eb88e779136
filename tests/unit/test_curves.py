import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gim_cv.curves import (
    as_levels,
    average_precision,
    best_level,
    calibration_error,
    counts_at,
    histogram,
    level_of,
    precision_recall,
    reliability,
    threshold_of,
)
from gim_cv.errors import DataError
from gim_cv.scores import confusion


def test_levels_round_to_the_nearest_of_256():
    assert as_levels([0.0, 0.5, 1.0, 0.001, 0.4999]).tolist() == [0, 128, 255, 0, 127]


@pytest.mark.parametrize("bad", [-0.1, 1.2, np.nan])
def test_levels_refuse_what_is_no_probability(bad):
    with pytest.raises(DataError, match="no probability"):
        as_levels([0.5, bad])


def test_a_threshold_and_its_level_decide_alike():
    p = np.linspace(0, 1, 1001)
    for threshold in (0.0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
        level = level_of(threshold)
        # a level is 1/255 wide; the decision may differ within half of it
        far = np.abs(p - threshold) > 0.5 / 255 + 1e-12
        assert ((as_levels(p) >= level) == (p >= threshold))[far].all()
    assert (level_of(0.0), level_of(0.5), level_of(1.0)) == (0, 128, 255)
    assert threshold_of(128) == 0.5
    assert level_of(threshold_of(77)) == 77


def test_histogram_counts_by_truth_and_level_without_ignored():
    found = histogram([0, 1, 1, 255], [3, 3, 200, 3])
    assert found.shape == (2, 256)
    assert (found[0, 3], found[1, 3], found[1, 200], found.sum()) == (1, 1, 1, 3)


def test_counts_at_a_level_are_the_confusion_of_the_cut():
    rng = np.random.default_rng(0)
    truth, levels = rng.integers(0, 2, 300), rng.integers(0, 256, 300)
    for level in (0, 1, 128, 255, 256):
        cut = counts_at(histogram(truth, levels), level)
        assert cut.tolist() == confusion(truth, levels >= level, 2).tolist()


def test_best_level_has_the_highest_iou_and_is_nearest_to_a_half():
    # positives at 100, negatives at 60 and below: every cut from 61 to 100 is perfect
    found = histogram([1, 1, 0, 0], [100, 100, 60, 10])
    assert best_level(found) == 100
    assert best_level(histogram([0, 0], [5, 200]), otherwise=128) == 128


def test_precision_recall_by_hand():
    rows = precision_recall(histogram([0, 1, 1], [10, 10, 20]))
    assert [(r["precision"], r["recall"]) for r in rows] == [
        (pytest.approx(2 / 3, abs=1e-6), 1.0),
        (1.0, 0.5),
    ]
    assert rows[1]["threshold"] == threshold_of(11)
    assert precision_recall(histogram([0], [10])) == []


def test_average_precision_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 400)
    levels = np.clip(rng.normal(100 + 60 * truth, 50), 0, 255).astype(np.uint8)
    expected = average_precision_score(truth, levels)
    assert average_precision(histogram(truth, levels)) == pytest.approx(expected)
    assert average_precision(histogram([0], [1])) is None


def test_calibration_by_hand():
    # 4 pixels said 1.0 of which 3 are positive; 4 said 0.0 of which none
    found = histogram([1, 1, 1, 0, 0, 0, 0, 0], [255] * 4 + [0] * 4)
    rows = reliability(found, bins=10)
    assert [(r["predicted"], r["observed"], r["weight"]) for r in rows] == [
        (0.0, 0.0, 0.5),
        (1.0, 0.75, 0.5),
    ]
    assert calibration_error(found, bins=10) == pytest.approx(0.125)
    assert calibration_error(np.zeros((2, 256), np.int64)) is None
