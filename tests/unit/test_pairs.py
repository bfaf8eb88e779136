"""A pair becomes patches: content, counts, pruning, laziness, workers."""

import dask
import numpy as np
import pytest
import xarray as xr
from scenes import OPTIONS, RULE, Scene, pair, pixel_values

from gim_cv.errors import DataError
from gim_cv.ground import GroundSplit
from gim_cv.lazypairs import build_pair
from gim_cv.pairs import open_scene, stream_pair
from gim_cv.schema import check_patches
from gim_cv.store import write_store

TRAIN = GroundSplit("blocks", 40.0, (1.0, 0.0), 3, 0.0, 0, 0)


def one(blocks) -> xr.Dataset:
    """The blocks of a stream as one dataset in memory."""
    parts = [block.load() for block in blocks]
    return xr.concat(parts, "patch", data_vars="minimal", coords="minimal", compat="override")


def streamed(folder, entry=None, **options):
    options = {**OPTIONS, "split": TRAIN} | options
    return stream_pair(entry or pair(), folder, **options)


def test_patches_show_the_scene_and_its_truth(tmp_path):
    Scene().write(tmp_path / "s")
    patches = one(streamed(tmp_path))
    check_patches(patches)
    assert patches.sizes["patch"] == 9
    truth, image = Scene().truth(), pixel_values(96, 96)
    for patch in (patches.isel(patch=i) for i in range(9)):
        place = np.s_[int(patch.row0) :, int(patch.col0) :]
        assert np.array_equal(patch.image, image[place][:32, :32])
        assert np.array_equal(patch.mask[..., 0], truth[place][:32, :32])
        assert patch.class_pixels.values.tolist() == [
            (patch.mask == k).sum().item() for k in (0, 1)
        ]
    assert (patches.valid_fraction == 1).all()
    assert patches.class_pixels.dtype == np.int32


def test_attributes_say_what_was_cut(tmp_path):
    Scene(nodata=0, nodata_columns=40).write(tmp_path / "s")
    stream = streamed(tmp_path, min_valid=0.5)
    patches = one(stream)
    about = stream.attrs()["pairs"]["scene"]
    assert stream.attrs()["classes"] == ["background", "building"]
    assert stream.attrs()["ignore"] == 255
    assert about["dropped"] == {"invalid": 3}
    assert about["nodata"] == 0
    assert about["bands"] == ["red", "green", "blue"]
    assert (about["height"], about["width"]) == (96, 96)
    assert about["transform"] == [0.5, 0.0, 500_000.0, 0.0, -0.5, 4_000_000.0]
    assert about["labels"]["features"] == 2
    assert patches.valid_fraction.values[0] == pytest.approx(24 / 32)
    assert (patches.mask.values[0, :, :8] == 255).all()
    assert not patches.image.values[0, :, :8].any()


def test_a_small_raster_is_padded_with_ignored_pixels(tmp_path):
    Scene(height=20, width=40, houses=[(1, 2, 5, 9)]).write(tmp_path / "s")
    patches = one(streamed(tmp_path, patch_px=50))
    assert patches.sizes["patch"] == 1
    assert (patches.mask.values[0, 20:] == 255).all()
    assert (patches.mask.values[0, :, 40:] == 255).all()
    assert patches.valid_fraction.item() == pytest.approx(800 / 2500)
    assert patches.class_pixels.values.tolist() == [[800 - 28, 28]]


def test_masks_outside_another_split_are_ignored(tmp_path):
    Scene(height=300, width=260).write(tmp_path / "s")
    patches = one(streamed(tmp_path, split=RULE, overlap=0.5))
    hidden = ~patches.image.values.any(axis=-1)
    assert hidden.any()
    assert (patches.mask.values[..., 0][hidden] == 255).all()
    assert (patches.mask.values[..., 0][~hidden] != 255).all()
    share = 1 - hidden.mean(axis=(1, 2))
    assert patches.valid_fraction.values == pytest.approx(share, abs=1e-6)
    assert set(patches.split.values.tolist()) == {0, 1, 2}


def test_a_forced_pair_is_all_of_one_split(tmp_path):
    Scene().write(tmp_path / "s")
    patches = one(streamed(tmp_path, pair(split="test"), split=RULE))
    assert patches.split.values.tolist() == [2] * 9


