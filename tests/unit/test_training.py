"""Training datasets: from files to batches, and to stores that equal the pipeline's."""

import shutil
from functools import partial

import dask.array as da
import numpy as np
import pytest
from patchsets import same, small_layout
from trainings import IMAGES, MASKS, SPLIT, dataset, prepared

from gim_cv.catalog import Pair
from gim_cv.combine import combine_stores
from gim_cv.errors import ConfigError, DataError, MissingError, RunError, StoreError
from gim_cv.pairs import stream_pair
from gim_cv.preprocessing import (
    balanced_oversample,
)
from gim_cv.store import store_digest, write_store
from gim_cv.training import (
    CompositeTrainingDataset,
    TrainingDataset,
    fancy_batch_generator,
)


def test_arrays_are_lazy_and_their_splits_make_up_the_whole(scenes):
    tds = prepared(dataset(scenes, "a"))
    assert isinstance(tds.X, da.Array)
    assert tds.X.shape == (len(tds), 32, 32, 3)
    assert (tds.y.shape, tds.y.dtype) == ((len(tds), 32, 32, 1), np.uint8)
    parts = [tds.X_train, tds.X_val, tds.X_test]
    assert sum(len(part) for part in parts) == len(tds)
    assert all(len(part) for part in parts)
    assert [len(tds.y_train), len(tds.y_val), len(tds.y_test)] == [len(part) for part in parts]
    image, mask = tds[3]
    assert np.array_equal(image.compute(), tds.X.compute()[3])
    assert np.array_equal(mask.compute(), tds.y.compute()[3])


def test_nothing_is_there_before_it_is_prepared(scenes):
    with pytest.raises(RunError, match=r"prepare\(\) or load_prepared_arrays\(\)"):
        _ = dataset(scenes, "a").X


def test_channels_are_among_the_bands_of_the_pair(scenes):
    pair = Pair(name="a", source=scenes.name, image="a.tif", labels="a.geojson", bands=(1, 3))
    options = {"mask_pipeline_factory": MASKS, "raw_dir": scenes.parent}
    last = TrainingDataset(pair, None, partial(IMAGES, channels=[1]), **options)
    assert last.pair.bands == (3,)
    with pytest.raises(ConfigError, match=r"channels from 0 to 1, found \[0, 2\]"):
        TrainingDataset(pair, None, partial(IMAGES, channels=[0, 2]), **options)


def test_two_shares_mean_no_test_part(scenes):
    tds = dataset(scenes, "a", split=None, train_val_test_split=(0.5, 0.5))
    assert len(prepared(tds).X_test) == 0
    with pytest.raises(ConfigError, match="bad split fractions"):
        dataset(scenes, "a", split=None, train_val_test_split=(0.5, 0.4))


def test_a_saved_pair_is_the_stages_store_byte_for_byte(scenes, tmp_path):
    """As stages/prepare.py writes it."""
    pair = Pair(name="a", source=scenes.name, image="a.tif", labels="a.geojson")
    prepare = {
        "patch_px": 32, "overlap": 0.5, "resolution_m": 0.7, "resampling": "bilinear",
        "mask_fraction": 0.1, "all_touched": True, "min_valid": 0.3, "min_labelled": 0.3,
    }  # fmt: skip
    stream = stream_pair(pair, scenes.parent, split=SPLIT, **prepare)
    recipe = {"pair": pair.model_dump(mode="json"), "prepare": prepare, "split": SPLIT.attrs()}
    write_store(stream, tmp_path / "stage.zarr", recipe=recipe, attrs=stream.attrs)

    tds = TrainingDataset(
        pair,
        raw_dir=scenes.parent,
        image_pipeline_factory=partial(IMAGES, overlap_tiles=True),
        mask_pipeline_factory=partial(MASKS, overlap_tiles=True),
        split=SPLIT, resolution_m=0.7, min_valid=0.3, min_labelled=0.3,
        cache_directory=tmp_path / "api.zarr",
    )  # fmt: skip
    tds.prepare()
    lazy = tds.patches.compute()
    tds.save_prepared_arrays()
    assert store_digest(tmp_path / "api.zarr") == store_digest(tmp_path / "stage.zarr")
    assert same(tds.patches, lazy)


