"""Write each stage's code dependencies into dvc.yaml: ``make deps``."""

import re

from imports import ROOT, closure

# Their values reach DVC as params, or they only word messages or check: an edit there changes no
# output.
NOT_DEPENDENCIES = {
    "stages/__init__.py",
    *(
        f"gim_cv/{n}.py"
        for n in (
            "__init__",
            "audit",
            "binding",
            "codec",
            "config",
            "errors",
            "progress",
            "scheduling",
            "shift",
            "stage",
            "template",
            "tensorboard",
        )
    ),
}
# A stage of many pairs depends on a digest that another stage makes of its code.
DIGESTED = {"recipes": "prepare"}
STAGE = re.compile(r"^  (\w+):$")
CODE = re.compile(r"^\s+- (?:stages|gim_cv)/\S+\.py$")


def code_of(stage: str) -> list[str]:
    """The files whose edit must run the stage again."""
    if stage in DIGESTED.values():
        return []
    scripts = {stage, DIGESTED.get(stage, stage)}
    files = {path for name in scripts for path in closure(ROOT / "stages" / f"{name}.py")}
    names = sorted({path.relative_to(ROOT).as_posix() for path in files} - NOT_DEPENDENCIES)
    own = f"stages/{stage}.py"
    return [own, *(name for name in names if name != own)]


def rewritten(text: str) -> str:
    """dvc.yaml with the code dependencies of today."""
    lines, stage = [], ""
    for line in text.splitlines():
        if found := STAGE.match(line):
            stage = found[1]
        if not CODE.match(line):
            lines.append(line)
        if line.strip() == "deps:":
            indent = " " * (len(line) - len(line.lstrip()) + 2)
            lines += [f"{indent}- {name}" for name in code_of(stage)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    path = ROOT / "dvc.yaml"
    path.write_text(rewritten(path.read_text()))
