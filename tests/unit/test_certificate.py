"""What the certificate lets pass and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from pyproj import CRS
from scenes import PLAIN, RULE

from gim_cv import certificate
from gim_cv.certificate import certify
from gim_cv.errors import DataError
from gim_cv.grid import PixelGrid
from gim_cv.patches import SPLITS, Window
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
    with pytest.raises(DataError, match=r"(train|val) in a, test in b"):
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


def drawn(*boxes, grid=GRID, buffer_m=0.0):
    """A pair whose splits are boxes (split, x0, y0, x1, y1) in px."""
    zones = {}
    for split, *corners in boxes:
        zones.setdefault(SPLITS.index(split), []).append(shapely.box(*corners))
    areas = {code: np.array(found) for code, found in zones.items()}
    rule = replace(RULE, buffer_m=buffer_m)
    ground = survey(grid, rule, pair="p", forced=None, zones=areas, reach_px=0)
    return {"ground": ground.attrs()}


def test_the_gap_between_drawn_areas_is_measured():
    pair = drawn(("train", 0, 0, 100, 300), ("test", 140, 0, 300, 300))
    assert certify({"a": pair})["gap_m"] == pytest.approx(20, rel=0.005)
    wide = drawn(("train", 0, 0, 100, 300), ("test", 100, 0, 300, 300), buffer_m=8.0)
    assert certify({"a": wide})["gap_m"] == pytest.approx(8, abs=0.1)


def test_drawn_areas_that_agree_pass_and_others_are_refused():
    whole = drawn(("train", 0, 0, 150, 300), ("test", 150, 0, 300, 300))
    assert certify({"a": whole, "w": stored(WEST, forced="train")})["checked"] == [["a", "w"]]
    assert certify({"a": whole, "b": whole})["checked"] == [["a", "b"]]
    with pytest.raises(DataError, match=r"found test in a, val in e, .* longitude 15\.\d{6}"):
        certify({"a": whole, "e": stored(EAST, forced="val")})
    with pytest.raises(DataError, match="different splits"):
        certify({"a": whole, "b": drawn(("test", 0, 0, 40, 40))})


def test_drawn_areas_against_blocks_are_compared_place_by_place():
    rows, cols = np.mgrid[:300, :300] + 0.5
    codes = RULE.of_places(*GRID.lonlat(rows, cols))
    row, col = np.argwhere(codes == 1)[40]
    inside = drawn(("val", col, row, col + 0.5, row + 0.5))
    assert certify({"a": stored(), "b": inside})["checked"] == [["a", "b"]]
    with pytest.raises(DataError, match="val in a, train in b"):
        certify({"a": stored(), "b": drawn(("train", col, row, col + 0.5, row + 0.5))})


def random_pairs(rng, count, kinds):
    """Small pairs, scattered, none upon another: whole ones, and some under rules with a buffer."""
    wide, other = replace(RULE, buffer_m=6.0), replace(RULE, seed=9, buffer_m=2.0)
    pairs = {}
    for n in range(count):
        row, col = 30 * n + int(rng.integers(20)), int(rng.integers(40 * count))
        grid = replace(GRID, height=10**6, width=10**6).part(Window(row, col, 10, 12))
        forced = str(rng.choice(["train", "val"])) if rng.random() < kinds else None
        rule = wide if rng.random() < 0.5 else other
        pairs[f"p{n}"] = stored(grid, rule=rule, forced=forced)
    return pairs


def gap_by_comparing_all(pairs):
    grounds = [pairs[name]["ground"] for name in sorted(pairs)]
    shapes = np.array([shapely.from_wkt(ground["footprint"]) for ground in grounds])
    shrink = np.cos(np.radians(np.abs(shapely.get_coordinates(shapes)[:, 1]).max()))
    flat = shapely.transform(shapes, lambda xy: xy * 111_320.0 * [shrink, 1])
    gaps = [g["rule"]["buffer_m"] for g in grounds if g["rule"] and len(g["splits"]) > 1]
    for i, one in enumerate(grounds):
        for j, other in enumerate(grounds[:i]):
            if len({*one["splits"], *other["splits"]}) > 1:
                alike = one["rule"] is not None and one["rule"] == other["rule"]
                sure = one["rule"]["buffer_m"] if alike else 0.0
                gaps.append(max(shapely.distance(flat[i], flat[j]), sure))
    return round(min(gaps), 3) if gaps else None


@pytest.mark.parametrize("kinds", [1.0, 0.7, 0.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_gap_is_the_least_of_all_couples(seed, kinds):
    pairs = random_pairs(np.random.default_rng(seed), 3 + 2 * seed, kinds)
    assert certify(pairs)["gap_m"] == gap_by_comparing_all(pairs)


def test_not_each_pair_is_compared_with_each(monkeypatch):
    asked = []
    monkeypatch.setattr(certificate, "_same_rule", lambda one, other: asked.append((one, other)))
    pairs = random_pairs(np.random.default_rng(0), 200, kinds=1.0)
    certify(pairs)
    assert len(asked) < 5 * len(pairs)
