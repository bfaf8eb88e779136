import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gim_cv.objects import ObjectCounts, edge, edge_width, match_objects


def flood(mask):
    """Connected sets of pixels, by hand: diagonals connect."""
    todo = {tuple(place) for place in np.argwhere(mask).tolist()}
    found = []
    while todo:
        stack, part = [todo.pop()], set()
        while stack:
            row, col = stack.pop()
            part.add((row, col))
            for near in [(row + a, col + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                if near in todo:
                    todo.remove(near)
                    stack.append(near)
        found.append(part)
    return found


def brute_force(truth, guess):
    """Areas of matched and unmatched objects, every pair compared."""
    real, said = flood(truth), flood(guess)

    def hit(part, others):
        return any(len(part & other) / len(part | other) > 0.5 for other in others)

    return (
        sorted((len(part), hit(part, said)) for part in real),
        sorted((len(part), hit(part, real)) for part in said),
    )


masks = arrays.arrays(bool, (9, 11), elements=st.booleans())


@given(masks, masks)
@settings(max_examples=60, deadline=None)
def test_agrees_with_comparing_every_pair(truth, noise):
    guess = truth ^ (noise & np.roll(noise, 1, 0) & np.roll(noise, 1, 1))
    found = match_objects(truth, guess)
    expected = brute_force(truth, guess)
    assert sorted(zip(found.truth_px, found.truth_hit, strict=True)) == expected[0]
    assert sorted(zip(found.guess_px, found.guess_hit, strict=True)) == expected[1]
    assert found.truth_hit.sum() == found.guess_hit.sum()


def test_a_half_overlap_is_not_enough():
    truth, guess = np.zeros((1, 6), bool), np.zeros((1, 6), bool)
    truth[0, :3], guess[0, 1:4] = True, True
    assert not match_objects(truth, guess).truth_hit.any()
    guess[0, :] = [True, True, False, False, False, False]
    assert match_objects(truth, guess).truth_hit.all()


def square(side, row, col, size):
    mask = np.zeros((side, side), bool)
    mask[row : row + size, col : col + size] = True
    return mask


def test_counts_by_size_on_each_side():
    # 0.25 m² a pixel: 10 × 10 px is 25 m² (small), 20 × 20 px 100 m² (medium)
    truth = square(60, 0, 0, 10) | square(60, 20, 20, 20)
    guess = square(60, 21, 20, 20) | square(60, 50, 50, 8)
    counts = ObjectCounts()
    counts.add(truth, guess, np.ones((60, 60), bool), pixel_m2=0.25, edge_px=2)
    found = counts.summary()
    assert (found["truth"], found["predicted"]) == (2, 2)
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert found["by_size"]["medium"]["recall"] == 1.0
    assert found["by_size"]["small"]["recall"] == 0.0
    assert found["by_size"]["large"] == {
        "truth": 0,
        "predicted": 0,
        "precision": None,
        "recall": None,
        "f1": None,
    }


def test_windows_add_up_and_unseen_pixels_are_nobodys():
    truth = square(20, 2, 2, 8)
    seen = np.ones((20, 20), bool)
    seen[:, 10:] = False
    counts = ObjectCounts()
    for _ in range(2):
        counts.add(truth, truth | square(20, 5, 12, 5), seen, pixel_m2=1.0, edge_px=1)
    found = counts.summary()
    assert (found["truth"], found["predicted"], found["f1"]) == (2, 2, 1.0)
    assert found["boundary_iou"] == 1.0


def test_the_edge_by_hand():
    seen = np.ones((7, 7), bool)
    found = edge(square(7, 1, 1, 5), seen, 1)
    assert found.sum() == 25 - 9
    assert edge(square(7, 1, 1, 5), seen, 2).sum() == 25 - 1


def test_where_the_scored_ground_ends_is_no_edge():
    whole = np.ones((6, 6), bool)
    assert not edge(whole, whole, 2).any()
    seen = whole.copy()
    seen[:, 3:] = False
    assert not edge(whole & seen, seen, 2).any()


def test_boundary_iou_sees_a_shift_that_the_iou_of_a_large_roof_hides():
    truth, guess = square(100, 10, 10, 70), square(100, 13, 10, 70)
    counts = ObjectCounts()
    counts.add(truth, guess, np.ones((100, 100), bool), pixel_m2=0.09, edge_px=3)
    iou = (truth & guess).sum() / (truth | guess).sum()
    assert iou > 0.9
    assert counts.summary()["boundary_iou"] < 0.6


def test_nothing_there_is_none():
    assert ObjectCounts().summary()["f1"] is None
    assert ObjectCounts().summary()["boundary_iou"] is None


@pytest.mark.parametrize(("patch", "width"), [(16, 1), (128, 4), (256, 7)])
def test_the_edge_is_two_percent_of_the_diagonal(patch, width):
    assert edge_width(patch) == width
