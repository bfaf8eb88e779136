"""Pooling stores: what it yields, and what it refuses."""

import hashlib
from itertools import permutations

import numpy as np
import pytest
from patchsets import follows, patch_set, same, small_layout, watermarks

from gim_cv.combine import combine_stores
from gim_cv.errors import ConfigError, DataError, StoreError
from gim_cv.store import open_store, pair_names, split_slice, store_digest, write_store

BYTES = 8 * 8 * 3


def make(folder, *, recipe=None, **sets):
    """Write one store per keyword; return the paths."""
    paths = []
    for name, patches in sets.items():
        write_store(patches, folder / f"{name}.zarr", recipe=recipe or {"px": 8})
        paths.append(folder / f"{name}.zarr")
    return paths


@pytest.fixture
def pairs(tmp_path):
    return make(tmp_path, b=patch_set("b", 50), a=patch_set("a", 33), c=patch_set("c", 5))


def combine(paths, out, **options):
    combine_stores(paths, out, **{"seed": 3, "memory_mib": 64, **options})
    return open_store(out)


def test_every_patch_is_there_once_with_its_mask_and_its_facts(pairs, tmp_path):
    with small_layout(BYTES):
        found = combine(pairs, tmp_path / "out").compute()
    names = pair_names(found)
    assert names == ["a", "b", "c"]
    assert follows(found)
    for name, count in (("a", 33), ("b", 50), ("c", 5)):
        rows = np.flatnonzero(found["pair"] == names.index(name))
        mine = found.isel(patch=rows)
        order = np.argsort(watermarks(mine))
        assert sorted(watermarks(mine)) == list(range(count))
        alike = mine.isel(patch=order).assign_coords(pair=("patch", np.zeros(count, np.int16)))
        assert same(alike, patch_set(name, count))


def test_splits_are_slices_and_each_is_shuffled(pairs, tmp_path):
    found = combine(pairs, tmp_path / "out")
    ends = found.attrs["splits"]
    for code, name in enumerate(("train", "val", "test")):
        where = split_slice(found, name)
        assert ends[name] == [where.start, where.stop]
        assert set(found["split"].to_numpy()[where].tolist()) == {code}
    train = found["pair"].to_numpy()[slice(*ends["train"])]
    assert (np.diff(train) != 0).sum() > len(train) / 4


