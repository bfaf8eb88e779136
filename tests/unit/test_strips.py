"""Strips of a prediction: kept one by one, gone on with, read across."""

from itertools import pairwise

import numpy as np
import pytest

from gim_cv.patches import Window
from gim_cv.strips import Strips

LEVELS = np.random.default_rng(0).integers(0, 256, (40, 12, 2), np.uint8)
ENDS = (0, 7, 8, 24, 40)


def filled(folder, count=4):
    strips = Strips(folder)
    for start, end in list(pairwise(ENDS))[:count]:
        strips.add(LEVELS[start:end])
    return strips


def test_there_is_nothing_at_first(tmp_path):
    strips = Strips(tmp_path / "strips")
    assert strips.end == 0
    assert strips.folder.is_dir()


def test_strips_follow_on_each_other(tmp_path):
    strips = filled(tmp_path)
    assert strips.end == 40
    assert np.array_equal(strips.read(Window(0, 0, 40, 12)), LEVELS)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_what_is_there_is_gone_on_with(tmp_path, count):
    filled(tmp_path, count)
    again = Strips(tmp_path)
    assert again.end == ENDS[count]
    again.add(LEVELS[ENDS[count] :])
    assert again.end == 40
    assert np.array_equal(again.read(Window(0, 0, 40, 12)), LEVELS)
    assert np.array_equal(Strips(tmp_path).read(Window(0, 0, 40, 12)), LEVELS)


@pytest.mark.parametrize(
    "window",
    [
        Window(0, 0, 1, 12),
        Window(6, 0, 2, 12),
        Window(3, 5, 30, 4),
        Window(7, 0, 1, 12),
        Window(8, 11, 16, 1),
        Window(39, 0, 1, 1),
    ],
)
def test_windows_are_read_across_strips(tmp_path, window):
    found = filled(tmp_path).read(window)
    assert np.array_equal(found, LEVELS[window.slices])
    assert found.dtype == np.uint8


def test_a_torn_strip_is_not_taken(tmp_path):
    filled(tmp_path, 2)
    whole = (tmp_path / f"{7:08d}.npy").read_bytes()
    (tmp_path / f".part.{8:08d}.npy").write_bytes(whole[: len(whole) // 2])
    strips = Strips(tmp_path)
    assert strips.end == 8
    strips.add(LEVELS[8:])
    assert np.array_equal(strips.read(Window(0, 0, 40, 12)), LEVELS)
    assert [path.name for path in tmp_path.iterdir() if ".part." in path.name] == []


def test_what_lies_beyond_a_gap_is_made_again(tmp_path):
    filled(tmp_path)
    (tmp_path / f"{8:08d}.npy").unlink()
    assert Strips(tmp_path).end == 8


def test_a_strip_that_cannot_be_written_is_not_there(tmp_path, monkeypatch):
    strips = filled(tmp_path, 1)

    def full(handle, levels):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space"):
        strips.add(LEVELS[7:8])
    monkeypatch.undo()
    assert strips.end == 7
    assert [path.name for path in tmp_path.iterdir()] == ["00000000.npy"]


def test_a_strip_outlives_a_machine_that_stops(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", synced.append)
    filled(tmp_path, 3)
    assert len(synced) == 3