def test_a_saved_composite_is_the_stages_store_byte_for_byte(scenes, tmp_path):
    """As stages/combine.py writes it, and as prepare() had it in memory."""
    parts = [dataset(scenes, name, cache_directory=tmp_path / name) for name in "ab"]
    for part in parts:
        part.save_prepared_arrays()
    combine_stores([tmp_path / "b", tmp_path / "a"], tmp_path / "stage", seed=42, memory_mib=64)
    both = prepared(parts[0] + parts[1])
    lazy = both.patches.compute()
    both.cache_directory = tmp_path / "api"
    both.save_prepared_arrays()
    assert store_digest(tmp_path / "api") == store_digest(tmp_path / "stage")
    assert both.patches.attrs["split_certificate"] == lazy.attrs["split_certificate"]
    assert both.patches.attrs["split_certificate"]["shared_pixels"] == 0
    assert same(both.patches, lazy)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a", "api", "b", "stage"]


def test_one_place_in_two_splits_is_refused(scenes, tmp_path):
    """The same ground twice, once as a whole in another split."""
    whole = Pair(name="again", source=scenes.name, image="a.tif", labels="a.geojson", split="val")
    again = TrainingDataset(whole, None, IMAGES, MASKS, raw_dir=scenes.parent, split=SPLIT)
    both = dataset(scenes, "a") + again
    both.cache_directory = tmp_path / "c"
    with pytest.raises(DataError, match=r"a.*again"):
        both.save_prepared_arrays()
    with pytest.raises(DataError, match=r"a.*again"):
        both.prepare()
    assert list(tmp_path.iterdir()) == []


def test_load_needs_the_same_recipe(scenes, tmp_path):
    both = dataset(scenes, "a") + dataset(scenes, "b")
    both.cache_directory = tmp_path / "cache"
    with pytest.raises(FileNotFoundError):
        both.load_prepared_arrays()
    both.save_prepared_arrays()
    again = dataset(scenes, "b") + dataset(scenes, "a")
    again.cache_directory = tmp_path / "cache"
    again.load_prepared_arrays()
    assert np.array_equal(again.X.compute(), both.X.compute())

    other = dataset(scenes, "a", min_valid=0.5) + dataset(scenes, "b")
    other.cache_directory = tmp_path / "cache"
    with pytest.raises(ValueError, match=r"pairs\.a\.prepare\.min_valid: 0\.5 here, 0\.0 in"):
        other.load_prepared_arrays()
    pruned = CompositeTrainingDataset(again.constituents, prune_fn=mostly_dark)
    pruned.cache_directory = tmp_path / "cache"
    with pytest.raises(StoreError, match=r"prune_fn: .*mostly_dark, .* here, absent in the store"):
        pruned.load_prepared_arrays()

    again.delete_prepared_arrays()
    assert not (tmp_path / "cache").exists()
    with pytest.raises(RunError):
        _ = again.X
    with pytest.raises(MissingError):
        again.delete_prepared_arrays()


def test_what_is_no_store_is_not_deleted(scenes, tmp_path):
    (tmp_path / "precious").touch()
    tds = dataset(scenes, "a", cache_directory=tmp_path)
    with pytest.raises(StoreError, match="not a zarr v3 group"):
        tds.delete_prepared_arrays()
    assert (tmp_path / "precious").exists()
    tds.cache_directory = None
    with pytest.raises(ConfigError, match="no cache_directory"):
        tds.save_prepared_arrays()


