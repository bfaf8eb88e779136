import numpy as np
import pytest
from patchsets import patch_set

from gim_cv import labelmaps
from gim_cv.differences import compare_labels
from gim_cv.labelmaps import LabelMap, count_changes
from gim_cv.patches import Window
from gim_cv.store import write_store

PX, SIDE = 16, 40


@pytest.fixture
def make(tmp_path):
    """Writes a store of half-overlapping patches cut from a 40×40 px map; returns its LabelMap."""

    def store(name, labels, *, step=8, grid=(), classes=("background", "building")):
        starts = range(0, SIDE - PX + 1, step)
        places = [(row, col) for row in starts for col in starts]
        patches = patch_set("a", len(places), px=PX, classes=classes)
        row0, col0 = np.array(places, np.int32).T
        patches = patches.assign_coords(row0=("patch", row0), col0=("patch", col0))
        cut = np.stack([labels[r : r + PX, c : c + PX] for r, c in places])[..., None]
        patches["mask"] = (patches["mask"].dims, cut.astype(np.uint8))
        patches["image"][:] = patches["mask"].to_numpy() + 1
        patches.attrs["pairs"]["a"] |= {"height": SIDE, "width": SIDE, **dict(grid)}
        write_store(patches, tmp_path / name, recipe={})
        return LabelMap(tmp_path / name)

    return store


def ground():
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[4:12, 10:20] = 1
    labels[30:34, 30:34] = 255
    return labels


def test_overlapping_patches_are_put_together(make):
    one, labels = make("one", ground()), ground()
    assert (one.labels(Window(0, 0, SIDE, SIDE)) == labels).all()
    assert (one.labels(Window(3, 9, 20, 13)) == labels[3:23, 9:22]).all()
    assert (one.image(Window(4, 10, 8, 10)) == 2).all()


def test_ground_without_a_patch_has_no_label(make):
    far = make("far", ground(), step=24)  # patches at 0 and 24 only
    assert (far.labels(Window(16, 0, 8, SIDE)) == 255).all()
    assert (far.image(Window(16, 0, 8, SIDE)) == 0).all()


def test_each_pixel_of_ground_counts_once(make, monkeypatch):
    moved = ground()
    moved[4:12, 10:20] = 0
    moved[6:12, 10:20] = 1  # 2 × 10 px less
    moved[20:23, 0:5] = 1  # 3 × 5 px more
    moved[30:34, 30:34] = 0  # 16 px labelled at last
    before, after = make("before", ground()), make("after", moved)
    names = ["background", "building"]
    wanted = [[SIDE**2 - 80 - 16 - 15, 15, 0], [20, 60, 0], [16, 0, 0]]
    counts, flips = count_changes(before, after, names, keep=2)
    assert counts.tolist() == wanted
    assert [one.pixels for one in flips] == [15, 12]
    assert flips[0].window == Window(16, 0, PX, PX)
    assert flips[1].window == Window(0, 0, PX, PX)  # columns 10–15; the other 8 lie beyond
    monkeypatch.setattr(labelmaps, "STRIP_PX", 1)  # strips of one patch
    again, same = count_changes(before, after, names, keep=2)
    assert again.tolist() == wanted
    assert same == flips


def test_areas_and_flips_of_a_changed_pair(make):
    moved = ground()
    moved[4:6, 10:20] = 0
    row, _ = compare_labels(make("before", ground()), make("after", moved), squares=0)
    assert row["grid"] is None
    assert row["area_m2"][0] == {"background": (1600 - 96) / 4, "building": 20.0}
    assert row["area_m2"][1] == {"background": (1600 - 76) / 4, "building": 15.0}
    assert row["flipped"]["ways"] == [{"from": "building", "to": "background", "pixels": 20}]
    assert row["flipped"]["share"] == 20 / (1600 - 16)


def test_other_grids_have_areas_but_no_flips(make):
    coarse = make("coarse", ground(), grid={"resolution_m": [1.0, 1.0]}.items())
    moved = make("moved", ground(), grid={"transform": [1.0, 0, 0, 0, -1.0, 0]}.items())
    row, flips = compare_labels(coarse, moved, squares=3)
    assert row["grid"].startswith("transform:")
    assert "flipped" not in row
    assert flips == []
    assert row["area_m2"][0]["building"] == 80.0
    assert row["area_m2"][1]["building"] == 20.0


def test_classes_are_matched_by_name_and_a_new_pair_has_no_before(make):
    labels = ground()
    labels[labels == 1] = 2
    three = make("three", labels, classes=("background", "road", "building"))
    row, _ = compare_labels(make("two", ground()), three, squares=0)
    assert row["flipped"]["pixels"] == 0
    assert row["area_m2"][1] == {"background": 376.0, "building": 20.0, "road": 0.0}
    row, _ = compare_labels(None, three, squares=0)
    assert row["area_m2"][0] is None
    assert row["area_m2"][1]["building"] == 20.0
