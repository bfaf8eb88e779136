"""README and docs: every fenced block is run or checked, or says just above it why not."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from imports import ROOT
from projects import environment, run

from gim_cv.catalog import DatasetSpec, Pair, Scene, Source
from gim_cv.config import Params

sys.path.insert(0, str(ROOT))
from docs.build import PAGES

FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- (?:not run: (?P<reason>[^>]+)|(?P<more>goes on)) -->\n+)?"
    r"```(?P<language>\w*)\n(?P<text>.*?)```",
    re.DOTALL,
)
SECONDS = 480
"""How long one command of a page may take before it counts as hung."""
COMMANDS = {"dvc", "git", "gim-cv", "make", "python", "source", "pip"}


def blocks(language):
    """The blocks of a language that are to be run, named by where they stand."""
    return list(_blocks(language))


def _blocks(language):
    for path in FILES:
        found = []
        for block in FENCE.finditer(path.read_text(encoding="utf-8")):
            if block["language"] == language and not block["reason"]:
                line = path.read_text()[: block.start("text")].count("\n") + 1
                if block["more"]:
                    found[-1] = (found[-1][0], found[-1][1] + block["text"])
                else:
                    found.append((line, block["text"]))
        yield from (pytest.param(text, id=f"{path.name}:{line}") for line, text in found)


def test_every_block_names_a_language_that_is_tested():
    known = {"yaml", "console", "python", "text"}
    found = {m["language"] for p in FILES for m in FENCE.finditer(p.read_text(encoding="utf-8"))}
    assert found <= known


@pytest.mark.parametrize("name", list(PAGES))
def test_generated_pages_are_current(name):
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_is_a_valid_part_of_the_catalog_or_of_the_parameters(text):
    data = yaml.safe_load(text)
    if not data.keys() & {"sources", "pairs", "scenes"}:
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        for key, values in data.items():
            params[key] = params[key] | values if isinstance(values, dict) else values
        Params(**params)
        return
    assert data.keys() <= {"sources", "pairs", "datasets", "scenes"}
    for table, kind in {"pairs": Pair, "scenes": Scene}.items():
        for name, row in data.get(table, {}).items():
            kind(name=name, **row)
    for row in data.get("sources", {}).values():
        Source(**row)
    for row in data.get("datasets", {}).values():
        DatasetSpec(**row)


@pytest.mark.e2e
@pytest.mark.parametrize("text", blocks("console"))
def test_commands_run(text, built, tmp_path):
    project = shutil.copytree(built, tmp_path / "project", symlinks=True)
    try:
        for line in text.splitlines():
            if line.startswith("$ "):
                printed = shell(project, line.removeprefix("$ "))
                assert "# nothing to do" not in line or "up to date" in printed
    finally:
        if "--queue" in text:
            shell(project, "dvc queue stop --kill")


def shell(project, line):
    """Run one line of a page and return what it printed; a queue must not have failed silently."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, f"{line}\n{printed}"
    assert "Failed to reproduce" not in printed, f"{line}\n{printed}"
    return printed


@pytest.mark.e2e
@pytest.mark.parametrize("text", blocks("python"))
def test_python_runs(text, built, tmp_path):
    project = shutil.copytree(built, tmp_path / "project", symlinks=True)
    run(project, sys.executable, "-c", text)


def test_local_links_lead_somewhere():
    for path in FILES:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if not target.startswith(("http:", "https:", "mailto:")):
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_pages_use_no_unknown_command():
    for path in FILES:
        for found in FENCE.finditer(path.read_text(encoding="utf-8")):
            if found["language"] == "console":
                lines = [x for x in found["text"].splitlines() if x.startswith("$ ")]
                assert {shlex.split(x[2:], comments=True)[0] for x in lines} <= COMMANDS


def test_the_readme_shows_a_picture():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert any(Path(ROOT / p).is_file() for p in pictures)
