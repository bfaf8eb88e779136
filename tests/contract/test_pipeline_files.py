"""dvc.yaml, params.yaml, .gitignore and the code agree, and walk around DVC's known traps."""

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from imports import ROOT, closure, imported
from pydantic import BaseModel
from write_deps import code_of, rewritten

from gim_cv.config import SEED_PATHS, Params, Project


def pipeline():
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())


def stages():
    """Each stage's name and body; templated ones as one."""
    return {name: body.get("do", body) for name, body in pipeline()["stages"].items()}


def flat(mapping, prefix=""):
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_code_deps_are_the_import_closure():
    text = (ROOT / "dvc.yaml").read_text()
    assert text == rewritten(text), "run `make deps`"


def test_the_closure_follows_what_a_stage_uses():
    assert "gim_cv/losses/overlap.py" in code_of("train")
    assert "gim_cv/raster.py" in code_of("recipes")
    assert not [f for f in code_of("recipes") if f.startswith(("gim_cv/losses", "gim_cv/models"))]


def leaves(model: type[BaseModel], prefix=""):
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_parameter_reaches_a_stage():
    params = [p for body in stages().values() for p in body.get("params", []) if isinstance(p, str)]
    used = {name for name in params if "." not in name}
    top = set(Params.model_fields)
    assert used == top
    assert {name for name in params if "." in name} <= set(leaves(Params))
    assert all(p.split(".")[0] in used for p in leaves(Params))


def test_every_parameter_has_a_description_and_no_default():
    def check(model):
        for name, field in model.model_fields.items():
            annotation = field.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                check(annotation)
                continue
            assert field.is_required(), f"{model.__name__}.{name} has a default in code"
            assert field.description, f"{model.__name__}.{name} has no description"

    check(Params)


def test_loss_args_list_each_coefficient_of_each_loss_with_its_default():
    """`-S loss_args.tversky.alpha=0.6` changes a key that is there, and no other way needs a +."""
    code = (
        "import inspect, json; from gim_cv.losses import LOSSES;"
        "print(json.dumps({name: {key: p.default for key, p in"
        " inspect.signature(kind).parameters.items()} for name, kind in LOSSES.items()}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    defaults = {
        name: {key: found[key] for key in found if key not in ("name", "class_weights")}
        for name, found in json.loads(done.stdout).items()
    }
    listed = yaml.safe_load((ROOT / "params.yaml").read_text())["loss_args"]
    assert listed == {name: found for name, found in defaults.items() if found}


@pytest.mark.parametrize("file", ["params.yaml", "data/catalog.yaml"])
def test_no_key_that_dvc_drops_from_its_cache_key(file):
    """DVC forgets params named size or nfiles, then restores the output of another value."""
    data = yaml.safe_load((ROOT / file).read_text())
    names = {part for path in flat(data) for part in path.split(".")}
    assert not names & {"size", "nfiles"}


def test_gitignore_names_outputs_literally():
    """A wildcard over data/raw hides the .dvc files there, and DVC then deletes the raw data."""
    lines = (ROOT / ".gitignore").read_text().splitlines()
    data = [line for line in lines if line.startswith("/data")]
    assert data
    assert not [line for line in data if re.search(r"[*?\[]", line)]


def test_every_output_is_ignored_or_tracked_by_git():
    """Else DVC writes .gitignore files of its own, which it rolls back when a later stage fails."""
    catalog = yaml.safe_load((ROOT / "data/catalog.yaml").read_text())
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for name, body in pipeline()["stages"].items():
        keys = catalog["sources"] if name == "fetch" else ["any"]
        for out in body.get("do", body).get("outs", []):
            if isinstance(out, dict) and next(iter(out.values())).get("cache") is False:
                continue
            path = out if isinstance(out, str) else next(iter(out))
            for key in keys:
                full = "/" + path.replace("${key}", key)
                parents = {"/".join(full.split("/")[:n]) for n in range(2, 9)}
                assert (parents | {full}) & set(ignored), f"{full} is not in .gitignore"


def test_what_scripts_save_is_ignored_and_is_no_stages_folder():
    """The stage manifest removes what it does not know from its own."""
    saved = SEED_PATHS["proc_data_path"]
    folder = f"data/{saved}"
    assert getattr(Project(Path()), saved) == Path(folder)
    assert f"/{folder}" in (ROOT / ".gitignore").read_text().splitlines()
    assert folder not in (ROOT / "dvc.yaml").read_text()


HEAVY = ("keras", "tensorflow", "albumentations", "jax")


@pytest.mark.parametrize("stage", ["fetch", "recipes", "prepare", "manifest", "combine"])
def test_data_stages_never_load_the_learning_libraries(stage):
    code = (
        f"import sys, json; import stages.{stage};"
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_the_root_module_imports_only_what_binds_the_codec():
    files = closure(ROOT / "gim_cv/__init__.py")
    assert {path.stem for path in files} == {"__init__", "binding", "codec", "errors"}
    libraries = {name.split(".")[0] for path in files for name in imported(path)} - {"gim_cv"}
    # numcodecs is imported late, by the check, when something else has loaded it already.
    assert libraries - sys.stdlib_module_names == {"numcodecs"}
    assert Path(ROOT / "gim_cv/py.typed").exists()


def test_every_remote_is_verified_when_pulled():
    """DVC trusts a remote's bytes otherwise: a corrupted object of equal length passes."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc" / "config")
    remotes = [name for name in config.sections() if "remote" in name]
    assert all(config[name].getboolean("verify", fallback=False) for name in remotes)
    assert config["cache"]["type"].strip('"').startswith("reflink")
