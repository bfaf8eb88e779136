"""The order of patches, and the files that bring them into it."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from gim_cv.errors import ConfigError, RunError
from gim_cv.shuffle import Row, Spool, in_order, read_ahead, readers_within, shuffled_order


def test_splits_stand_in_order_and_nothing_is_lost():
    split = np.array([2, 0, 1, 0, 0, 2, 1, 0], np.int8)
    order = shuffled_order(split, seed=3)
    assert sorted(order.tolist()) == list(range(8))
    assert split[order].tolist() == [0, 0, 0, 0, 1, 1, 2, 2]


def test_the_order_is_pinned():
    """Another machine, numpy or year: the same order, or every store changes."""
    assert shuffled_order(np.zeros(8, np.int8), seed=0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]


def test_the_order_of_a_split_does_not_depend_on_the_others():
    few = np.array([0] * 3 + [2] * 20)
    many = np.array([0] * 9 + [1] * 5 + [2] * 20)
    assert (shuffled_order(few, 5)[3:] - 3).tolist() == (shuffled_order(many, 5)[14:] - 14).tolist()


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed of the order; expected at least 0, found -1"):
        shuffled_order(np.zeros(8, np.int8), seed=-1)


def test_every_order_comes_up():
    """All 24 permutations of four, about equally often: χ² of 23 degrees, 99.9 % below 49.7."""
    orders = [tuple(shuffled_order(np.zeros(4, np.int8), seed).tolist()) for seed in range(2400)]
    counts = np.unique(np.array([hash(order) for order in orders]), return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 100) ** 2 / 100).sum() < 49.7


ROWS = {"image": Row((2, 3), np.dtype(np.uint16)), "mask": Row((2,), np.dtype(np.uint8))}


def test_rows_come_back_in_their_places(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 9, (23, 2, 3), dtype=np.uint16)
    mask = rng.integers(0, 9, (23, 2), dtype=np.uint8)
    place = rng.permutation(23)
    spool = Spool(tmp_path / "spool", ROWS, total=23, bucket=5)
    spool.begin()
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda k: spool.put(
                    place[k : k + 3], {"image": image[k : k + 3], "mask": mask[k : k + 3]}
                ),
                range(0, 23, 3),
            )
        )
    found = list(read_ahead(spool))
    assert [len(part["image"]) for part in found] == [5, 5, 5, 5, 3]
    assert np.array_equal(np.concatenate([part["image"] for part in found])[place], image)
    assert np.array_equal(np.concatenate([part["mask"] for part in found])[place], mask)


def test_what_is_dropped_is_done(tmp_path):
    spool = Spool(tmp_path / "spool", ROWS, total=5, bucket=2)
    spool.begin()
    image = np.arange(30, dtype=np.uint16).reshape(5, 2, 3)
    spool.put(np.arange(5), {"image": image, "mask": np.ones((5, 2), np.uint8)})
    assert spool.done == 0
    spool.drop(0)
    spool = Spool(tmp_path / "spool", ROWS, total=5, bucket=2)
    assert (spool.done, spool.holds(0), spool.holds(1)) == (1, False, True)
    assert np.array_equal(np.concatenate([p["image"] for p in read_ahead(spool, 1)]), image[2:])
    spool.drop(1)
    spool.drop(2)
    assert spool.done == 3
    assert list(read_ahead(spool, 3)) == []
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:3], at))
    spool = Spool(tmp_path / "spool", ROWS, total=2, bucket=2)
    spool.begin()
    image = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    spool.put(np.array([1, 0]), {"image": image, "mask": np.ones((2, 2), np.uint8)})
    assert np.array_equal(spool.take(0)["image"], image[::-1])


def test_a_full_disk_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(1, 1, 10))
    with pytest.raises(RunError, match="no room to shuffle; expected 0 MiB free, found 0 MiB"):
        Spool(tmp_path / "spool", ROWS, total=9, bucket=2).begin()


def test_memory_decides_how_many_blocks_are_read_at_once(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    mib = 2**20
    assert readers_within(512, block_bytes=8 * mib, shard_bytes=64 * mib) == 8
    assert readers_within(128, block_bytes=8 * mib, shard_bytes=32 * mib) == 4
    assert readers_within(32, block_bytes=8 * mib, shard_bytes=8 * mib) == 1
    with pytest.raises(ConfigError, match="expected at least 256, found 255"):
        readers_within(255, block_bytes=8 * mib, shard_bytes=64 * mib)


def test_results_come_in_order_and_few_wait():
    gate, started = Event(), []

    def task(k):
        def call():
            started.append(k)
            if k == 0:
                gate.wait(5)
            return k

        return call

    results = in_order((task(k) for k in range(20)), threads=2)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, results)
        gate.set()
        assert first.result(5) == 0
    assert max(started) <= 4
    assert list(results) == list(range(1, 20))