@pytest.mark.parametrize("options", [{}, {"resolution_m": 0.8}, {"resolution_m": 0.31}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_lazy_equals_streamed(tmp_path, options, dtype):
    Scene(height=200, width=180, dtype=dtype, nodata=0, nodata_columns=9).write(tmp_path / "s")
    chosen = {"split": RULE, "overlap": 0.5, "min_valid": 0.2} | options
    stream = streamed(tmp_path, **chosen)
    eager = one(stream).assign_attrs(stream.attrs())
    lazy = build_pair(pair(), tmp_path, **{**OPTIONS, **chosen})
    assert dask.is_dask_collection(lazy)
    check_patches(lazy)
    xr.testing.assert_identical(lazy.compute(), eager)


def test_building_reads_no_pixel_again_until_asked(tmp_path, monkeypatch):
    Scene().write(tmp_path / "s")
    lazy = build_pair(pair(), tmp_path, **OPTIONS, split=TRAIN)

    def refuse(*_):
        raise AssertionError("pixels were read")

    monkeypatch.setattr("gim_cv.scene.Scene.cut", refuse)
    lazy = lazy.isel(patch=slice(0, 3))
    assert lazy.image.shape == (3, 32, 32, 3)
    assert lazy.class_pixels.values.sum() > 0


@pytest.mark.parametrize("small", [1, 2000, 50_000])
def test_the_size_of_tasks_changes_nothing(tmp_path, monkeypatch, small):
    Scene(height=200, width=180).write(tmp_path / "s", tiled=True, blockxsize=32, blockysize=32)
    options = {"split": RULE, "overlap": 0.5, "resolution_m": 0.7}
    whole = one(streamed(tmp_path, **options)).sortby(["row0", "col0", "split"])
    monkeypatch.setattr("gim_cv.tasks.TASK_BYTES", small)
    assert len(open_scene(pair(), tmp_path, **(OPTIONS | options)).tasks()) > 1
    parts = streamed(tmp_path, **options)
    xr.testing.assert_equal(one(parts).sortby(["row0", "col0", "split"]), whole)


def test_patches_are_handed_out_in_whole_shards(tmp_path, monkeypatch):
    Scene(height=200, width=180).write(tmp_path / "s")
    options = {"split": RULE, "overlap": 0.5}
    (whole,) = streamed(tmp_path, **options)
    monkeypatch.setattr("gim_cv.schema.SHARD_BYTES", 16 * 32 * 32 * 3)
    monkeypatch.setattr("gim_cv.schema.BLOCK_BYTES", 4 * 32 * 32 * 3)
    monkeypatch.setattr("gim_cv.tasks.TASK_BYTES", 100_000)
    parts = list(streamed(tmp_path, **options))
    assert {part.sizes["patch"] for part in parts[:-1]} == {16}
    order = ["row0", "col0", "split"]
    xr.testing.assert_equal(one(parts).sortby(order), whole.sortby(order))


def test_blocks_stay_as_they_are_while_anybody_has_them(tmp_path, monkeypatch):
    Scene(height=200, width=180).write(tmp_path / "s")
    monkeypatch.setattr("gim_cv.schema.SHARD_BYTES", 4 * 32 * 32 * 3)
    monkeypatch.setattr("gim_cv.schema.BLOCK_BYTES", 4 * 32 * 32 * 3)
    stream = streamed(tmp_path, split=RULE, overlap=0.5)
    copies = [block.copy(deep=True) for block in stream]
    kept = list(stream)
    assert len(kept) > 3
    for block, copied in zip(kept, copies, strict=True):
        xr.testing.assert_identical(block, copied)


def test_the_number_of_workers_changes_nothing(tmp_path, monkeypatch):
    Scene(height=200, width=180).write(tmp_path / "s")
    monkeypatch.setattr("gim_cv.tasks.TASK_BYTES", 20_000)
    with dask.config.set(num_workers=1):
        serial = one(streamed(tmp_path, split=RULE))
    with dask.config.set(num_workers=3):
        parallel = one(streamed(tmp_path, split=RULE))
    xr.testing.assert_identical(parallel, serial)


def test_processes_of_a_cluster_write_the_same_bytes(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    Scene(height=200, width=180).write(tmp_path / "s")
    monkeypatch.setattr("gim_cv.tasks.TASK_BYTES", 20_000)
    options = {"split": RULE, "overlap": 0.5, "resolution_m": 0.7}

    def written(name):
        stream = streamed(tmp_path, **options)
        write_store(stream, tmp_path / name, recipe={}, attrs=stream.attrs)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {path.relative_to(tmp_path / name): path.read_bytes() for path in files}

    here = written("threads")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as two,
        dask.config.set({"scheduler-address": two.scheduler_address}),
    ):
        there = written("processes")
    assert there == here


def test_a_stream_can_be_read_again(tmp_path):
    Scene(nodata=0, nodata_columns=40).write(tmp_path / "s")
    stream = streamed(tmp_path, min_valid=0.5)
    first, about = one(stream), stream.attrs()
    xr.testing.assert_identical(one(stream), first)
    assert stream.attrs() == about


def test_a_prune_function_drops_and_is_counted(tmp_path):
    Scene().write(tmp_path / "s")
    stream = streamed(tmp_path, prune_fn=lambda image, mask: not mask.any())
    assert (one(stream).class_pixels.values[:, 1] > 0).all()
    assert stream.attrs()["pairs"]["scene"]["dropped"]["prune_fn"] > 0


@pytest.mark.parametrize("make", [lambda *a, **k: list(stream_pair(*a, **k)), build_pair])
def test_nothing_left_is_an_error_that_says_why(tmp_path, make):
    Scene(nodata=0, nodata_columns=96).write(tmp_path / "s")
    with pytest.raises(DataError, match="found 9 with too few valid pixels"):
        make(pair(), tmp_path, **OPTIONS, split=TRAIN)


def test_the_height_of_the_strips_that_are_resampled_changes_nothing(tmp_path, monkeypatch):
    Scene(120, 130, nodata=0, nodata_columns=5).write(tmp_path / "s")
    found = []
    for most in (1, 500, 2**17):
        monkeypatch.setattr("gim_cv.raster.STRIP_PX", most)
        monkeypatch.setattr("gim_cv.scene.STRIP_PX", most)
        options = OPTIONS | {"resolution_m": 0.7, "resampling": "cubic"}
        found.append(xr.concat(stream_pair(pair(), tmp_path, split=RULE, **options), "patch"))
    assert found[0].sizes["patch"] > 3
    for other in found[1:]:
        xr.testing.assert_identical(found[0], other)
