"""What may be replaced by a store, and what is left alone."""

import pytest
import xarray as xr
import zarr
from patchsets import patch_set, same, small_layout

from gim_cv.combine import combine_stores
from gim_cv.errors import StoreError
from gim_cv.ownership import check_replaceable
from gim_cv.store import open_store, write_store

BYTES = 8 * 8 * 3


def content(path):
    """Every file below a path and its bytes, links as links."""

    def kept(item):
        return item.readlink() if item.is_symlink() else item.read_bytes()

    return {item: kept(item) for item in path.rglob("*") if item.is_symlink() or item.is_file()}


def folder_of_files(path):
    path.mkdir()
    (path / "precious.txt").touch()


def folder_of_folders(path):
    (path / "scenes").mkdir(parents=True)


def raw_images_and_masks(path):
    for name in ("image", "mask"):
        (path / name).mkdir(parents=True)
        (path / name / "a.tif").touch()


def store_with_a_file_in_it(path):
    write_store(patch_set("a", 5), path, recipe={})
    (path / "image" / "notes.txt").touch()


def anothers_zarr(path):
    theirs = xr.Dataset({"image": patch_set("a", 5)["image"].variable}).rename(patch="time")
    theirs.to_zarr(path, zarr_format=3, consolidated=False)


def anothers_group(path):
    zarr.create_group(path, zarr_format=3, attributes={"made_by": "me"})


def link_to_a_folder(path):
    path.with_name("elsewhere").mkdir()
    path.symlink_to(path.with_name("elsewhere"))


def link_to_nothing(path):
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path.write_text("precious"), "a file"),
        (folder_of_files, "a folder with precious.txt"),
        (folder_of_folders, "a folder with scenes"),
        (raw_images_and_masks, "a folder with (image|mask)/a.tif"),
        (store_with_a_file_in_it, "a folder with image/notes.txt"),
        (anothers_zarr, "a folder with image/zarr.json"),
        (anothers_group, "a folder with zarr.json"),
        (link_to_a_folder, "a symbolic link"),
        (link_to_nothing, "a symbolic link"),
    ],
)
def test_what_is_no_store_is_left_alone(tmp_path, make, found):
    write_store(patch_set("b", 5), tmp_path / "b", recipe={})
    out = tmp_path / "out"
    make(out)
    before = content(tmp_path)
    message = rf"out: a store written here would replace .* found {found}\. Name another folder"
    with pytest.raises(StoreError, match=message):
        write_store(untouchable(), out, recipe={})
    with pytest.raises(StoreError, match=message):
        combine_stores([tmp_path / "b"], out, seed=1, memory_mib=64)
    assert content(tmp_path) == before


def untouchable():
    """Patches that must not be made: nothing is done before the place is known to be good."""
    raise AssertionError
    yield xr.Dataset()


@pytest.mark.parametrize("path", ["", ".", "..", "a/..", "/"])
def test_the_working_directory_is_no_place_for_a_store(tmp_path, monkeypatch, path):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for place in (path, tmp_path, tmp_path / "work"):
        with pytest.raises(StoreError, match=r"no place for a store; expected .*Name a new folder"):
            check_replaceable(place)


def test_nothing_and_what_would_not_be_missed_is_replaced(tmp_path):
    check_replaceable(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    write_store(patch_set("a", 5), tmp_path / "empty", recipe={})
    write_store(patch_set("a", 7), tmp_path / "empty", recipe={})
    assert same(open_store(tmp_path / "empty"), patch_set("a", 7))


@pytest.mark.parametrize(
    "damage",
    [
        lambda store: (store / "zarr.json").unlink(),
        lambda store: (store / "zarr.json").write_text("{"),
        lambda store: (store / "image" / "zarr.json").write_bytes(b"\xff"),
        lambda store: (store / "split" / "zarr.json").unlink(),
        lambda store: zarr.create_group(store, zarr_format=3, overwrite=True),
        lambda store: zarr.open_group(store).update_attributes({"schema": 0, "complete": False}),
        lambda store: next((store / "image" / "c").iterdir()).rename(store / "mask" / "c" / "99"),
    ],
)
def test_a_torn_store_is_replaced(tmp_path, damage):
    with small_layout(BYTES):
        write_store(patch_set("a", 50), tmp_path / "a", recipe={})
        damage(tmp_path / "a")
        write_store(patch_set("a", 50), tmp_path / "a", recipe={})
    assert same(open_store(tmp_path / "a"), patch_set("a", 50))


def test_a_store_of_links_into_a_cache_is_a_store(tmp_path):
    """As DVC leaves it with ``cache.type: symlink``."""
    store, cache = tmp_path / "a", tmp_path / "cache"
    write_store(patch_set("a", 5), store, recipe={})
    cache.mkdir()
    for number, file in enumerate(sorted(item for item in store.rglob("*") if item.is_file())):
        file.rename(cache / str(number))
        file.symlink_to(cache / str(number))
    check_replaceable(store)
