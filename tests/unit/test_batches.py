"""Batches: what they hold, in which order, and how Keras takes them."""

import math

import keras
import numpy as np
import pytest
import xarray as xr
from patchsets import patch_set, small_layout, watermarks
from scipy import stats

from gim_cv.augment import get_aug_datagen
from gim_cv.batches import Batches
from gim_cv.combine import combine_stores
from gim_cv.errors import ConfigError, DataError, StoreError, UnknownError
from gim_cv.sampling import balanced_index
from gim_cv.store import open_store, split_slice, write_store

BYTES = 8 * 8 * 3


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A combined store of 83 patches in blocks of 4."""
    folder = tmp_path_factory.mktemp("batches")
    with small_layout(BYTES):
        for name, count in (("a", 50), ("b", 33)):
            write_store(patch_set(name, count), folder / name, recipe={})
        combine_stores([folder / "a", folder / "b"], folder / "out", seed=1, memory_mib=64)
        yield folder / "out"


def make(source, split="train", **options):
    defaults = {"batch": 7, "seed": 1, "shuffle": True}
    return Batches(source, split, **{**defaults, **options})


def marks(batches):
    """Pair number and watermark of each patch of one epoch."""
    x = np.concatenate([x for x, _ in batches]) * 255
    return np.rint(x).astype(np.uint8)


def rows(patches):
    return sorted(row.tobytes() for row in patches)


def test_images_are_scaled_and_masks_are_not(store):
    patches = open_store(store).compute()
    where = split_slice(patches, "val")
    x, y = make(store, "val", shuffle=False, batch=100)[0]
    assert (x.dtype, y.dtype) == (np.float32, np.uint8)
    assert np.array_equal(y, patches["mask"][where])
    assert np.array_equal(x, patches["image"][where].to_numpy() / np.float32(255))


def test_the_scale_is_given_or_the_stores_or_255(store):
    patches = patch_set("a", 9, dtype="uint16")
    assert make(patch_set("a", 9)).scale == 255
    assert make(patches, scale=40.0).scale == 40
    with pytest.raises(StoreError, match="no statistics to scale uint16 images by"):
        make(patches)
    patches.attrs["statistics"] = {"scale": 1000.0}
    x, _ = make(patches, batch=1, shuffle=False)[0]
    assert x.max() == patches["image"][0].to_numpy().max() / np.float32(1000)


def test_the_last_batch_is_smaller(store):
    batches = make(store, batch=7)
    total = len(batches.index)
    assert total % 7
    assert [len(x) for x, _ in batches] == [7] * (total // 7) + [total % 7]
    assert len(batches) == total // 7 + 1


def test_the_last_batch_is_filled_up_with_ignored_patches(store):
    plain, filled = make(store, batch=7), make(store, batch=7, multiple=5)
    assert len(filled) == len(plain)
    for (x, y), (more_x, more_y) in zip(plain, filled, strict=True):
        assert len(more_x) == len(more_y) == -(-len(x) // 5) * 5
        assert np.array_equal(more_x[: len(x)], x)
        assert np.array_equal(more_y[: len(x)], y)
        assert (more_y[len(x) :] == 255).all()
        assert {image.tobytes() for image in more_x} == {image.tobytes() for image in x}
    ((x, y),) = list(make(store, batch=1, multiple=4, shard=(0, len(plain.index))))
    assert (len(x), (y[1:] == 255).all()) == (4, True)


def test_epochs_differ_and_the_seed_repeats_them(store):
    one, other = make(store), make(store, workers=5)
    first, second = marks(one), marks(one)
    assert not np.array_equal(first, second)
    assert rows(first) == rows(second)
    assert np.array_equal(marks(other), first)
    assert np.array_equal(marks(other), second)
    assert not np.array_equal(marks(make(store, seed=2)), first)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shards_have_each_patch_once_overall(store, count):
    parts = [make(store, shard=(number, count)) for number in range(count)]
    sizes = [len(part.index) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    seen = [row for part in parts for row in rows(marks(part))]
    assert sorted(seen) == rows(marks(make(store)))


def test_pairs_are_mixed_as_by_chance(tmp_path):
    """Chi-square of pair against batch, margins fixed; pair after pair, it fails by far."""
    sizes = {"a": 900, "b": 600, "c": 300}
    with small_layout(12, block=8, window=4):
        for number, (name, size) in enumerate(sizes.items()):
            patches = patch_set(name, size, px=2, splits=(1, 0, 0))
            patches["image"][:] = number
            write_store(patches, tmp_path / name, recipe={})
        stores = [tmp_path / name for name in sizes]
        combine_stores(stores, tmp_path / "out", seed=3, memory_mib=64)
        mixed = make(tmp_path / "out", batch=32)
        for _ in range(3):
            assert 0.001 < mixing(mixed) < 0.999
        apart = xr.concat([open_store(path) for path in stores], "patch", join="override")
        assert mixing(make(apart.compute(), batch=32)) < 1e-9


def mixing(batches):
    """Probability that chance mixes the batches of an epoch less than they are mixed."""
    pairs = [np.rint(x[:, 0, 0, 0] * 255).astype(int) for x, _ in batches]
    return stats.chi2_contingency([np.bincount(pair, minlength=3) for pair in pairs]).pvalue


def test_validation_keeps_the_order_of_the_store(store):
    patches = open_store(store)
    wanted = patches["image"][split_slice(patches, "val")].to_numpy()
    batches = make(store, "val", shuffle=False, batch=4)
    for _ in range(2):
        assert np.array_equal(marks(batches), wanted)


def test_any_batch_can_be_had_again(store):
    batches = make(store, augmenter=get_aug_datagen(width_shift_range=0.3))
    epochs = [list(batches), list(batches)]
    for epoch, index in ((1, 3), (0, 5), (1, 0), (0, 0), (1, 3)):
        for again, first in zip(batches.batch_at(epoch, index), epochs[epoch][index], strict=True):
            assert np.array_equal(again, first)
    with pytest.raises(IndexError, match="batch 99 of"):
        batches.batch_at(0, 99)
    with pytest.raises(IndexError):
        batches.batch_at(0, -1)


def test_augmentation_depends_on_seed_epoch_and_patch_alone(store):
    """Not on the batch it comes in, nor on the split's order."""
    seen = {}

    def note(image, mask, seed):
        seen.setdefault(image.tobytes(), []).append(seed)
        return image, mask

    def seeds(**options):
        seen.clear()
        for _ in make(store, augmenter=note, **options):
            pass
        return {key: value for key, value in seen.items() if key}

    first = seeds(batch=7)
    assert seeds(batch=3, workers=1) == first
    assert seeds(shuffle=False) == first
    assert seeds(seed=2) != first
    assert len({value[0] for value in first.values()}) == len(first)


