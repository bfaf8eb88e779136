"""Tests of gim_cv.journal."""

import gc
from pathlib import Path

import pytest
from projects import run

from gim_cv.journal import Journal


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git and DVC repository whose one commit is packed, as a clone's are."""
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "dvc", "init", "-q")
    run(tmp_path, "git", "commit", "-q", "-m", "Start")
    run(tmp_path, "git", "repack", "-adq")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("cut_short", [False, True])
def test_packed_repository_is_let_go(repository: Path, cut_short: bool) -> None:
    # An open pack file is a ResourceWarning when it is collected, and warnings are errors here.
    with Journal(repository, repository / "plots", [], None) as journal:
        journal.write({"epoch": 0, "loss": 0.5})
        if not cut_short:
            journal.finish(journal.rows[0])
    del journal
    gc.collect()
    assert (repository / "history.csv").read_text() == "epoch,loss\n0,0.5\n"
