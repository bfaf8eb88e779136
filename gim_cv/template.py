"""A new project from the pipeline's own files, and its upgrade to another gim_cv.

The template is not a copy: a wheel is built with the files of the repository's root inside, and a
checkout is its own template. A project made from it has no ``gim_cv/*.py`` for DVC to depend on;
``code.yaml`` takes their place, with one digest a stage of the code that the stage runs. It is
tracked by git and read by DVC as parameters, so that an upgrade re-runs the stages whose code has
changed, and no other.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gim_cv import __version__
from gim_cv.errors import ConfigError, MissingError, RunError
from gim_cv.yamlfile import read_yaml

PACKAGE = Path(__file__).resolve().parent
USERS = ("params.yaml", "data/catalog.yaml", ".gitignore", ".dvcignore")
"""What a project makes its own: written once, never upgraded."""
LISTS = (".gitignore", ".dvcignore")
"""Files that are completed where they exist already, not refused."""
CODE = "code.yaml"
CODE_DEP = re.compile(r"^\s+- (gim_cv/\S+\.py)$")
STAGE = re.compile(r"^  (\w+):$")
DIGESTED_BY = {"prepare": "recipes"}
"""Stages whose code another stage depends on in their place."""
HEAD = """\
# code.yaml holds a digest of the code of gim_cv that each stage runs: `gim-cv upgrade` renews it
# after another version has been installed, and marks the stages whose code has changed.
"""
CODE_HEAD = "# Written by gim-cv: the code that each stage runs. DVC reads it; do not edit it.\n"


class Upgrade(NamedTuple):
    """What an upgrade did: stages with other code, files replaced, and files kept as edited."""

    stages: list[str]
    replaced: list[str]
    kept: list[str]


def template_root() -> Path:
    """Return the folder with the template's files: in the wheel, or the checkout itself."""
    packed = PACKAGE / "template_project"
    return packed if packed.is_dir() else PACKAGE.parent


def pipeline_files() -> dict[str, str]:
    """Return path → text of the files that belong to the pipeline: dvc.yaml and the stages."""
    root = template_root()
    stages = sorted((root / "stages").glob("*.py"))
    texts = {f"stages/{path.name}": _text(path) for path in stages}
    return {"dvc.yaml": without_code(_text(root / "dvc.yaml")), **texts}


def without_code(text: str) -> str:
    """Return dvc.yaml with each stage's ``gim_cv/*.py`` replaced by its digest in code.yaml."""
    head, body = re.split(r"(?m)^(?=vars:)", text, maxsplit=1)
    lines, stage = [head.splitlines()[0], *HEAD.splitlines()], ""
    for line in body.splitlines():
        key, indent = line.strip(), " " * (len(line) - len(line.lstrip()))
        if found := STAGE.match(line):
            stage, lacking = found[1], found[1] not in DIGESTED_BY
        if CODE_DEP.match(line):
            continue
        if key in {"params:", "outs:"} and lacking:
            lines += [f"{indent}params:", f"{indent}  - {CODE}:", f"{indent}      - stages.{stage}"]
            lacking = False
            if key == "params:":
                continue
        lines.append(line)
    return "\n".join(lines) + "\n"


def code_digests() -> dict[str, str]:
    """Return stage → digest of the installed code that it runs, as dvc.yaml lists it."""
    found: dict[str, Any] = {}
    name = ""
    for line in _text(template_root() / "dvc.yaml").splitlines():
        if stage := STAGE.match(line):
            name = stage[1]
        elif code := CODE_DEP.match(line):
            content = hashlib.sha256((PACKAGE.parent / code[1]).read_bytes()).hexdigest()
            found.setdefault(name, hashlib.sha256()).update(f"{code[1]} {content}\n".encode())
    return {stage: digest.hexdigest()[:16] for stage, digest in found.items()}


def code_of_project(root: Path, stage: str) -> str:
    """Return a digest of the code that a stage of the project depends on, as DVC sees it."""
    files = read_yaml(root / "dvc.yaml")["stages"][stage]["deps"]
    code = root / CODE
    parts = [_text(root / path) for path in files]
    parts += [read_yaml(code)["stages"][stage]] if code.is_file() else []
    return _digest("".join(f"{_digest(part)}\n" for part in parts))


