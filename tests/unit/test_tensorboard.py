"""Tests of gim_cv.tensorboard."""

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

from gim_cv.tensorboard import TensorBoardWriter


def test_rows_are_scalars(tmp_path: Path) -> None:
    board = TensorBoardWriter(tmp_path)
    board.write({"epoch": 0, "loss": 0.5, "val_loss": float("nan")})
    board.write({"epoch": 1, "loss": 0.25})
    board.close()
    (path,) = tmp_path.iterdir()
    values = [(e.step, v.tag, v.simple_value) for e in events(path) for v in e.summary.value]
    assert values == [(0, "loss", 0.5), (1, "loss", 0.25)]


def events(path: Path) -> list[Event]:
    """Read a file of TensorFlow records: length, its checksum, the event, its checksum."""
    data, start, found = path.read_bytes(), 0, []
    while start < len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        found.append(Event.FromString(data[start + 12 : start + 12 + length]))
        start += 12 + length + 4
    return found
