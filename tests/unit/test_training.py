"""Training datasets: from files to batches, and to stores that equal the pipeline's."""

from functools import partial

import dask.array as da
import numpy as np
import pytest
import rasterio
from patchsets import same
from projects import write_scene
from sklearn.pipeline import Pipeline

from gim_cv.catalog import Pair
from gim_cv.combine import combine_stores
from gim_cv.errors import ConfigError, DataError, MissingError, RunError, StoreError, UnknownError
from gim_cv.ground import GroundSplit
from gim_cv.pairs import stream_pair
from gim_cv.preprocessing import (
    BinariserRGB,
    Float32er,
    SimpleInputScaler,
    balanced_oversample,
    get_aug_datagen,
    get_binary_mask_training_pipeline,
    get_image_training_pipeline,
    light_aug,
)
from gim_cv.store import open_store, store_digest, write_store
from gim_cv.training import (
    CompositeTrainingDataset,
    TrainingDataset,
    fancy_batch_generator,
    pair_batch_generator,
)

SPLIT = GroundSplit("blocks", 16.0, (0.6, 0.2, 0.2), seed=1, buffer_m=0.0, folds=0, fold=0)
IMAGES = partial(get_image_training_pipeline, window_dims=(32, 32))
MASKS = partial(get_binary_mask_training_pipeline, window_dims=(32, 32))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for name in ("a", "b"):
        write_scene(folder, name, side=128)
    return folder


def dataset(scenes, name, **options):
    defaults = {"image_pipeline_factory": IMAGES, "mask_pipeline_factory": MASKS, "split": SPLIT}
    files = scenes / f"{name}.tif", scenes / f"{name}.geojson"
    return TrainingDataset(*files, **(defaults | options))


def prepared(tds):
    tds.prepare()
    return tds


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
    with pytest.raises(StoreError, match=r"prune_fn: .*mostly_dark\" here, absent in the store"):
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
    with pytest.raises(StoreError, match="pair 'a' is in a too"):
        more.prepare()
    with pytest.raises(ConfigError, match="only training datasets can be pooled; found str"):
        _ = a + "b"
    with pytest.raises(ConfigError, match="a composite of nothing"):
        CompositeTrainingDataset([])


def test_the_generator_is_the_one_that_all_share(scenes):
    mine = partial(pair_batch_generator, batch_size=3)
    twin = partial(pair_batch_generator, batch_size=3)
    alike = dataset(scenes, "a", batch_generator_fn=mine) + dataset(
        scenes, "b", batch_generator_fn=twin
    )
    assert alike.batch_generator_fn is mine
    unlike = dataset(scenes, "a", batch_generator_fn=mine) + dataset(scenes, "b")
    assert unlike.batch_generator_fn is None
    unlike.prepare()
    with pytest.raises(ConfigError, match=r"no batch generator.*Set batch_generator_fn"):
        unlike.batch_gen_train()


def epoch(batches):
    parts = list(batches)
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def test_validation_is_never_augmented_and_train_is(scenes):
    tds = prepared(dataset(scenes, "a", batch_generator_fn=partial(
        fancy_batch_generator, batch_size=4, augger=light_aug(1.0)
    )))  # fmt: skip
    x, y = epoch(tds.batch_gen_val())
    assert x.dtype == np.float32
    assert np.array_equal(x, tds.X_val.compute() / np.float32(255))
    assert np.array_equal(y, tds.y_val.compute())
    assert len(epoch(tds.batch_gen_test())[0]) == len(tds.X_test)
    x, _ = epoch(tds.batch_gen_train())
    plain = {patch.tobytes() for patch in tds.X_train.compute() / np.float32(255)}
    assert len(x) == len(plain)
    assert not plain & {patch.tobytes() for patch in x}


def test_a_client_gives_the_same_batches(scenes):
    from dask.distributed import Client

    tds = prepared(dataset(scenes, "a"))
    options = {"batch_size": 4, "augger": light_aug(1.0), "seed": 7}
    with Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
    ) as client:
        there = epoch(fancy_batch_generator(tds.X_train, tds.y_train, client=client, **options))
    here = epoch(fancy_batch_generator(tds.X_train, tds.y_train, **options))
    assert all(np.array_equal(a, b) for a, b in zip(there, here, strict=True))


