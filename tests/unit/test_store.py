"""Patch stores: what is written can be read, and what is torn cannot."""

import shutil
import signal
import subprocess
import sys
import time

import dask.array as da
import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from patchsets import patch_set, same, small_layout

from gim_cv.errors import DataError, MissingError, StoreError
from gim_cv.schema import Layout, layout
from gim_cv.store import (
    open_arrays,
    open_store,
    pair_names,
    read_block,
    split_slice,
    store_digest,
    write_store,
)

BYTES = 8 * 8 * 3


@pytest.fixture
def store(tmp_path):
    with small_layout(BYTES):
        write_store(patch_set("a", 50), tmp_path / "a.zarr", recipe={"x": {"y": 1}})
    return tmp_path / "a.zarr"


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((256, 256, 3), "uint8", Layout(32, 256)),
        ((128, 128, 3), "uint8", Layout(128, 1024)),
        ((256, 256, 4), "uint16", Layout(16, 128)),
        ((512, 512, 1), "float32", Layout(8, 64)),
        ((2048, 2048, 8), "float32", Layout(1, 1)),
    ],
)
def test_blocks_and_shards_follow_from_the_bytes_of_a_patch(shape, dtype, expected):
    found = layout(shape, dtype)
    assert found == expected
    assert found.shard % found.block == 0


def test_a_store_reads_as_it_was_written(store):
    wanted, found = patch_set("a", 50), open_store(store)
    assert same(found, wanted)
    assert list(found.variables) == [
        "image", "mask", "pair", "split", "row0", "col0", "valid_fraction", "class_pixels",
    ]  # fmt: skip
    assert found.attrs["pairs"] == wanted.attrs["pairs"]
    assert found.attrs["classes"] == ["background", "building"]
    assert pair_names(found) == ["a"]
    assert not {"complete", "recipe"} & wanted.attrs.keys()


def test_it_is_lazy_and_its_chunks_are_blocks(store):
    found = open_store(store)
    assert found["image"].chunks == ((4,) * 12 + (2,), (8,), (8,), (3,))
    assert found["mask"].chunks[0] == found["image"].chunks[0]
    assert isinstance(found["split"].data, np.ndarray)


def test_layout_on_disk(store):
    image = zarr.open_group(store)["image"]
    assert (image.chunks, image.shards) == ((4, 8, 8, 3), (16, 8, 8, 3))
    sharding = image.metadata.to_dict()["codecs"][0]
    assert sharding["configuration"]["index_location"] == "start"
    assert len(list((store / "image" / "c").iterdir())) == 4


def test_blocks_are_read_without_dask(store):
    wanted, arrays = patch_set("a", 50), open_arrays(store)
    image, mask = read_block(arrays, 12)
    assert np.array_equal(image, wanted["image"][48:])
    assert np.array_equal(mask, wanted["mask"][48:])


def test_any_file_system_that_reads_forwards_will_do(store):
    mapper = fsspec.filesystem("file").get_mapper(str(store))
    opened = open_store(zarr.storage.FsspecStore.from_mapper(mapper, read_only=True))
    assert same(opened, patch_set("a", 50))


def test_lazy_patches_are_computed_chunk_by_chunk(tmp_path):
    patches, seen = patch_set("a", 30), []

    def look(block, block_info=None):
        seen.append(block_info[0]["chunk-location"][0])
        return block

    lazy = patches.chunk(patch=7)
    lazy["image"].data = da.map_blocks(look, lazy["image"].data, dtype="uint8", meta=np.empty(0))
    write_store(lazy, tmp_path / "a.zarr", recipe={})
    assert seen == [0, 1, 2, 3, 4]
    assert same(open_store(tmp_path / "a.zarr"), patches)


def test_attributes_may_come_at_the_end(tmp_path):
    counts = {"patches": 0}

    def blocks():
        for start in (0, 5):
            counts["patches"] += 5
            yield patch_set("a", 10).isel(patch=slice(start, start + 5))

    write_store(blocks(), tmp_path / "a", recipe={}, attrs=lambda: {"made": dict(counts)})
    assert open_store(tmp_path / "a").attrs["made"] == {"patches": 10}


def test_not_a_number_in_attributes_is_text(tmp_path):
    patches = patch_set("a", 2)
    patches.attrs["pairs"]["a"]["nodata"] = float("nan")
    write_store(patches, tmp_path / "a", recipe={})
    assert open_store(tmp_path / "a").attrs["pairs"]["a"]["nodata"] == "NaN"


def test_background_without_end_is_no_damage(tmp_path):
    patches = patch_set("a", 40)
    patches["image"][:], patches["mask"][:] = 0, 0
    with small_layout(BYTES):
        write_store(patches, tmp_path / "a", recipe={})
    assert same(open_store(tmp_path / "a"), patches)


def test_no_patches_are_no_store(tmp_path):
    for blocks in ([], [patch_set("a", 0)]):
        with pytest.raises(DataError, match="no patches to write"):
            write_store(blocks, tmp_path / "a.zarr", recipe={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("row0"), "no variable 'row0'"),
        (lambda d: d.assign(mask=d["mask"].astype("int16")), "expected uint8, found int16"),
        (lambda d: d.transpose("row", "patch", ...), "dimensions of 'image'"),
        (lambda d: d.isel(label=[0, 0]), "expected one label"),
        (lambda d: d.assign_coords(pair=d["pair"].drop_attrs()), "flag_values and flag_meanings"),
    ],
)
def test_another_schema_is_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        write_store(change(patch_set("a", 3)), tmp_path / "a", recipe={})