def code_file(files: Mapping[str, str]) -> str:
    """Return the text of code.yaml for the installed code and these pipeline files."""
    content = {
        "gim_cv": __version__,
        "stages": code_digests(),
        "files": {path: _digest(text) for path, text in files.items()},
    }
    return CODE_HEAD + yaml.safe_dump(content, sort_keys=False)


def check_code(root: Path, stage: str) -> None:
    """Return if the installed code is what the project's code.yaml says, or it has none.

    Raises
    ------
    RunError
        DVC would record a result under the name of other code.
    """
    path = root / CODE
    if not path.is_file():
        return
    said, listed = read_yaml(path), DIGESTED_BY.get(stage, stage)
    if said["stages"].get(listed) != code_digests().get(listed):
        raise RunError(
            f"the stage {stage!r} has other code than this project was made with",
            path=path,
            expected=f"the code of gim_cv {said['gim_cv']}",
            found=f"that of gim_cv {__version__}, which is installed",
            remedy="Run `gim-cv upgrade`, then `dvc repro`; or install the version expected",
        )


def init_project(folder: Path) -> bool:
    """Leave a project in `folder`, under git and DVC; return whether its first commit was made.

    A folder inside a git repository is only filled: what to commit there is not ours to say.

    Raises
    ------
    ConfigError
        Files of other content are in the way; each is named, and nothing has been written.
    """
    folder = folder.resolve()
    files = {path: _text(template_root() / path) for path in USERS}
    files |= (pipeline := pipeline_files())
    files[CODE] = code_file(pipeline)
    _refuse_clashes(folder, files)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = not (top := _git(folder, "rev-parse", "--show-toplevel", check=False))
    if fresh:
        _git(folder, "init", "-q", "-b", "main")
    for path, text in files.items():
        _write(folder / path, text)
    if not any((parent / ".dvc").is_dir() for parent in (folder, *folder.parents)):
        _init_dvc(folder, subdir=not fresh and Path(top) != folder)
    if fresh:
        _git(folder, "add", "--", ".dvc", *files)
        _git(folder, "commit", "-q", "-m", f"A project of gim_cv {__version__}")
    return fresh


def upgrade_project(folder: Path) -> Upgrade:
    """Bring code.yaml and the pipeline's files to the installed version.

    A file that was edited since it was written stays as it is.

    Raises
    ------
    MissingError
        The project has no code.yaml: it is a checkout of gim_cv, which git upgrades.
    """
    said = read_yaml(folder / CODE)
    files, digests = pipeline_files(), code_digests()
    stages = [name for name, digest in digests.items() if said["stages"].get(name) != digest]
    found = {path: _text(folder / path) for path in files}
    stale = [path for path, text in files.items() if found[path] != text]
    kept = [path for path in stale if _digest(found[path]) != said["files"].get(path)]
    kept = [path for path in kept if (folder / path).exists()]
    replaced = [path for path in stale if path not in kept]
    for path in replaced:
        (folder / path).write_text(files[path], encoding="utf-8")
    (folder / CODE).write_text(code_file(files), encoding="utf-8")
    return Upgrade(stages, replaced, kept)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _refuse_clashes(folder: Path, files: Mapping[str, str]) -> None:
    clashes = [
        path
        for path, text in files.items()
        if path not in LISTS and (folder / path).exists() and _text(folder / path) != text
    ]
    if clashes:
        raise ConfigError(
            "files of a project are there already",
            path=folder,
            found=", ".join(sorted(clashes)),
            remedy="Choose another folder, or move them away",
        )


def _write(path: Path, text: str) -> None:
    """Write a file; of a list that exists, add the lines that it lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = _text(path)
    if path.name in LISTS and old:
        lacking = [line for line in text.splitlines() if line not in old.splitlines()]
        text = old.rstrip("\n") + "\n" + "".join(f"{line}\n" for line in lacking)
    path.write_text(text, encoding="utf-8")


def _init_dvc(folder: Path, *, subdir: bool) -> None:
    from dvc.repo import Repo  # noqa: PLC0415  DVC takes a second to load

    Repo.init(str(folder), subdir=subdir).close()
    config = ".dvc/config"
    (folder / config).write_text(_text(template_root() / config), encoding="utf-8")


def _git(folder: Path, *arguments: str, check: bool = True) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as err:
        raise MissingError("git is not installed", remedy="Install git, or put it on PATH") from err
    if check and done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise RunError(f"git {arguments[0]} failed ({reason})", path=folder, remedy="Mend it first")
    return done.stdout.strip() if not done.returncode else ""
