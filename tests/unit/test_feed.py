"""The order of an epoch, and the blocks read for it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pytest
from patchsets import patch_set, small_layout

from gim_cv.feed import BlockCache, BlockReader, plan_epoch
from gim_cv.store import open_arrays, open_store, write_store

BYTES = 8 * 8 * 3


def reader_of(patches, arrays=None, **layout):
    with small_layout(BYTES, **layout):
        return BlockReader(patches, arrays)


@pytest.mark.parametrize("form", ["memory", "dask", "uneven", "store", "arrays"])
def test_blocks_are_the_same_in_any_form(tmp_path, form):
    patches, arrays = patch_set("a", 22), None
    with small_layout(BYTES):
        write_store(patches, tmp_path / "a", recipe={})
        given = {
            "memory": lambda: patches,
            "dask": lambda: patches.chunk(patch=4),
            "uneven": lambda: patches.chunk(patch=4, row=3, band=1).assign(
                mask=patches["mask"].chunk(patch=7)
            ),
            "store": lambda: open_store(tmp_path / "a"),
            "arrays": lambda: open_store(tmp_path / "a"),
        }[form]()
        arrays = open_arrays(tmp_path / "a") if form == "arrays" else None
        reader = BlockReader(given, arrays)
    assert reader.ends.tolist() == [4, 8, 12, 16, 20, 22]
    blocks, rows = reader.find(np.array([0, 3, 4, 21]))
    assert blocks.tolist() == [0, 0, 1, 5]
    assert rows.tolist() == [0, 3, 0, 1]
    for k in (5, 0, 3):
        image, mask = reader.read(k)
        assert np.array_equal(image, patches["image"][4 * k : 4 * k + 4])
        assert np.array_equal(mask, patches["mask"][4 * k : 4 * k + 4])


def test_a_window_is_so_many_bytes():
    """Of 3 KiB here; a block of four patches has 768 bytes of images and 256 of masks."""
    assert reader_of(patch_set("a", 100), block=4, window=8).window == 3
    assert reader_of(patch_set("a", 100), block=64, window=1).window == 1


def test_an_epoch_without_a_seed_keeps_the_order():
    reader = reader_of(patch_set("a", 40))
    index = np.array([1, 2, 2, 7, 20, 39])
    plan = plan_epoch(index, reader, blocks=None, within=None)
    assert plan.positions.tolist() == index.tolist()
    assert plan.repeats.tolist() == [0, 0, 1, 0, 0, 0]
    assert plan.window.tolist() == [0, 0, 0, 0, 0, 1]
    assert plan.blocks == [[0, 1, 5], [9]]


def test_windows_hold_whole_blocks_and_few_of_them():
    reader = reader_of(patch_set("a", 400))
    plan = plan_epoch(np.arange(400), reader, blocks=(1, 0), within=(1, 1))
    assert sorted(plan.positions.tolist()) == list(range(400))
    assert (np.diff(plan.window) >= 0).all()
    assert all(len(blocks) <= reader.window for blocks in plan.blocks)
    assert sorted(chain.from_iterable(plan.blocks)) == list(range(100))
    for number, blocks in enumerate(plan.blocks):
        inside = plan.positions[plan.window == number]
        assert set(reader.number(inside).tolist()) == set(blocks)
        assert len(inside) == 4 * len(blocks)


def test_blocks_and_their_insides_are_shuffled_apart():
    reader = reader_of(patch_set("a", 40))
    natural = np.arange(40)
    only_blocks = plan_epoch(natural, reader, blocks=(0,), within=None).positions
    assert all((np.diff(part) == 1).all() for part in only_blocks.reshape(10, 4))
    assert only_blocks.tolist() != natural.tolist()
    only_within = plan_epoch(natural, reader, blocks=None, within=(0,)).positions
    windows = [only_within[k : k + 12] for k in range(0, 40, 12)]
    assert [sorted(part.tolist()) for part in windows] == [
        list(range(k, min(k + 12, 40))) for k in range(0, 40, 12)
    ]
    assert only_within.tolist() != natural.tolist()


def test_the_order_is_pure_in_seed_and_epoch():
    reader = reader_of(patch_set("a", 200))
    orders = [
        plan_epoch(np.arange(200), reader, blocks=seed, within=seed).positions.tolist()
        for seed in ((1, 0), (1, 0), (1, 1), (2, 0))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]


def test_repeats_are_counted_and_kept_apart():
    reader = reader_of(patch_set("a", 400))
    index = np.sort(np.concatenate([np.arange(400), [17] * 4]))
    plan = plan_epoch(index, reader, blocks=(0, 0), within=(0, 1))
    where = np.flatnonzero(plan.positions == 17)
    assert sorted(plan.repeats[where].tolist()) == [0, 1, 2, 3, 4]
    assert len(set(plan.window[where].tolist())) >= 3


def test_an_empty_epoch():
    plan = plan_epoch(
        np.array([], np.int64), reader_of(patch_set("a", 9)), blocks=(0,), within=(0,)
    )
    assert (plan.positions.size, plan.blocks) == (0, [])


def test_the_cache_reads_once_and_forgets_the_oldest():
    reads, lock = [], threading.Lock()

    def read(number):
        with lock:
            reads.append(number)
        return np.full(1, number), np.zeros(1)

    with ThreadPoolExecutor(2) as pool:
        cache = BlockCache(read, capacity=3, pool=pool)
        cache.want([0, 1, 2])
        assert [int(cache.get(k)[0][0]) for k in (0, 1, 2, 0)] == [0, 1, 2, 0]
        assert sorted(reads) == [0, 1, 2]
        cache.get(3)
        cache.get(0)
        assert sorted(reads) == [0, 1, 2, 3]
        cache.get(1)
        assert sorted(reads) == [0, 1, 1, 2, 3]


def test_an_error_of_a_read_reaches_the_reader():
    def read(number):
        raise OSError("gone")

    with ThreadPoolExecutor(1) as pool:
        cache = BlockCache(read, capacity=1, pool=pool)
        with pytest.raises(OSError, match="gone"):
            cache.get(0)
