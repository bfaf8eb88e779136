import pytest
from dvc.api import artifacts_show
from dvc.repo import Repo
from rundirs import run

from gim_cv.errors import RunError
from gim_cv.registry import register
from gim_cv.runs import find_runs


def row_of(repository, rev):
    return find_runs(repository / "data/models", revs=[rev]).iloc[0]


def test_a_registered_run_is_a_version_that_dvc_finds(repository):
    models = repository / "data/models"
    tag = register(row_of(repository, "first"), models, message="It is better.")
    assert tag == "segmentalist@v0.0.1"
    assert artifacts_show("segmentalist", repo=str(repository)) == {
        "path": "data/models/Segmentalist",
        "rev": run(repository, "git", "rev-parse", "first").strip(),
    }
    assert "It is better." in run(repository, "git", "tag", "-n", "-l", tag)
    assert register(row_of(repository, "first"), models, message="Again.") == tag
    assert register(row_of(repository, "second"), models, message="x") == "segmentalist@v0.0.2"
    assert run(repository, "git", "status", "--porcelain") == ""


def test_a_run_of_the_workspace_is_registered_only_if_it_is_committed(repository):
    models = repository / "data/models"
    row = row_of(repository, "workspace")
    tag = register(row, models, message="It is committed.")
    assert run(repository, "git", "rev-parse", f"{tag}^{{}}", "second").split()[0] in run(
        repository, "git", "rev-parse", "HEAD"
    )
    changed = models / "Segmentalist_new"
    changed.mkdir()
    for name in ("run.yml", "history.csv"):
        (changed / name).write_bytes((models / "Segmentalist" / name).read_bytes())
    try:
        new = row.copy()
        new["run_dir"] = str(changed)
        with pytest.raises(RunError, match="the last commit has another run"):
            register(new, models, message="x")
    finally:
        for path in changed.iterdir():
            path.unlink()
        changed.rmdir()


def test_the_model_of_the_pipeline_is_an_artifact(root):
    with Repo(str(root)) as repo:
        (found,) = repo.artifacts.read().values()
        outs = {out.def_path for stage in repo.index.stages for out in stage.outs}
    assert found["segmentalist"].type == "model"
    assert found["segmentalist"].path in outs
