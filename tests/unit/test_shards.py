"""Blocks decoded straight from their shards, and memory that is used again."""

import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pytest
import zarr
from patchsets import patch_set, small_layout

from gim_cv.errors import StoreError
from gim_cv.recycler import Recycler
from gim_cv.shards import ShardedBlocks
from gim_cv.standing import StandingStore
from gim_cv.store import open_arrays, open_store, write_store


def stored(folder, count=50, dtype="uint8"):
    """A store of blocks of 4 patches and shards of 16, and what it holds."""
    patches = patch_set("a", count, dtype=dtype)
    with small_layout(8 * 8 * 3 * np.dtype(dtype).itemsize):
        write_store(patches, folder / "a", recipe={})
    return open_arrays(folder / "a"), patches


def opened(path):
    return zarr.open_array(StandingStore(path, read_only=True), mode="r")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_blocks_are_those_that_zarr_reads(tmp_path, dtype):
    arrays, patches = stored(tmp_path, dtype=dtype)
    for name, array in arrays.items():
        assert ShardedBlocks.is_plain(array)
        blocks = ShardedBlocks(array)
        for number in (12, 0, 3, 4, 12):
            found = blocks.read(number)
            assert found.dtype == array.dtype
            assert np.array_equal(found, patches[name][4 * number : 4 * number + 4])


def test_blocks_that_are_held_are_not_written_over(tmp_path):
    arrays, patches = stored(tmp_path)
    blocks = ShardedBlocks(arrays["image"])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(blocks.read, [*range(13), *range(13)]))
    assert np.array_equal(np.concatenate(found), np.concatenate([patches["image"]] * 2))


def test_a_block_without_bytes_is_the_fill_value(tmp_path):
    """Writers other than ours leave blocks of nothing but the fill value out."""
    options = {"chunks": (4, 8, 8, 3), "shards": (16, 8, 8, 3), "dtype": "u1", "fill_value": 7}
    options["serializer"] = zarr.codecs.ShardingCodec(
        chunk_shape=options["chunks"],
        codecs=[zarr.codecs.BytesCodec(), zarr.codecs.ZstdCodec()],
        index_location="start",
    )
    options["chunks"] = options.pop("shards")
    array = zarr.create_array(
        tmp_path / "a", shape=(32, 8, 8, 3), filters=None, compressors=None, **options
    )
    array[:4] = 1
    array = opened(tmp_path / "a")
    assert ShardedBlocks.is_plain(array)
    blocks = ShardedBlocks(array)
    assert [np.unique(blocks.read(number)).tolist() for number in (0, 1, 0)] == [[1], [7], [1]]


def test_arrays_that_lie_otherwise_are_not_plain(tmp_path):
    stored(tmp_path)
    mapper = fsspec.filesystem("file").get_mapper(str(tmp_path / "a"))
    remote = zarr.storage.FsspecStore.from_mapper(mapper, read_only=True)
    assert not ShardedBlocks.is_plain(open_arrays(remote)["image"])
    like = {"shape": (32, 8, 8, 3), "dtype": "u2"}
    others = {
        "unsharded": {"chunks": (4, 8, 8, 3)},
        "index_last": {"chunks": (4, 8, 8, 3), "shards": (16, 8, 8, 3)},
        "bands_apart": {"chunks": (4, 8, 8, 1), "shards": (16, 8, 8, 3)},
    }
    for name, options in others.items():
        zarr.create_array(tmp_path / name, **like, **options)
        assert not ShardedBlocks.is_plain(opened(tmp_path / name)), name


@pytest.mark.parametrize("where", ["index", "block", "end"])
def test_a_broken_shard_is_told(tmp_path, where):
    arrays, _ = stored(tmp_path)
    shard = tmp_path / "a/image/c/0/0/0/0"
    content = bytearray(shard.read_bytes())
    if where == "end":
        del content[-9:]
    else:
        content[{"index": 3, "block": 16 * 4 + 4 + 30}[where]] ^= 1
    shard.write_bytes(content)
    number = {"index": 0, "block": 0, "end": 3}[where]
    with pytest.raises(StoreError, match=f"broken block {number}.*Delete the store"):
        ShardedBlocks(arrays["image"]).read(number)


def test_memory_is_used_again_when_no_view_of_it_is_left():
    arrays = Recycler((4, 3), np.float32, keep=2)
    first = arrays.take(4)
    place = first.ctypes.data
    view = first[1:, 0]
    del first
    second = arrays.take(2)
    assert (second.shape, second.dtype) == ((2, 3), np.float32)
    assert second.ctypes.data != place
    del view
    third = arrays.take(3)
    assert third.ctypes.data == place


def test_no_more_memory_is_kept_than_told():
    arrays = Recycler((4,), np.uint8, keep=2)
    held = [arrays.take(4) for _ in range(5)]
    assert len({array.ctypes.data for array in held}) == 5
    counts = [sys.getrefcount(array.base) for array in held]
    assert counts == [counts[0]] * 2 + [counts[0] - 1] * 3


def write_anew(folder):
    with small_layout(8 * 8 * 3):
        write_store(patch_set("a", 50, seed=1), folder, recipe={"another": 1})


@pytest.mark.parametrize("change", [write_anew, shutil.rmtree])
def test_a_store_that_is_replaced_is_not_read_on(tmp_path, change):
    """Neither with an index that was read before, nor from a shard not opened yet, nor by dask."""
    arrays, _ = stored(tmp_path)
    lazy = open_store(tmp_path / "a")
    travelled = pickle.loads(pickle.dumps(lazy))
    blocks = ShardedBlocks(arrays["image"])
    blocks.read(0)
    travelled["image"][:4].compute()
    change(tmp_path / "a")
    told = r"a: the store was written anew, or removed, while it was read\. Open it again\."
    for number in (0, 1, 12):
        with pytest.raises(StoreError, match=told):
            blocks.read(number)
    for patches in (lazy, travelled):
        with pytest.raises(StoreError, match=told):
            patches["image"][:4].compute()
    if change is write_anew:
        again = ShardedBlocks(open_arrays(tmp_path / "a")["image"])
        assert np.array_equal(again.read(12), patch_set("a", 50, seed=1)["image"][48:])


def test_a_shard_that_is_gone_is_told(tmp_path):
    arrays, _ = stored(tmp_path)
    (tmp_path / "a/image/c/1/0/0/0").unlink()
    with pytest.raises(StoreError, match="broken block 5"):
        ShardedBlocks(arrays["image"]).read(5)
