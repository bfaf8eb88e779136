import re
import subprocess
from pathlib import Path

import pytest
import yaml
from imports import ROOT
from projects import environment
from typer.testing import CliRunner

from gim_cv import template
from gim_cv.cli import app
from gim_cv.commands.projects import lacking_keys
from gim_cv.errors import ConfigError, RunError

STAGES = {"fetch", "recipes", "manifest", "combine", "train", "evaluate", "report", "predict"}


@pytest.fixture
def identity(monkeypatch, tmp_path):
    """Git's author and an own DVC state, as the tests' commands have them."""
    for name, value in environment(tmp_path / "any").items():
        monkeypatch.setenv(name, value)


def git(folder, *arguments):
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_dvc_yaml_names_a_digest_in_place_of_each_stages_code():
    text = template.pipeline_files()["dvc.yaml"]
    assert "gim_cv/" not in text
    ours, theirs = yaml.safe_load((ROOT / "dvc.yaml").read_text()), yaml.safe_load(text)
    assert theirs["vars"] == ours["vars"]
    assert theirs["plots"] == ours["plots"]
    assert theirs["stages"].keys() == ours["stages"].keys()
    for name, body in ours["stages"].items():
        whole, bare = body.get("do", body), theirs["stages"][name].get("do", theirs["stages"][name])
        deps = [dep for dep in whole["deps"] if not dep.startswith("gim_cv/")]
        params = [{"code.yaml": [f"stages.{name}"]}, *whole.get("params", [])]
        digest = {"params": params} if name != "prepare" else {}
        assert bare == whole | {"deps": deps} | digest


def test_the_template_is_this_repository_and_each_stage_has_a_digest():
    files = template.pipeline_files()
    assert template.template_root() == ROOT
    assert {path for path in files if path != "dvc.yaml"} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "stages").glob("*.py")
    }
    code = yaml.safe_load(template.code_file(files))
    assert set(code["stages"]) == STAGES
    assert len(set(code["stages"].values())) == len(STAGES)
    assert set(code["files"]) == set(files)


def test_a_new_project_is_committed_and_clean(tmp_path, identity):
    folder = tmp_path / "deep" / "mine"
    assert template.init_project(folder)
    assert git(folder, "status", "--porcelain") == ""
    assert (folder / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()
    assert (folder / ".dvc/config").read_bytes() == (ROOT / ".dvc/config").read_bytes()
    assert (folder / ".dvcignore").read_bytes() == (ROOT / ".dvcignore").read_bytes()
    template.check_code(folder, "prepare")


def test_files_in_the_way_are_named_and_nothing_is_written(tmp_path):
    (tmp_path / "params.yaml").write_text("mine: 1\n")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/train.py").write_text("print()\n")
    with pytest.raises(ConfigError, match=re.escape("found params.yaml, stages/train.py.")):
        template.init_project(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "stages"]


def test_inside_a_repository_nothing_is_committed_and_ignore_files_are_completed(
    tmp_path, identity
):
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("*.tmp\n/data/patches\n")
    assert not template.init_project(tmp_path)
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["*.tmp", "/data/patches"]
    assert set((ROOT / ".gitignore").read_text().splitlines()) <= set(lines)
    assert lines.count("/data/patches") == 1
    assert (tmp_path / ".dvc").is_dir()
    assert not template.init_project(tmp_path / "second")
    assert not (tmp_path / "second/.dvc").exists()


def test_an_upgrade_marks_stages_renews_files_and_keeps_edited_ones(tmp_path, monkeypatch):
    files = template.pipeline_files()
    old = files | {"dvc.yaml": "old\n", "stages/train.py": "older\n"}
    for path, text in old.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    digests = template.code_digests()
    with monkeypatch.context() as before:
        before.setattr(template, "code_digests", lambda: digests | {"combine": "0" * 16})
        (tmp_path / "code.yaml").write_text(template.code_file(old))
    (tmp_path / "stages/train.py").write_text("mine\n")
    with pytest.raises(RunError, match="Run `gim-cv upgrade`"):
        template.check_code(tmp_path, "combine")
    template.check_code(tmp_path, "train")
    done = template.upgrade_project(tmp_path)
    assert done == (["combine"], ["dvc.yaml"], ["stages/train.py"])
    assert (tmp_path / "stages/train.py").read_text() == "mine\n"
    assert (tmp_path / "dvc.yaml").read_text() == files["dvc.yaml"]
    template.check_code(tmp_path, "combine")
    assert template.upgrade_project(tmp_path) == ([], [], ["stages/train.py"])


def test_prepare_refuses_other_code_though_another_stage_lists_it(tmp_path):
    code = yaml.safe_load(template.code_file({}))
    code["stages"]["recipes"] = "0" * 16
    (tmp_path / "code.yaml").write_text(yaml.safe_dump(code))
    with pytest.raises(RunError, match="the stage 'prepare' has other code"):
        template.check_code(tmp_path, "prepare")


@pytest.mark.parametrize("edited", ["stages/prepare.py", "gim_cv/raster.py", "code.yaml"])
def test_the_code_of_a_project_is_known_by_each_file_that_its_stage_lists(tmp_path, edited):
    deps = ["stages/prepare.py", "gim_cv/raster.py"]
    stages = {"stages": {"recipes": {"deps": deps}}}
    texts = {"dvc.yaml": yaml.safe_dump(stages), "code.yaml": "stages: {recipes: old}\n"}
    for path, text in (texts | dict.fromkeys(deps, "same\n")).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    before = template.code_of_project(tmp_path, "recipes")
    assert template.code_of_project(tmp_path, "recipes") == before
    (tmp_path / edited).write_text(texts.get(edited, "old").replace("old", "new"))
    assert template.code_of_project(tmp_path, "recipes") != before


def test_a_checkout_needs_no_code_file(tmp_path):
    template.check_code(tmp_path, "prepare")


def test_an_upgrade_names_the_keys_that_the_users_files_lack(tmp_path, monkeypatch, identity):
    template.init_project(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert lacking_keys(Path()) == []
    for name, drop in (("data/catalog.yaml", ["scenes"]), ("params.yaml", ["predict"])):
        values = yaml.safe_load(Path(name).read_text())
        for key in drop:
            del values[key]
        values.get("train", {}).pop("workers", None)
        values.get("loss_args", {}).pop("dice", None)
        Path(name).write_text(yaml.safe_dump(values))
    said = CliRunner().invoke(app, ["upgrade"]).output
    for key in ("data/catalog.yaml: scenes", "params.yaml: predict", "params.yaml: train.workers"):
        assert f"! {key} is lacking: add it" in said
    assert said.count("is lacking") == 3
