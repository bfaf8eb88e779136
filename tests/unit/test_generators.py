"""Batches of training datasets."""

from functools import partial

import numpy as np
import pytest
from trainings import dataset, prepared

from gim_cv.batches import Batches
from gim_cv.errors import ConfigError, DataError
from gim_cv.preprocessing import (
    balanced_oversample,
    get_aug_datagen,
    light_aug,
)
from gim_cv.training import (
    CompositeTrainingDataset,
    fancy_batch_generator,
    pair_batch_generator,
)


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
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0"
    ) as client:
        there = epoch(fancy_batch_generator(tds.X_train, tds.y_train, client=client, **options))
    here = epoch(fancy_batch_generator(tds.X_train, tds.y_train, **options))
    assert all(np.array_equal(a, b) for a, b in zip(there, here, strict=True))


def test_augmentation_follows_the_patch_not_its_place(scenes):
    """Another order, or another pair beside it, changes no patch's augmentation."""
    seen = {}

    def note(image, mask, seed):
        seen[image.tobytes()] = seed
        return image, mask

    def seeds(tds):
        seen.clear()
        tds.batch_generator_fn = partial(fancy_batch_generator, augger=note)
        tds.prepare()
        list(tds.batch_gen_train())
        return dict(seen)

    a, b = dataset(scenes, "a"), dataset(scenes, "b")
    alone = seeds(dataset(scenes, "a"))
    both = [seeds(CompositeTrainingDataset([a, b], shuffle_seed=seed)) for seed in (1, 2)]
    assert both[0] == both[1]
    assert alone.items() <= both[0].items()


def test_a_store_and_the_handle_on_it_give_the_same_batches(scenes, tmp_path):
    options = {"seed": 5, "shuffle": True, "augmenter": light_aug(1.0)}
    make = partial(fancy_batch_generator, batch_size=3, augger=light_aug(1.0), seed=5)
    tds = CompositeTrainingDataset(
        [dataset(scenes, "a"), dataset(scenes, "b")], make, cache_directory=tmp_path / "c"
    )
    tds.save_prepared_arrays()
    mine, theirs = tds.batch_gen_train(), Batches(tmp_path / "c", "train", batch=3, **options)
    for _ in range(2):
        assert all(np.array_equal(*both) for both in zip(epoch(mine), epoch(theirs), strict=True))
    with pytest.raises(DataError, match="ids of other patches; expected"):
        fancy_batch_generator(tds.X_val, tds.y_val, ids=tds.patches)


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


def test_no_function_can_oversample_validation_patches_into_training(scenes):
    tds = prepared(dataset(scenes, "a"))
    tds.oversample_fn = lambda patches, groups: np.flatnonzero(patches["split"] == 1)
    with pytest.raises(ConfigError, match=r"positions of the train split, found \d+ that are not"):
        tds.batch_gen_train()


def test_an_own_generator_of_two_arrays_will_do(scenes):
    def own(X, y):
        for k in range(0, len(X), 2):
            yield X[k : k + 2].compute(), y[k : k + 2].compute()

    tds = prepared(dataset(scenes, "a", batch_generator_fn=own))
    assert np.array_equal(epoch(tds.batch_gen_train())[0], tds.X_train.compute())
    for batches in (tds.batch_gen_val, tds.batch_gen_test):
        with pytest.raises(ConfigError, match=r"expected a keyword training, found \(X, y\)"):
            batches()
    tds.oversample_fn = balanced_oversample
    with pytest.raises(ConfigError, match=r"expected a keyword oversample, found \(X, y\)"):
        tds.batch_gen_train()


def test_no_partial_augments_validation(scenes):
    make = partial(fancy_batch_generator, augger=light_aug(1.0), training=True)
    tds = prepared(dataset(scenes, "a", batch_generator_fn=make))
    x, _ = epoch(tds.batch_gen_val())
    assert np.array_equal(x, tds.X_val.compute() / np.float32(255))


def test_an_empty_split_is_named(scenes):
    tds = prepared(dataset(scenes, "a", split=None, train_val_test_split=(0.5, 0.5)))
    with pytest.raises(DataError, match=r"no patch in the test split; found .*, test 0\."):
        tds.batch_gen_test()
    with pytest.raises(DataError, match="no patch to make batches of"):
        pair_batch_generator(tds.X_test, tds.y_test)


def test_the_scale_of_a_saved_store_is_used(scenes, tmp_path):
    tds = dataset(scenes, "a") + dataset(scenes, "b")
    tds.cache_directory = tmp_path / "c"
    tds.save_prepared_arrays()
    assert tds.batch_gen_val().scale == 255
    tds._patches.attrs["statistics"]["scale"] = 50.0
    assert tds.batch_gen_val().scale == 50