def test_a_repeated_patch_is_augmented_anew(store):
    seen = {}

    def note(image, mask, seed):
        seen.setdefault(image.tobytes(), []).append(seed)
        return image, mask

    patches = open_store(store)
    index = balanced_index(patches)
    batches = make(store, augmenter=note, oversample=index)
    assert sum(len(x) for x, _ in batches) == len(index)
    counts = sorted(len(value) for value in seen.values())
    assert counts == sorted(np.unique(index, return_counts=True)[1].tolist())
    assert all(len(set(value)) == len(value) for value in seen.values())


def test_a_share_of_patches_with_objects(store):
    patches = open_store(store).compute()
    holds = patches["class_pixels"].to_numpy()[:, 1] > 0
    patches["class_pixels"][np.flatnonzero(holds)[6:], 1] = 0
    batches = make(patches, oversample=0.5)
    chosen = patches["class_pixels"].to_numpy()[batches.index, 1] > 0
    assert chosen.mean() == pytest.approx(0.5, abs=0.02)


def test_any_form_of_dataset_gives_the_same_batches(store):
    forms = [store, str(store), open_store(store)]
    first, *others = [marks(make(form)) for form in forms]
    assert all(np.array_equal(other, first) for other in others)


def test_the_store_of_one_pair_will_do(tmp_path):
    """Its splits do not stand together."""
    patches = patch_set("a", 40)
    found = marks(make(patches, "val", shuffle=False, batch=5))
    assert np.array_equal(found, patches["image"][patches["split"] == 1])
    assert len(watermarks(patches)) == 40


def test_an_error_in_a_thread_reaches_the_caller(store):
    def fail(image, mask, seed):
        raise DataError("broken augmenter")

    with pytest.raises(DataError, match="broken augmenter"):
        list(make(store, augmenter=fail))


def test_numbers_below_one_are_refused(store):
    for shard in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(ConfigError, match="shard"):
            make(store, shard=shard)
    for name in ("batch", "workers", "multiple"):
        with pytest.raises(ConfigError, match=f"{name}; expected at least 1, found 0"):
            make(store, **{name: 0})
    with pytest.raises(ConfigError, match="seed; expected at least 0, found -1"):
        make(store, seed=-1)
    with pytest.raises(ConfigError, match="scale; expected above 0, found 0"):
        make(store, scale=0)


def test_a_split_that_is_not_there_is_told_before_training(store):
    with pytest.raises(UnknownError, match=r"unknown split 'valid'; expected one of val\."):
        make(store, "valid")
    patches = patch_set("a", 9, splits=(1, 0, 0))
    told = "no patch in the val split; found patches: train 9, val 0, test 0. Give val a larger"
    with pytest.raises(DataError, match=told):
        make(patches, "val")


