"""Tests of gim_cv.tensorboard."""

import struct
import sys
from pathlib import Path

import pytest
from fitting import fit
from tensorboardX.proto.event_pb2 import Event

from gim_cv.epochs import Training
from gim_cv.errors import MissingError
from gim_cv.tensorboard import TensorBoardWriter


def test_rows_are_scalars(tmp_path: Path) -> None:
    board = TensorBoardWriter(tmp_path)
    board.write({"epoch": 0, "loss": 0.5, "val_loss": float("nan")})
    board.write({"epoch": 1, "loss": 0.25})
    board.close()
    (path,) = tmp_path.iterdir()
    assert scalars(path) == [(0, "loss", 0.5), (1, "loss", 0.25)]


def test_a_run_writes_its_history(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = iter({"epoch": float(k), "loss": 0.5, "val_loss": 0.25} for k in range(2))
    monkeypatch.setattr(Training, "one_epoch", lambda *_: next(rows))
    fit(squares, tmp_path, tensorboard_dir=tmp_path / "board", sheet_epochs=0)
    (path,) = (tmp_path / "board").iterdir()
    each = [("loss", 0.5), ("val_loss", 0.25)]
    assert scalars(path) == [(epoch, *named) for epoch in (0, 1) for named in each]


def test_without_tensorboardx_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingError, match=r"pip install 'gim-cv\[tensorboard\]'"):
        TensorBoardWriter(tmp_path / "board")
    assert not (tmp_path / "board").exists()


def scalars(path: Path) -> list[tuple[int, str, float]]:
    """Return step, name and value of a file's scalars."""
    return [(e.step, v.tag, v.simple_value) for e in events(path) for v in e.summary.value]


def events(path: Path) -> list[Event]:
    """Read a file of TensorFlow records: length, its checksum, the event, its checksum."""
    data, start, found = path.read_bytes(), 0, []
    while start < len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        found.append(Event.FromString(data[start + 12 : start + 12 + length]))
        start += 12 + length + 4
    return found