@pytest.mark.parametrize("make", [dataset, lambda *where: sum([dataset(*where)])])
def test_what_is_no_store_is_not_replaced(scenes, tmp_path, monkeypatch, make):
    """And that is said before any work: even the scenes are not opened."""
    copy, out = tmp_path / "scenes", tmp_path / "out"
    shutil.copytree(scenes, copy)
    tds = make(copy, "a")
    monkeypatch.setattr("gim_cv.training.open_scene", None)
    out.touch()
    for place in (copy, out, "", "."):
        tds.cache_directory = place
        with pytest.raises(StoreError, match="Name a"):
            tds.save_prepared_arrays()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out", "scenes"]
    assert (copy / "a.tif").is_file()


def mostly_dark(image, mask):
    return image.mean() < 90


def never(image, mask):
    return False


def test_prune_functions_drop_patches_of_one_or_of_all(scenes):
    one, other = dataset(scenes, "a", prune_fn=mostly_dark), dataset(scenes, "b")
    whole = len(prepared(dataset(scenes, "a")))
    assert 0 < len(prepared(one)) < whole
    assert one.patches.attrs["pairs"]["a"]["dropped"]["prune_fn"] == whole - len(one)
    both = CompositeTrainingDataset([one, other], prune_fn=never)
    both.prepare()
    assert len(both) == len(one) + len(prepared(other))
    both.prune_fn = mostly_dark
    both.prepare()
    assert len(both) < len(one) + len(other)
    assert both.X.mean(axis=(1, 2, 3)).min().compute() >= 90
    assert other.prune_fn is None


def test_adding_is_pure_and_sum_works(scenes):
    a, b = dataset(scenes, "a", tag="x"), dataset(scenes, "b", tag="y")
    both, summed = a + b, sum([a, b])
    for composite in (both, summed, sum([both])):
        assert composite.constituents == [a, b]
    assert both.tags == ["x", "y"]
    assert both.tags_str == "x,y"
    assert both.constituent_datasets_by_tag == {"x": [a], "y": [b]}
    more = both + dataset(scenes, "a")
    assert len(more.constituents) == 3
    assert both.constituents == [a, b]
    with pytest.raises(ConfigError, match="two training datasets are named 'a'"):
        more.prepare()
    with pytest.raises(ConfigError, match="only training datasets can be pooled; found str"):
        _ = a + "b"
    with pytest.raises(ConfigError, match="a composite of nothing"):
        CompositeTrainingDataset([])


SETTINGS = {
    "batch_generator_fn": partial(fancy_batch_generator, batch_size=3),
    "shuffle_seed": 77,
    "memory_mib": 99,
    "oversample_fn": balanced_oversample,
}


def test_a_sum_takes_over_what_is_set_in_any_order(scenes):
    a, b = dataset(scenes, "a"), dataset(scenes, "b")
    one, same_again = (CompositeTrainingDataset([a], **SETTINGS) for _ in range(2))
    one.cache_directory = "x"
    sums = [one + b, b + one, sum([b, one]), (b + b) + one, b + (b + one), one + same_again]
    for both in (one, *sums):
        assert {name: getattr(both, name) for name in SETTINGS} == SETTINGS
    assert {both.cache_directory for both in sums} == {None}
    assert (len(one.constituents), one.cache_directory) == (1, "x")
    assert (b + b).settings() == dict.fromkeys(SETTINGS)


