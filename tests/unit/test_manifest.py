"""The list of a project's stores, and what it drops."""

import json

import pytest
from patchsets import patch_set

from gim_cv.combine import combine_stores
from gim_cv.errors import StoreError
from gim_cv.manifest import write_manifest
from gim_cv.store import write_store


@pytest.fixture
def folder(tmp_path):
    """Stores of the pairs a and b."""
    for name in "ab":
        write_store(patch_set(name, 5), tmp_path / "patches" / f"{name}.zarr", recipe={})
    return tmp_path / "patches"


def listed(folder, *pairs):
    dropped = write_manifest(folder, pairs, folder.parent / "out.json")
    assert list(json.loads((folder.parent / "out.json").read_text())) == sorted(pairs)
    return dropped


def test_stores_of_dropped_pairs_go_and_are_named(folder):
    assert listed(folder, "a", "b") == []
    assert listed(folder, "b") == ["a.zarr"]
    assert [item.name for item in folder.iterdir()] == ["b.zarr"]


def test_a_torn_store_of_a_dropped_pair_goes_too(folder):
    (folder / "a.zarr" / "zarr.json").unlink()
    assert listed(folder, "b") == ["a.zarr"]


def test_plain_files_are_passed_over(folder):
    (folder / ".DS_Store").touch()
    assert listed(folder, "a", "b") == []
    assert (folder / ".DS_Store").exists()


def combined(folder, name):
    combine_stores([folder / "a.zarr"], folder / name, seed=1, memory_mib=64)


def archive(folder, name):
    (folder / name).mkdir()
    (folder / name / "precious.txt").touch()


def link(folder, name):
    (folder / name).symlink_to(folder / "a.zarr")


@pytest.mark.parametrize("name", ["my_combined_dataset", "c.zarr"])
@pytest.mark.parametrize("make", [combined, archive, link])
def test_what_is_no_pairs_store_is_refused_and_nothing_dropped(folder, make, name):
    make(folder, name)
    with pytest.raises(StoreError, match=rf"{name}: not the store of a pair.*Move it elsewhere"):
        listed(folder, "b")
    assert sorted(item.name for item in folder.iterdir()) == sorted(["a.zarr", "b.zarr", name])
