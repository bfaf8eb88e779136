import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gim_cv.errors import MissingError, UnknownError
from gim_cv.revisions import experiments, fetch_run, runs_at
from gim_cv.runs import collate_run_data

LOSSES = {"first": 0.9, "second": 10.2}


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def dvc(folder, *arguments):
    run(folder, sys.executable, "-m", "dvc", "-q", *arguments)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Two tags, each with another trained run under DVC; only the cache has the first."""
    root = tmp_path_factory.mktemp("repo").resolve()
    run(root, "git", "init", "-q")
    run(root, "git", "config", "user.email", "a@b.c")
    run(root, "git", "config", "user.name", "A")
    dvc(root, "init")
    dvc(root, "config", "core.analytics", "false")
    for tag, loss in LOSSES.items():
        model = root / "data/models/Segmentalist"
        model.mkdir(parents=True, exist_ok=True)
        (model / "run.yml").write_text(yaml.safe_dump({"loss": tag, "parameters": 5}))
        (model / "history.csv").write_text(f"epoch,loss,val_loss\n0,1.0,{loss}\n")
        (model / "best.weights.h5").write_text(tag)
        (model / "samples").mkdir(exist_ok=True)
        (model / "samples/X0_val.npy").write_text(tag)
        dvc(root, "add", "data/models/Segmentalist")
        run(root, "git", "add", "-A")
        run(root, "git", "commit", "-q", "-m", tag)
        run(root, "git", "tag", tag)
    return root


def test_runs_of_tags_are_rows_like_those_on_disk(repository):
    frame = collate_run_data(repository / "data/models", revs=["first", "second"])
    assert frame["rev"].tolist() == ["workspace", "first", "second"]
    assert frame["loss_fn"].tolist() == ["second", "first", "second"]
    best = frame.sort_values("lowest_val_loss").iloc[0]
    assert (best["rev"], best["lowest_val_loss"]) == ("first", 0.9)


def test_weights_of_a_revision_come_when_asked_for(repository):
    (row,) = runs_at("first", repository / "data/models", "Segmentalist")
    folder = Path(row["run_dir"])
    assert not (folder / "best.weights.h5").exists()
    assert fetch_run(row) == folder
    assert (folder / "best.weights.h5").read_text() == "first"
    assert Path(row["X0_val"]).read_text() == "first"
    assert (repository / "data/models/Segmentalist/best.weights.h5").read_text() == "second"


def test_the_workspace_needs_no_fetching(repository):
    row = collate_run_data(repository / "data/models").iloc[0]
    assert fetch_run(row) == repository / "data/models/Segmentalist"


def test_an_unknown_revision_and_a_folder_in_no_repository(repository, tmp_path):
    with pytest.raises(UnknownError, match="unknown revision 'frist'"):
        runs_at("frist", repository / "data/models", "Segmentalist")
    with pytest.raises(MissingError, match="in no DVC repository"):
        runs_at("first", tmp_path, "Segmentalist")


def test_a_revision_without_runs_and_without_experiments(repository):
    assert runs_at("first", repository / "data/none", "Segmentalist") == []
    assert experiments(repository) == []