def test_datasets_of_one_store_are_alike(tmp_path):
    blocks = [patch_set("a", 3), patch_set("a", 3, bands=4)]
    with pytest.raises(DataError, match=r"datasets differ in 'image'; expected uint8 \(8, 8, 3\)"):
        write_store(blocks, tmp_path / "a", recipe={})


def test_nothing_there(tmp_path):
    with pytest.raises(MissingError, match="Run the stage"):
        open_store(tmp_path / "none.zarr")


def test_another_recipe_is_refused_and_the_difference_named(store):
    assert open_store(store, recipe={"x": {"y": 1}})
    with pytest.raises(StoreError, match=r"x\.y: 2 here, 1 in the store"):
        open_store(store, recipe={"x": {"y": 2}})


def _cut(file):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def _edit_attrs(store, **changes):
    group = zarr.open_group(store, mode="r+")
    group.update_attributes(changes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / "zarr.json").unlink(), "not a zarr v3 group"),
        (lambda s: (s / "zarr.json").write_text("{"), "not a zarr v3 group"),
        (lambda s: _edit_attrs(s, complete=False), "not a finished patch store"),
        (lambda s: _edit_attrs(s, schema=2), "schema; expected 1, found 2"),
        (lambda s: _edit_attrs(s, recipe="{}"), "recipe and recipe_sha256 disagree"),
        (lambda s: shutil.rmtree(s / "mask"), "no array 'mask'"),
        (lambda s: shutil.rmtree(s / "mask" / "c" / "1"), "mask: 12 of 16 chunks"),
        (lambda s: shutil.rmtree(s / "split" / "c"), "split: 0 of 1 chunks"),
        (lambda s: _cut(s / "split" / "c" / "0"), "split: broken chunk"),
        (lambda s: (s / "pair" / "c" / "0").write_bytes(b""), "pair: broken chunk"),
        (lambda s: _cut(s / "row0" / "zarr.json"), "row0: broken metadata"),
        (lambda s: (s / "image" / "zarr.json").write_text("{}"), "image: broken metadata"),
        (lambda s: (s / "zarr.json").write_text("{}"), "not a finished patch store"),
        (lambda s: (s / "zarr.json").write_text("null"), "not a zarr v3 group"),
        (lambda s: zarr.open_group(s, mode="r+")["row0"].resize((49,)), "unequal length"),
    ],
)
def test_what_is_torn_never_opens(store, damage, message):
    damage(store)
    with pytest.raises(StoreError, match=message):
        open_store(store)


def test_a_flipped_bit_is_found_when_it_is_read(store):
    shard = next((store / "image" / "c" / "0").rglob("0"))
    while shard.is_dir():
        shard = next(shard.iterdir())
    data = bytearray(shard.read_bytes())
    data[-100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(RuntimeError):
        open_store(store)["image"].compute()


def test_split_slice_wants_a_combined_store(store):
    found = open_store(store)
    with pytest.raises(StoreError, match="do not stand together"):
        split_slice(found, "train")
    whole = found.sortby("split")
    slices = [split_slice(whole, name) for name in ("train", "val", "test")]
    assert [slices[0].start, slices[0].stop, slices[1].stop] == [
        0, slices[1].start, slices[2].start,
    ]  # fmt: skip
    assert slices[2].stop == 50
    assert split_slice(whole.isel(patch=slices[0]), "val") == slice(0, 0)


def test_a_digest_depends_on_content_alone(tmp_path):
    for folder, seed in (("x", 0), ("y", 0), ("z", 1)):
        write_store(patch_set("a", 9, seed=seed), tmp_path / folder / "a", recipe={})
    digests = [store_digest(tmp_path / folder / "a") for folder in "xyz"]
    assert digests[0] == digests[1] != digests[2]


def test_no_warning_from_plain_xarray(store):
    assert same(xr.open_zarr(store, consolidated=False), patch_set("a", 50))


KILLED = """
import sys, time
sys.path[:0] = ["tests", "."]
from pathlib import Path
from patchsets import patch_set, small_layout
from gim_cv.store import write_store

def blocks():
    for start in range(0, 60, 10):
        yield patch_set("a", 60).isel(patch=slice(start, start + 10))
    print("almost", flush=True)
    time.sleep(60)

with small_layout(192):
    write_store(blocks(), Path(sys.argv[1]), recipe={"x": 1}, tmp_dir=Path(sys.argv[2]))
"""


def test_a_kill_leaves_nothing_that_opens_and_the_next_write_cleans_up(tmp_path, root):
    out, tmp = tmp_path / "patches" / "a.zarr", tmp_path / "tmp"
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, out, tmp], stdout=subprocess.PIPE, cwd=root
    )
    assert writer.stdout.readline() == b"almost\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    time.sleep(0.1)
    left = list(tmp.iterdir())
    assert len(left) == 1
    assert list((left[0] / "image").rglob("0"))
    for path in (out, left[0]):
        with pytest.raises((MissingError, StoreError)):
            open_store(path)
    write_store(patch_set("a", 60), out, recipe={"x": 1}, tmp_dir=tmp)
    assert list(tmp.iterdir()) == []
    assert same(open_store(out), patch_set("a", 60))