class Squares(keras.losses.Loss):
    """A loss that any mask may meet."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred))


class Noted(Batches):
    """Batches that note what they serve."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.served = []

    def _ahead(self, epoch, index):
        if self._passes.begun:
            self.served.append((epoch, index))
        return super()._ahead(epoch, index)


class Used(keras.callbacks.Callback):
    """Counts the batches of `fit`, which it stops after `most` of them."""

    def __init__(self, most=math.inf):
        super().__init__()
        self.batches, self.most = 0, most

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        self.model.stop_training = self.batches >= self.most


def epochs_of(served):
    """What was served, without the batch from which JAX builds a model."""
    return served[1:] if served[:2] == [(served[0][0], 0)] * 2 else served


def network():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", Squares())
    return model


@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_takes_every_batch_once_an_epoch_in_our_order(store, shuffle):
    train = Noted(store, "train", batch=7, seed=1, shuffle=True)
    val = Noted(store, "val", batch=7, seed=1, shuffle=False)
    network().fit(train, validation_data=val, epochs=3, shuffle=shuffle, verbose=0)
    steps = range(len(train))
    assert epochs_of(train.served) == [(epoch, index) for epoch in range(3) for index in steps]
    assert [index for _, index in epochs_of(val.served)] == list(range(len(val))) * 3


def test_fit_again_goes_on_and_resuming_is_setting_the_epoch(store):
    train = Noted(store, "train", batch=7, seed=1, shuffle=True)
    model = network()
    for epoch in (0, 1, 5):
        if epoch == 5:
            train.epoch = 5
        model.fit(train, epochs=1, verbose=0)
        assert epochs_of(train.served) == [(epoch, index) for index in range(len(train))]
        train.served.clear()


def test_epochs_of_one_batch_come_once_each(store):
    """Also in a second call of `fit`, with another model, into which JAX looks again."""
    train = Noted(store, "train", batch=500, seed=1, shuffle=True)
    for epochs in (range(4), range(4, 6)):
        network().fit(train, epochs=len(epochs), verbose=0)
        assert epochs_of(train.served) == [(epoch, 0) for epoch in epochs]
        train.served.clear()


@pytest.mark.parametrize("steps", [1, 3])
def test_short_epochs_go_on_with_the_order(store, steps):
    """TensorFlow reads ahead: what was served is more than what was used, in the same order."""
    train = Noted(store, "train", batch=7, seed=1, shuffle=True)
    order = [(epoch, index) for epoch in range(9) for index in range(train.steps)]
    used = Used()
    whole = train.steps // steps
    network().fit(train, epochs=whole, steps_per_epoch=steps, verbose=0, callbacks=[used])
    assert used.batches == whole * steps
    found = epochs_of(train.served)
    assert found == order[: len(found)]
    assert whole * steps <= len(found) <= train.steps
    train.served.clear()
    network().fit(train, epochs=1, verbose=0)
    assert epochs_of(train.served) == [(1, index) for index in range(train.steps)]


def test_an_epoch_that_was_broken_off_is_served_again(store):
    train = Noted(store, "train", batch=7, seed=1, shuffle=True)
    model = network()
    model.fit(train, epochs=3, verbose=0, callbacks=[Used(most=2)])
    train.served.clear()
    model.fit(train, epochs=1, verbose=0)
    steps = [(0, index) for index in range(train.steps)]
    assert train.served[-len(steps) :] == steps


def test_next_goes_on_from_epoch_to_epoch(store):
    batches, loops = make(store), make(store)
    wanted = [*loops, *loops]
    for x, y in wanted:
        found = next(batches)
        assert np.array_equal(found[0], x)
        assert np.array_equal(found[1], y)
    assert batches.epoch == 1  # the second one ends when its last batch is left
    x, _ = next(batches)
    assert (batches.epoch, len(x)) == (2, 7)
    batches.start(1, 2)
    assert np.array_equal(next(batches)[0], wanted[loops.steps + 2][0])


def test_next_takes_nothing_from_a_loop_or_from_fit(store):
    train = Noted(store, "train", batch=7, seed=1, shuffle=True)
    next(train), next(train)
    assert len(list(train)) == train.steps
    assert train.epoch == 1
    next(train)
    network().fit(train, epochs=1, verbose=0)
    assert epochs_of(train.served) == [(1, index) for index in range(train.steps)]


def test_predict_keeps_the_order(store):
    patches = open_store(store)
    wanted = patches["image"][split_slice(patches, "val")].to_numpy()
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Identity()])
    found = model.predict(make(store, "val", shuffle=False, batch=4), verbose=0)
    np.testing.assert_allclose(found, wanted / 255, rtol=1e-6)
