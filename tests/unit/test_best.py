"""The weights of the best epochs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from gim_cv.best import BestWeights


def writes(text: str) -> SimpleNamespace:
    return SimpleNamespace(save_weights=lambda path: Path(path).write_text(text))


def test_only_the_epochs_named_are_kept(tmp_path: Path) -> None:
    best = BestWeights(tmp_path)
    for epoch in range(4):
        best.save(writes(f"epoch {epoch}"), epoch)
    best.keep({1, 3})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0001.weights.h5",
        "0003.weights.h5",
    ]
    best.copy(3, tmp_path / "found")
    assert (tmp_path / "found").read_text() == "epoch 3"


def test_a_kill_while_weights_are_written_leaves_the_older_ones(tmp_path: Path) -> None:
    def killed(path: Path) -> None:
        path.write_text("hal")
        raise KeyboardInterrupt

    best = BestWeights(tmp_path)
    best.save(writes("whole"), 2)
    with pytest.raises(KeyboardInterrupt):
        best.save(SimpleNamespace(save_weights=killed), 2)
    best.copy(2, tmp_path / "found")
    assert (tmp_path / "found").read_text() == "whole"
    (tmp_path / "found").unlink()
    best.keep({2})
    assert [path.name for path in tmp_path.iterdir()] == ["0002.weights.h5"]
