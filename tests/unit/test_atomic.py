"""Folders that are whole or absent."""

import os
import subprocess
import sys

import pytest

from gim_cv.atomic import atomic_file, atomic_folder, scratch_folder, write_text


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path):
    out, tmp = tmp_path / "deep" / "a.zarr", tmp_path / "tmp"
    with atomic_folder(out, tmp_dir=tmp) as folder:
        (folder / "x").write_text("1")
        assert folder.parent == tmp
        assert not out.exists()
    assert (out / "x").read_text() == "1"
    assert list(tmp.iterdir()) == []


def test_an_older_folder_is_replaced_as_a_whole(tmp_path):
    for text in ("first", "second"):
        with atomic_folder(tmp_path / "a") as folder:
            (folder / text).touch()
    assert [item.name for item in tmp_path.iterdir()] == ["a"]
    assert [item.name for item in (tmp_path / "a").iterdir()] == ["second"]


def test_after_an_error_nothing_is_left_and_the_older_one_stays(tmp_path):
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "old").touch()

    def fail():
        with atomic_folder(tmp_path / "a") as folder:
            (folder / "new").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [item.name for item in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "old").exists()


def test_an_older_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    with (
        pytest.raises(FileNotFoundError),
        atomic_folder(tmp_path / "a", tmp_dir=tmp_path / "t") as folder,
    ):
        folder.rmdir()
    assert (tmp_path / "a" / "old").exists()
    assert list((tmp_path / "t").iterdir()) == []


def test_scratch_is_gone_at_the_end(tmp_path):
    with scratch_folder(tmp_path / "a", tmp_dir=tmp_path / "t") as folder:
        (folder / "x").touch()
    assert list((tmp_path / "t").iterdir()) == []


def test_what_the_dead_left_is_removed_and_nothing_else(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f"a.{gone.pid}.x", f"a.{os.getpid()}.x", f"b.{gone.pid}.x", "a.word.x", "a"]
    for name in names:
        (tmp_path / name).mkdir()
    with scratch_folder(tmp_path / "a", tmp_dir=tmp_path):
        pass
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(names[1:])


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "first")
    with atomic_file(path, sync=True) as part:
        part.write_text("second")
        assert path.read_text() == "first"
        assert part.suffix == path.suffix
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_no_part_of_a_file_is_left(tmp_path):
    def cut_short():
        with atomic_file(tmp_path / "a.txt") as part:
            part.write_text("half of the sec")
            raise OSError("disk full")

    write_text(tmp_path / "a.txt", "first")
    with pytest.raises(OSError, match="disk full"):
        cut_short()
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "first"
