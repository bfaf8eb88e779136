import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from towns import batches, bright, combined

from gim_cv.curves import average_precision, best_level, counts_at, histogram, precision_recall
from gim_cv.footprints import Footprints, GroundBlocks, Ownership
from gim_cv.results import apportion
from gim_cv.scores import MEASURES, confusion, scores
from gim_cv.tally import tally

TOWN = combined(px=16, side=64, pairs=1, overlap=8)


def matrices(largest=500):
    return st.integers(2, 5).flatmap(
        lambda classes: arrays.arrays(
            np.int64, (classes, classes), elements=st.integers(0, largest)
        )
    )


def histograms():
    return arrays.arrays(np.int64, (2, 256), elements=st.integers(0, 9), fill=st.just(0))


def ids(classes, ignore):
    values = [*range(classes), *([255] if ignore else [])]
    return arrays.arrays(np.uint8, 40, elements=st.sampled_from(values))


@given(matrices())
@settings(max_examples=50, deadline=None)
def test_measures_lie_in_0_to_1_or_do_not_exist(counts):
    found = scores(counts)
    for part in (found, found["macro"], found["micro"], *found["per_class"]):
        for name in MEASURES:
            assert part[name] is None or 0 <= part[name] <= 1
    for part in found["per_class"]:
        if part["iou"] is not None:
            # F1 = 2 IoU / (1 + IoU), whatever the counts
            assert abs(part["f1"] - 2 * part["iou"] / (1 + part["iou"])) < 1e-12
            assert part["iou"] <= min(
                value for value in (part["precision"], part["recall"], 1) if value is not None
            )


@given(matrices(), st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_scores_depend_on_shares_not_on_size(counts, times):
    assert scores(counts) == scores(counts * times)


@given(ids(3, ignore=True), ids(3, ignore=False), st.integers(1, 39))
@settings(max_examples=40, deadline=None)
def test_counts_add_up_however_pixels_are_batched(truth, guess, cut):
    whole = confusion(truth, guess, 3)
    parts = confusion(truth[:cut], guess[:cut], 3) + confusion(truth[cut:], guess[cut:], 3)
    assert (whole == parts).all()
    assert whole.sum() == (truth != 255).sum()


@given(histograms())
@settings(max_examples=40, deadline=None)
def test_no_level_beats_the_best(found):
    best = best_level(found)
    ious = [scores(counts_at(found, level))["iou"] for level in range(1, 256)]
    known = [value for value in ious if value is not None]
    if found[1].sum():
        assert abs(scores(counts_at(found, best))["iou"] - max(known)) < 1e-12


@given(histograms())
@settings(max_examples=30, deadline=None)
def test_recall_falls_as_the_threshold_rises(found):
    rows = precision_recall(found)
    recalls = [row["recall"] for row in rows]
    assert recalls == sorted(recalls, reverse=True)
    value = average_precision(found)
    assert value is None or 0 <= value <= 1 + 1e-12


@given(arrays.arrays(np.int64, 4, elements=st.integers(0, 10**12)), st.integers(1, 1000))
@settings(max_examples=50, deadline=None)
def test_shares_add_up_and_are_within_one_of_their_due(counts, seats):
    shares = apportion(counts, seats)
    assert sum(shares) == (seats if counts.sum() else 0)
    if counts.sum():
        due = counts / counts.sum() * seats
        assert (np.abs(np.array(shares) - due) <= 1 + 1e-6).all()


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30), st.integers(0, 30)), max_size=25))
@settings(max_examples=40, deadline=None)
def test_every_covered_pixel_has_exactly_one_owner(origins):
    table = np.array(sorted(set(origins)), np.int64).reshape(-1, 3)
    order = np.random.default_rng(len(table)).permutation(len(table))
    places = Footprints(*table[order].T, patch_px=7)
    owns = Ownership(places)
    owned, covered = np.zeros((2, 37, 37), int), np.zeros((2, 37, 37), bool)
    for index in range(len(places)):
        pair, row, col = table[order][index]
        owned[pair, row : row + 7, col : col + 7] += owns(index)
        covered[pair, row : row + 7, col : col + 7] = True
    assert (owned == covered).all()


@given(st.integers(1, 12), st.sampled_from(["val", "test"]))
@settings(max_examples=15, deadline=None)
def test_a_tally_does_not_depend_on_the_batch(size, split):
    part = TOWN.isel(patch=np.flatnonzero(TOWN["split"] == {"val": 1, "test": 2}[split]))
    args = Footprints.of(part), GroundBlocks(part)
    found = tally(batches(TOWN, split, size), bright, *args, classes=2)
    whole = tally(batches(TOWN, split, 99), bright, *args, classes=2)
    assert found.blocks.keys() == whole.blocks.keys()
    assert (found.histogram == whole.histogram).all()


@given(ids(2, ignore=True), arrays.arrays(np.uint8, 40))
@settings(max_examples=30, deadline=None)
def test_a_histogram_holds_every_labelled_pixel_once(truth, levels):
    assert histogram(truth, levels).sum() == (truth != 255).sum()
