"""Balance as an index: counts by hand."""

import numpy as np
import pytest
import xarray as xr
from patchsets import patch_set

from gim_cv.errors import ConfigError, DataError
from gim_cv.sampling import balanced_index, class_aware_index, epoch_index, split_index


def pooled(**counts):
    """Train patches only, of several pairs; pair codes in the order of the arguments."""
    parts = [patch_set(name, n, px=2, splits=(1.0, 0.0, 0.0)) for name, n in counts.items()]
    for code, part in enumerate(parts):
        part["pair"][:] = code
    joined = xr.concat(parts, "patch", combine_attrs="drop_conflicts")
    joined["pair"].attrs = {
        "flag_values": list(range(len(parts))),
        "flag_meanings": " ".join(counts),
    }
    joined.attrs["classes"] = ["background", "building"]
    return joined


def test_split_index():
    patches = patch_set("a", 40)
    found = [split_index(patches, name) for name in ("train", "val", "test")]
    assert sorted(np.concatenate(found).tolist()) == list(range(40))
    assert set(patches["split"].to_numpy()[found[1]].tolist()) == {1}


@pytest.mark.parametrize("counts", [(7, 3), (3, 7, 1), (1, 100), (5, 5), (4,), (10, 9, 8)])
def test_every_pair_comes_equally_often(counts):
    patches = pooled(**{f"p{k}": n for k, n in enumerate(counts)})
    index = balanced_index(patches)
    pairs = patches["pair"].to_numpy()[index]
    assert np.bincount(pairs).tolist() == [max(counts)] * len(counts)
    for code, count in enumerate(counts):
        uses = np.bincount(index[pairs == code], minlength=len(patches["pair"]))
        uses = uses[patches["pair"].to_numpy() == code]
        assert len(uses) == count
        assert uses.min() >= 1
        assert uses.max() - uses.min() <= 1


def test_groups_of_pairs_are_balanced_as_one():
    patches = pooled(a=2, b=4, c=12)
    index = balanced_index(patches, groups={"a": "one", "b": "one", "c": "two"})
    assert np.bincount(patches["pair"].to_numpy()[index]).tolist() == [4, 8, 12]


def test_each_pair_has_a_group():
    with pytest.raises(ConfigError, match=r"groups; expected a group for each.* none for b, c\."):
        balanced_index(pooled(a=2, b=4, c=12), groups={"a": "one"})


def test_only_the_split_asked_for():
    patches = pooled(a=6, b=3)
    patches["split"][:] = [0, 0, 0, 1, 1, 1, 0, 1, 1]
    assert balanced_index(patches).tolist() == [0, 1, 2, 6, 6, 6]
    assert balanced_index(patches, "val").tolist().count(7) in {1, 2}
    assert len(balanced_index(patches, "test")) == 0


def with_classes(rows):
    patches = pooled(a=len(rows))
    counts = np.array(rows, np.int32)
    return patches.drop_vars("class_pixels").assign_coords(
        class_pixels=(("patch", "class"), counts)
    )


def test_patches_with_objects_make_up_their_share():
    patches = with_classes([[9, 0]] * 90 + [[5, 4]] * 10)
    index = class_aware_index(patches, share=0.5)
    assert (index >= 90).mean() == 0.5
    assert np.bincount(index).tolist() == [1] * 90 + [9] * 10


def test_a_share_that_is_met_changes_nothing():
    patches = with_classes([[9, 0]] * 5 + [[5, 4]] * 5)
    assert class_aware_index(patches, share=0.3).tolist() == list(range(10))


def test_rare_classes_are_repeated_most():
    rows = [[9, 0, 0]] * 80 + [[5, 4, 0]] * 16 + [[5, 0, 4]] * 4
    uses = np.bincount(class_aware_index(with_classes(rows), share=0.6))
    assert uses[:80].tolist() == [1] * 80
    assert uses[96:].min() > uses[80:96].max() > 1


def test_what_cannot_be_is_refused():
    patches = with_classes([[9, 0]] * 4)
    with pytest.raises(DataError, match="beyond 'background'"):
        class_aware_index(patches, share=0.5)
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(ConfigError, match="above 0, below 1"):
            class_aware_index(patches, share=share)


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ([0, 3, 4], r"2 that are not: 3, 4"),
        ([0, -1], r"1 that are not: -1"),
        (list(range(99)), r"97 that are not: 2, 3, 4, 5, 6, …"),
        ([True, False], r"bool of shape \(2,\)\. Give np\.flatnonzero\(mask\)"),
        ([0.0, 1.0], r"float64 of shape \(2,\)\."),
        ([[0, 1]], r"int64 of shape \(1, 2\)\."),
    ],
)
def test_positions_must_be_the_splits_own(chosen, found):
    patches = pooled(a=6)
    patches["split"][2:] = 1
    expected = "expected integers, positions of the train split, found "
    with pytest.raises(ConfigError, match=expected + found):
        epoch_index(patches, "train", np.array(chosen))


def test_positions_come_in_any_order_with_repeats():
    patches = pooled(a=6)
    patches["split"][:3] = 1
    assert epoch_index(patches, "train", [5, 3, 5]).tolist() == [3, 5, 5]
    assert epoch_index(patches, "val", np.array([2, 0], np.uint8)).tolist() == [0, 2]