def test_neither_order_nor_memory_nor_parts_matter_but_the_seed_does(pairs, tmp_path):
    with small_layout(BYTES):
        combine(pairs, tmp_path / "1")
        combine(pairs[::-1], tmp_path / "2", memory_mib=512, tmp_dir=tmp_path / "tmp")
        combine(pairs[:2], tmp_path / "ab", seed=9)
        combine([pairs[2], tmp_path / "ab"], tmp_path / "3")
        combine(pairs, tmp_path / "4", seed=4)
    digests = [store_digest(tmp_path / name) for name in "1234"]
    assert digests[0] == digests[1] == digests[2] != digests[3]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_attributes(pairs, tmp_path):
    found = combine(pairs, tmp_path / "out")
    assert list(found.attrs["pairs"]) == ["a", "b", "c"]
    assert found.attrs["shuffle_seed"] == 3
    assert found.attrs["classes"] == ["background", "building"]
    assert found.attrs["recipe"] == (
        '{"combine":{"shuffle_seed":3},"pairs":{"a":{"px":8},"b":{"px":8},"c":{"px":8}}}'
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_statistics_are_those_of_labelled_train_pixels(tmp_path, dtype):
    paths = make(tmp_path, a=patch_set("a", 30, dtype=dtype), b=patch_set("b", 20, dtype=dtype))
    found = combine(paths, tmp_path / "out")
    train = found.isel(patch=split_slice(found, "train")).compute()
    seen = train["mask"].to_numpy()[..., 0] != 255
    dense = train["image"].to_numpy()[seen].astype(np.float64)
    statistics = found.attrs["statistics"]
    assert statistics["count"] == len(dense)
    np.testing.assert_allclose(statistics["mean"], dense.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(statistics["std"], dense.std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(statistics["covariance"], np.cov(dense.T, bias=True), rtol=1e-6)
    classes = [int((train["mask"] == k).sum()) for k in (0, 1)]
    assert statistics["class_pixels"] == classes
    top = max(statistics["percentiles"]["99.9"])
    assert statistics["scale"] == (255.0 if dtype == "uint8" else top)


def test_the_test_digest_names_the_test_split_alone(pairs, tmp_path):
    base = combine(pairs, tmp_path / "1").attrs["test_digest"]
    assert combine(pairs[::-1], tmp_path / "2", seed=8).attrs["test_digest"] == base
    more = make(tmp_path, extra=patch_set("aa", 9, splits=(0.7, 0.3, 0.0)))
    assert combine(pairs + more, tmp_path / "3").attrs["test_digest"] == base

    other = patch_set("a", 33)
    first = int(np.flatnonzero(other["split"] == 2)[0])
    other["mask"][first, -1, -1, 0] ^= 1
    changed = make(tmp_path / "x", a=other)
    changed = combine([*pairs[:1], *changed, *pairs[2:]], tmp_path / "4").attrs["test_digest"]
    assert changed != base

    none = make(tmp_path, only=patch_set("only", 9, splits=(1.0, 0.0, 0.0)))
    assert combine(none, tmp_path / "5").attrs["test_digest"] is None


def test_the_test_digest_by_hand(tmp_path):
    patches = patch_set("p", 2)
    patches["split"][:] = [0, 2]
    found = combine(make(tmp_path, p=patches), tmp_path / "out").attrs["test_digest"]
    image, mask = patches["image"].to_numpy()[1], patches["mask"].to_numpy()[1]
    inner = hashlib.sha256(image.tobytes() + mask.tobytes()).digest()
    assert found == hashlib.sha256(b"p 0 8 " + inner).hexdigest()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"bands": 4}, "number of bands differs.*expected 3 as in a, found 4 in b"),
        ({"px": 16}, "patch size differs.*expected 8×8 px as in a, found 16×16 px in b"),
        ({"dtype": "uint16"}, "type differs.*expected uint8 as in a, found uint16 in b"),
        ({"classes": ("background", "road")}, r"classes differs.*\['background', 'road'\] in b"),
    ],
)
def test_stores_that_differ_are_refused_and_both_sides_named(tmp_path, other, message):
    paths = make(tmp_path, a=patch_set("a", 5), b=patch_set("b", 5, **other))
    with pytest.raises(StoreError, match=message):
        combine(paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()


RGB, BGR = ["Red", "green", "blue"], ["blue", "green", "red"]


def of_colours(**bands):
    """Patch sets of pairs whose bands have these names."""
    sets = {name: patch_set(name, 5) for name in bands}
    for name, names in bands.items():
        sets[name].attrs["pairs"][name]["bands"] = names or ["b0", "b1", "b2"]
    return sets


@pytest.mark.parametrize("order", list(permutations("abc")))
def test_red_and_blue_are_not_exchanged(tmp_path, order):
    """Bands without a colour may be any; they do not hide that two others differ."""
    paths = dict(zip("abc", make(tmp_path, **of_colours(a=RGB, b=BGR, c=None)), strict=True))
    combine([paths["a"], paths["c"]], tmp_path / "fine")
    message = (
        r"colour of band 1 differs.*(red as in a, found blue in b|blue as in b, found red in a)"
    )
    with pytest.raises(StoreError, match=message):
        combine([paths[name] for name in order], tmp_path / "out")


def test_colours_of_every_pair_of_a_combined_store_count(tmp_path):
    blank, rgb, bgr = make(tmp_path, **of_colours(a=None, b=RGB, c=BGR))
    combine([blank, rgb], tmp_path / "both")
    with pytest.raises(StoreError, match="red as in b, found blue in c"):
        combine([tmp_path / "both", bgr], tmp_path / "out")


def test_a_pair_comes_once(tmp_path):
    one, other = make(tmp_path, a=patch_set("a", 5), other=patch_set("a", 6))
    with pytest.raises(StoreError, match=r"pair 'a' is in .*a\.zarr too"):
        combine([one, other], tmp_path / "out")


def test_a_patch_comes_once(tmp_path):
    patches = patch_set("a", 5).isel(patch=[0, 1, 2, 2])
    with pytest.raises(StoreError, match="row 0, column 16 of pair 'a' comes twice"):
        combine(make(tmp_path, a=patches), tmp_path / "out")


def test_something_must_be_there_to_learn_from(tmp_path):
    patches = patch_set("a", 5)
    patches["split"][:] = 1
    with pytest.raises(DataError, match="no labelled pixel in the train split"):
        combine(make(tmp_path, a=patches), tmp_path / "out")
    with pytest.raises(DataError, match="no stores to combine"):
        combine([], tmp_path / "out")


def test_too_little_memory_is_refused(tmp_path):
    paths = make(tmp_path, a=patch_set("a", 40, px=128))
    with pytest.raises(ConfigError, match="expected at least 10, found 1"):
        combine(paths, tmp_path / "out", memory_mib=1)
    assert {item.name for item in tmp_path.iterdir()} == {"a.zarr"}