def test_generators_keep_their_switches(scenes):
    tds = prepared(dataset(scenes, "a"))
    X, y = tds.X_train, tds.y_train
    still = {"shuffle_blocks_every_epoch": False, "shuffle_within_blocks": False}
    raw, _ = epoch(fancy_batch_generator(X, y, float32=False, **still))
    assert raw.dtype == np.uint8
    assert np.array_equal(raw, X.compute())
    pair = pair_batch_generator(
        X, y, batch_size=3, img_aug=get_aug_datagen(rescale=0.5), shuffle=False
    )
    quiet = pair_batch_generator(
        X, y, img_aug=get_aug_datagen(rescale=0.5), shuffle=False, training=False
    )
    assert [len(x) for x, _ in pair][:-1] == [3] * (len(pair) - 1)
    assert np.array_equal(epoch(quiet)[0], X.compute() * np.float32(0.5))
    plain, _ = epoch(pair_batch_generator(X, y, img_aug=get_aug_datagen(None), training=False))
    assert plain.dtype == np.uint8
    with pytest.raises(ConfigError, match="move pixels differently"):
        pair_batch_generator(
            X, y, img_aug=get_aug_datagen(), mask_aug=get_aug_datagen(vertical_flip=False)
        )
    with pytest.raises(DataError, match="do not belong together"):
        pair_batch_generator(X, y[:-1])


def test_an_own_generator_of_two_arrays_will_do(scenes):
    def own(X, y):
        for k in range(0, len(X), 2):
            yield X[k : k + 2].compute(), y[k : k + 2].compute()

    tds = prepared(dataset(scenes, "a", batch_generator_fn=own))
    assert np.array_equal(epoch(tds.batch_gen_train())[0], tds.X_train.compute())
    tds.oversample_fn = balanced_oversample
    with pytest.raises(ConfigError, match=r"expected a keyword oversample, found \(X, y\)"):
        tds.batch_gen_train()


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


def test_the_scale_of_a_saved_store_is_used(scenes, tmp_path):
    tds = dataset(scenes, "a") + dataset(scenes, "b")
    tds.cache_directory = tmp_path / "c"
    tds.save_prepared_arrays()
    assert tds.batch_gen_val().scale == 255
    tds._patches.attrs["statistics"]["scale"] = 50.0
    assert tds.batch_gen_val().scale == 50


def test_the_pipelines_say_how_to_cut(scenes):
    half = dataset(
        scenes, "a",
        image_pipeline_factory=partial(IMAGES, resample_factor=0.5, channels=[2, 0], seed=7),
        mask_pipeline_factory=partial(MASKS, resample_factor=0.5, mask_fraction=0.4, seed=7),
    )  # fmt: skip
    prepare = half.recipe()["prepare"]
    assert prepare["resolution_m"] == pytest.approx(1.0, rel=1e-3)
    assert prepare["mask_fraction"] == 0.4
    assert (half.pair.bands, half.cut.seed) == ((3, 1), 7)
    assert prepared(half).X.shape[1:] == (32, 32, 2)
    assert half.patches.attrs["pairs"]["a"]["height"] == 64
    assert (half + half).shuffle_seed == 7


def test_further_image_steps_are_applied_lazily_and_when_saving(scenes, tmp_path):
    def scaled():
        steps = IMAGES().steps
        return Pipeline([*steps, ("scaler", SimpleInputScaler(1 / 255)), ("f", Float32er())])

    plain = prepared(dataset(scenes, "a"))
    tds = dataset(scenes, "a", image_pipeline_factory=scaled, cache_directory=tmp_path / "c")
    tds.prepare()
    assert tds.X.dtype == np.float32
    np.testing.assert_allclose(tds.X.compute(), plain.X.compute() / 255, rtol=1e-6)
    lazy = tds.X.compute()
    tds.save_prepared_arrays()
    assert np.array_equal(tds.X.compute(), lazy)
    assert "SimpleInputScaler(sf=0.00392" in str(tds.recipe()["image_steps"])
    tds.load_prepared_arrays()


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (IMAGES, get_binary_mask_training_pipeline, r"differ in window_dims.*\(32, 32\) as for im"),
        (partial(IMAGES, overlap_tiles=True), MASKS, "differ in overlap.*OverlappingTiler as for"),
        (partial(IMAGES, resample_factor=2), MASKS, "differ in resample_factor.*found 1.0 for"),
        (partial(IMAGES, seed=1), MASKS, "differ in shuffle seed"),
        (lambda: Pipeline([("f", Float32er())]), MASKS, "cuts no patches; expected a Tiler"),
        (IMAGES, lambda: Pipeline([*MASKS().steps, ("f", Float32er())]), "of the mask pipeline"),
    ],
)  # fmt: skip
def test_pipelines_that_disagree_are_refused(scenes, images, masks, message):
    with pytest.raises(ConfigError, match=message):
        dataset(scenes, "a", image_pipeline_factory=images, mask_pipeline_factory=masks)


