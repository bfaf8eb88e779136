"""Work that outlives its process: found again under its key, and only there."""

import os
import shutil
from contextlib import suppress

import pytest

from gim_cv import unfinished
from gim_cv.errors import RunError
from gim_cv.unfinished import boot, files_seen, unfinished_folder, work_key


def leave(path, key, **options):
    """Have an unfinished folder left as Ctrl-C leaves it; return it."""
    with suppress(KeyboardInterrupt), unfinished_folder(path, key, **options) as folder:
        (folder / "half").touch()
        raise KeyboardInterrupt
    return folder


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def test_work_is_named_by_parameters_and_code(tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "PACKAGE", tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "norm.py").write_text("one")
    found = {work_key({"seed": 1}), work_key({"seed": 2})}
    (tmp_path / "models" / "norm.py").write_text("other")
    found.add(work_key({"seed": 1}))
    assert len(found) == 3


def test_the_machine_has_a_name_until_it_stops(monkeypatch, tmp_path):
    monkeypatch.setattr(unfinished, "BOOT_ID", tmp_path / "boot_id")
    assert boot() != boot()
    (tmp_path / "boot_id").write_text("c591\n")
    assert boot() == "c591"


def test_files_are_told_apart_without_reading_them(tmp_path):
    store = tmp_path / "store"
    (store / "c").mkdir(parents=True)
    (store / "c" / "0").write_text("abc")
    (store / "zarr.json").write_text("{}")
    before = files_seen(store)
    assert [item[:2] for item in before] == [("c/0", 3), ("zarr.json", 2)]
    assert files_seen(store) == before
    shutil.copytree(store, tmp_path / "copy")
    assert files_seen(tmp_path / "copy") != before  # other inodes: no one knows what became of it
    (store / "c" / "0").write_text("abd")
    os.utime(store / "c" / "0", ns=(0, before[0][2] + 1))
    assert files_seen(store) != before
    assert files_seen(tmp_path / "none") == []


def test_what_was_left_is_found_under_its_key_and_removed_under_others(tmp_path):
    out, tmp = tmp_path / "a.zarr", tmp_path / "tmp"
    left = leave(out, "k1", tmp_dir=tmp)
    other = leave(tmp_path / "b.zarr", "k1", tmp_dir=tmp)
    with unfinished_folder(out, "k1", tmp_dir=tmp) as folder:
        assert folder == left
        assert names(folder) == ["half", "lock"]
    assert names(tmp) == [other.name]
    left = leave(out, "k1", tmp_dir=tmp)
    with unfinished_folder(out, "k2", tmp_dir=tmp) as folder:
        assert names(folder) == ["lock"]
        assert names(tmp) == [folder.name, other.name]
    assert names(tmp) == [other.name]


def test_it_lies_hidden_beside_what_is_made_and_an_error_ends_it(tmp_path):
    def fail():
        with unfinished_folder(tmp_path / "a", "k"):
            assert names(tmp_path) == [".a.of-k.unfinished"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == []


def test_killed_while_it_is_removed_nothing_of_it_counts(tmp_path, monkeypatch):
    leave(tmp_path / "a", "k")
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with unfinished_folder(tmp_path / "a", "k"):
        pass
    with unfinished_folder(tmp_path / "a", "k") as folder:
        assert names(folder) == ["lock"]


def test_one_process_at_a_time(tmp_path):
    with unfinished_folder(tmp_path / "a", "k") as folder:
        (folder / "half").touch()
        with (
            pytest.raises(RunError, match="another process is making a of the same"),
            unfinished_folder(tmp_path / "a", "k"),
        ):
            pass
        with unfinished_folder(tmp_path / "a", "other"):
            assert (folder / "half").exists()