@pytest.mark.parametrize(
    ("setting", "other", "message"),
    [
        (
            "batch_generator_fn",
            partial(fancy_batch_generator, batch_size=4),
            r"expected fancy.*r\(batch_size=3\) as for a, found fancy.*=4\) for b, c\. Say which",
        ),
        (
            "shuffle_seed",
            0,
            r"expected 77 as for a, found 0 for b, c\. Say which: Composite.*seed=",
        ),
        ("memory_mib", 100, "expected 99 as for a, found 100 for b, c"),
        ("oversample_fn", len, "expected balanced_oversample as for a, found len for b, c"),
    ],
)
def test_settings_that_differ_are_refused_until_one_is_chosen(scenes, setting, other, message):
    a, b, c = (dataset(scenes, name, batch_generator_fn=None) for name in "abb")
    c.pair = c.pair.model_copy(update={"name": "c"})
    mine = CompositeTrainingDataset([a], **{setting: SETTINGS[setting]})
    theirs = CompositeTrainingDataset([b, c])
    setattr(theirs, setting, other)
    with pytest.raises(ConfigError, match=f"{setting} differs between datasets .*{message}"):
        _ = mine + theirs
    for parts in ([theirs, mine], [a, theirs, mine], [mine, c, theirs]):
        with pytest.raises(ConfigError, match=setting):
            sum(parts)
    chosen = CompositeTrainingDataset([mine, theirs], **{setting: other})
    assert getattr(chosen, setting) == other


def test_a_sum_prunes_each_side_as_before(scenes):
    a, b = dataset(scenes, "a"), dataset(scenes, "b")
    one, other = (CompositeTrainingDataset([x], prune_fn=mostly_dark) for x in (a, b))
    pruned = {"a": one.recipe()["pairs"]["a"], "b": other.recipe()["pairs"]["b"]}
    assert "prune_fn" in pruned["a"]
    assert (one + b).recipe()["pairs"] == pruned | {"b": b.recipe()}
    assert (a + other).recipe()["pairs"] == pruned | {"a": a.recipe()}
    assert (one + other).recipe()["pairs"] == pruned
    assert one.constituents == [a]
    assert a.prune_fn is None


def test_pipelines_with_different_seeds_leave_the_order_open(scenes):
    other = {
        "image_pipeline_factory": partial(IMAGES, seed=1),
        "mask_pipeline_factory": partial(MASKS, seed=1),
    }
    a, b = dataset(scenes, "a", **other), dataset(scenes, "b")
    for both in (a + b, b + a):
        for use in (both.recipe, both.prepare, lambda both=both: both.shuffle_seed):
            with pytest.raises(
                ConfigError, match=r"shuffle_seed differs .*(1 as for a, found 42|42)"
            ):
                use()
        both.shuffle_seed = 5
        assert both.recipe()["combine"] == {"shuffle_seed": 5}
    assert (a + CompositeTrainingDataset([b], shuffle_seed=0)).shuffle_seed == 0


def test_patches_that_are_not_saved_are_advised_against_once(scenes, tmp_path, caplog):
    with small_layout(32 * 32 * 3):
        both = prepared(dataset(scenes, "a") + dataset(scenes, "b"))
        for _ in range(2):
            both.batch_gen_train()
            both.batch_gen_val()
        (record,) = caplog.records
        assert "call save_prepared_arrays() first" in record.getMessage()
        caplog.clear()
        again = dataset(scenes, "a") + dataset(scenes, "b")
        again.cache_directory = tmp_path / "c"
        again.save_prepared_arrays()
        again.batch_gen_train()
    few = prepared(dataset(scenes, "a") + dataset(scenes, "b"))
    few.batch_gen_train()
    assert not caplog.records


def test_balanced_oversampling_by_tag(scenes):
    few = dataset(scenes, "a", tag="few", prune_fn=mostly_dark)
    both = few + dataset(scenes, "b", tag="many")
    both.batch_generator_fn = fancy_batch_generator
    both.oversample_fn = balanced_oversample
    both.prepare()
    index = both.batch_gen_train().index
    pairs = both.patches["pair"].to_numpy()[both.patches["split"] == 0]
    counts = np.bincount(pairs[index])
    assert counts[0] == counts[1] == np.bincount(pairs).max()
    assert np.bincount(pairs).min() < counts[0]


def test_files_are_named_without_their_folders(scenes):
    tds = dataset(scenes, "a")
    assert str(scenes) not in str(tds.recipe())
    assert tds.pair.image == ("a.tif",)
    with pytest.raises(ConfigError, match="no mask_src"):
        TrainingDataset(scenes / "a.tif")
