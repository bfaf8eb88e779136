"""What the certificate lets pass and what it refuses."""

from dataclasses import replace

import pytest
from pyproj import CRS
from scenes import PLAIN, RULE

from gim_cv.certificate import certify
from gim_cv.errors import DataError
from gim_cv.grid import PixelGrid
from gim_cv.patches import Window
from gim_cv.territory import survey

GRID = PixelGrid(CRS(32633), PLAIN, 300, 300)
WEST, EAST = GRID.part(Window(0, 0, 300, 150)), GRID.part(Window(0, 150, 300, 150))


def stored(grid=GRID, rule=RULE, forced=None):
    return {"ground": survey(grid, rule, pair="p", forced=forced, reach_px=0).attrs()}


def test_one_rule_needs_no_comparison():
    found = certify({"b": stored(), "a": stored(rule=replace(RULE, buffer_m=0.0))})
    assert found == {"pairs": ["a", "b"], "checked": [], "shared_pixels": 0, "gap_m": 0.0}


def test_neighbours_that_share_an_edge_share_no_ground():
    found = certify({"w": stored(WEST, forced="train"), "e": stored(EAST, forced="test")})
    assert found["checked"] == []
    assert found["gap_m"] == pytest.approx(0, abs=0.002)


def test_the_gap_between_whole_pairs_is_that_of_their_footprints():
    east = GRID.part(Window(0, 200, 300, 100))  # 50 px of 0.5 m further
    pairs = {"w": stored(WEST, forced="train"), "e": stored(east, forced="test")}
    assert certify(pairs)["gap_m"] == pytest.approx(25, rel=0.005)
    assert certify({"w": pairs["w"]})["gap_m"] is None


def test_a_rule_with_a_buffer_keeps_it_between_its_pairs():
    wide = replace(RULE, buffer_m=6.0)
    assert certify({"w": stored(WEST, rule=wide), "e": stored(EAST, rule=wide)})["gap_m"] == 6


def test_the_same_ground_forced_into_one_split_passes():
    pairs = {"a": stored(forced="train"), "b": stored(WEST, forced="train")}
    assert certify(pairs)["checked"] == [["a", "b"]]


def test_the_same_ground_forced_into_two_splits_is_refused():
    with pytest.raises(DataError, match="pairs a and b put the same ground into different splits"):
        certify({"a": stored(forced="train"), "b": stored(WEST, forced="test")})


def test_a_forced_pair_on_ground_of_blocks_is_refused():
    with pytest.raises(DataError, match="train and val and test in a, test in b"):
        certify({"a": stored(), "b": stored(WEST, forced="test")})


def test_another_rule_on_the_same_ground_is_refused():
    with pytest.raises(DataError, match="different splits"):
        certify({"a": stored(), "b": stored(rule=replace(RULE, seed=99))})


def test_another_rule_elsewhere_passes():
    apart = stored(EAST, rule=replace(RULE, seed=99, buffer_m=2.0))
    assert certify({"a": stored(WEST), "b": apart})["gap_m"] == 0.0


def test_rules_that_agree_on_the_shared_ground_pass():
    all_train = replace(RULE, fractions=(1.0, 0.0))
    pairs = {"a": stored(rule=all_train), "b": stored(WEST, forced="train")}
    assert certify(pairs)["checked"] == [["a", "b"]]