@pytest.mark.parametrize("colour", [(255, 0, 0), (255,)])
def test_masks_drawn_in_a_colour(scenes, tmp_path, colour):
    tds = prepared(dataset(scenes, "a"))
    with rasterio.open(scenes / "a.tif") as source:
        profile = source.profile | {"count": len(colour), "nodata": None}
    picture = np.zeros((len(colour), 128, 128), np.uint8)
    picture[:, :40, :70] = np.array(colour)[:, None, None]
    with rasterio.open(tmp_path / "mask.tif", "w", **profile) as sink:
        sink.write(picture)
    drawn = TrainingDataset(
        scenes / "a.tif",
        tmp_path / "mask.tif",
        IMAGES,
        partial(MASKS, prepend_steps=[("binary", BinariserRGB(colour))]),
        split=SPLIT,
    )
    drawn.prepare()
    assert len(drawn) == len(tds)
    seen = drawn.y.compute()
    assert set(np.unique(seen)) <= {0, 1, 255}
    assert 0.1 < (seen == 1).sum() / (seen != 255).sum() < 0.25


def test_files_are_named_without_their_folders(scenes):
    tds = dataset(scenes, "a")
    assert str(scenes) not in str(tds.recipe())
    assert tds.pair.image == ("a.tif",)
    with pytest.raises(ConfigError, match="no mask_src"):
        TrainingDataset(scenes / "a.tif")


@pytest.fixture
def in_project(scenes, tmp_path, monkeypatch):
    """A project whose catalog has the scenes."""
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "scenes").symlink_to(scenes)
    (tmp_path / "data" / "catalog.yaml").write_text(
        "sources: {}\n"
        "pairs:\n"
        "  a: {source: scenes, image: a.tif, labels: a.geojson}\n"
        "  b: {source: scenes, image: b.tif, labels: b.geojson}\n"
        "datasets:\n"
        "  town: {pairs: [a, b], resolution_m: 0.5, aliases: [city]}\n"
        "  hamlet: {pairs: [a], resolution_m: 0.5}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_datasets_of_the_catalog(in_project):
    from gim_cv.datasets import get_dataset, list_datasets

    assert list_datasets() == ["hamlet", "town"]
    town = get_dataset("city")
    assert (town.tag, town.spatial_resolution) == ("town", 0.5)
    assert [path.name for path in town.image_paths] == ["a.tif", "b.tif"]
    assert [path.name for path in town.mask_paths] == ["a.geojson", "b.geojson"]
    assert [pair.name for pair in get_dataset("b").pairs] == ["b"]
    with pytest.raises(UnknownError, match="unknown dataset 'twon'; expected one of town"):
        get_dataset("twon")


def test_a_dataset_loads_its_training_data(in_project):
    from gim_cv.datasets import get_dataset

    tds = get_dataset("town").load_training_data(
        batch_size=3,
        split=SPLIT,
        image_pipeline_factory=IMAGES,
        mask_pipeline_factory=MASKS,
        cache_directory=in_project / "c",
    )
    assert (tds.tags_str, len(tds.constituents)) == ("town", 2)
    tds.save_prepared_arrays()
    x, y = tds.batch_gen_train()[0]
    assert (x.shape, y.shape) == ((3, 32, 32, 3), (3, 32, 32, 1))
    assert open_store(in_project / "c").attrs["pairs"].keys() == {"a", "b"}
