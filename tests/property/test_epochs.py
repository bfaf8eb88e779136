"""Each epoch has each patch once, for any number of patches, batch and block."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from patchsets import patch_set, small_layout

from gim_cv.batches import Batches


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 90),
    batch=st.integers(1, 40),
    block=st.sampled_from([1, 2, 8]),
    window=st.integers(1, 30),
    workers=st.integers(1, 4),
    epoch=st.integers(0, 5),
    seed=st.integers(0, 2**32),
    lazy=st.booleans(),
)
def test_each_epoch_has_each_patch_once_and_workers_change_nothing(
    count, batch, block, window, workers, epoch, seed, lazy
):
    patches = patch_set("a", count, px=2, bands=1, splits=(0.8, 0.1, 0.1))
    wanted = patches["image"].to_numpy()[patches["split"].to_numpy() == 0]
    with small_layout(4, block=block, window=window):
        given = patches.chunk(patch=block) if lazy else patches
        options = {"batch": batch, "seed": seed, "shuffle": True}
        one = Batches(given, "train", workers=workers, **options)
        other = Batches(given, "train", workers=1, **options)
    one.epoch = epoch
    found = [x for x, _ in one]
    sizes = [len(x) for x in found]
    assert sizes[:-1] == [batch] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= batch
    images = np.rint(np.concatenate(found) * 255).astype(np.uint8)
    assert sorted(map(bytes, images)) == sorted(map(bytes, wanted))
    for index in np.random.default_rng(0).permutation(len(other)).tolist():
        assert np.array_equal(other.batch_at(epoch, index)[0], found[index])
