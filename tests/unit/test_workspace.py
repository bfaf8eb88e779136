"""Folders of unfinished runs: who holds them, and when they go."""

from contextlib import suppress
from pathlib import Path

import pytest

from gim_cv.checkpoint import STATE_FILE
from gim_cv.errors import RunError
from gim_cv.workspace import LOCK, forget_unfinished, workspace


def unfinished(run_dir: Path, resume_dir: Path, key: str) -> None:
    """Leave what a killed run leaves."""
    with suppress(KeyboardInterrupt), workspace(run_dir, resume_dir, key) as place:
        (place.run / "history.csv").write_text(key)
        (place.state / STATE_FILE).touch()
        raise KeyboardInterrupt


def test_a_folder_is_found_again_after_an_error_and_gone_in_the_end(tmp_path: Path) -> None:
    run_dir, states = tmp_path / "run", tmp_path / "state"
    unfinished(run_dir, states, "key")
    assert not run_dir.exists()
    with workspace(run_dir, states, "key") as place:
        assert (place.run / "history.csv").read_text() == "key"
    assert [path.name for path in run_dir.iterdir()] == ["history.csv"]
    assert [path.name for path in states.iterdir()] == [LOCK]


def test_without_a_state_nothing_is_kept_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), workspace(tmp_path / "run", tmp_path / "state", "key"):
        raise KeyError
    assert not (tmp_path / "state" / "key").exists()


def test_two_processes_cannot_share_a_state(tmp_path: Path) -> None:
    with (
        workspace(tmp_path / "run", tmp_path / "state", "key"),
        pytest.raises(RunError, match="another process"),
        workspace(tmp_path / "run", tmp_path / "state", "key"),
    ):
        pass


def test_only_the_run_s_own_states_that_nobody_holds_are_forgotten(tmp_path: Path) -> None:
    run_dir, states = tmp_path / "run", tmp_path / "state"
    for name, key in (("run", "one"), ("run", "two"), ("other", "three"), ("run", "four")):
        unfinished(tmp_path / name, states, key)
    (states / "two" / LOCK).write_text("")  # of a version that did not say whose it was
    (states / "notes").mkdir()
    with workspace(run_dir, states, "four"):
        assert forget_unfinished(run_dir, states) == 2
        left = sorted(path.name for path in states.iterdir() if path.is_dir())
        assert left == ["four", "notes", "three"]


def test_a_project_can_be_moved(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    unfinished(before / "run", before / "state", "key")
    before.rename(after)
    assert forget_unfinished(after / "run", after / "state") == 1
