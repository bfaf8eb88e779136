"""Make the generated pages: ``make docs``. A test fails when one of them is out of date."""

import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gim_cv import catalog
from gim_cv.config import Params

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests"))
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}


def _range(field: FieldInfo, *, optional: bool) -> str:
    parts = []
    for rule in field.metadata:
        parts += [f"{BOUNDS[k]} {v}" for k in BOUNDS if (v := getattr(rule, k, None)) is not None]
    text = str(field.annotation)
    if "Literal" in text:
        parts += [text.partition("Literal[")[2].partition("]")[0].replace("'", "`")]
    if optional and type(None) in get_args(field.annotation):
        parts += ["or `null`"]
    return ", ".join(parts)


def _as_yaml(value: Any) -> str:
    """Return a value as one writes it in params.yaml."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return str(text).removesuffix("\n").removesuffix("\n...")


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _table(model: type[BaseModel], values: dict[str, Any] | None) -> list[str]:
    head = (
        "| key | default here | range | what it is |" if values else "| key | range | what it is |"
    )
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for name, field in model.model_fields.items():
        if _section(field):
            continue
        cells = [f"`{name}`", _range(field, optional=values is not None), field.description or ""]
        if values:
            cells.insert(1, f"`{_as_yaml(values[name])}`")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def parameters_page() -> str:
    """Return docs/parameters.md: every key of params.yaml with its range and meaning."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    head = "Every key of `params.yaml`. `dvc exp run -S section.key=value` changes one for one run."
    lines = ["# Parameters", "", head, "", "## Top level", ""]
    lines += _table(Params, values)
    for name, field in Params.model_fields.items():
        if section := _section(field):
            lines += ["", f"## {name}", "", f"{section.__doc__}", ""]
            lines += _table(section, values[name])
    return "\n".join(lines) + "\n"


def catalog_page() -> str:
    """Return docs/catalog.md: every key of data/catalog.yaml with its range and meaning."""
    lines = ["# The catalog", "", "Every key of `data/catalog.yaml`.", ""]
    tables: dict[str, type[BaseModel]] = {
        "sources": catalog.Source,
        "sources.NAME.files": catalog.SourceFile,
        "pairs": catalog.Pair,
        "pairs.NAME.mask_values": catalog.MaskValue,
        "datasets": catalog.DatasetSpec,
        "scenes": catalog.Scene,
    }
    for title, model in tables.items():
        lines += [f"## {title}", "", f"{model.__doc__}", "", *_table(model, None), ""]
    return "\n".join(lines)


def inputs_page() -> str:
    """Return docs/inputs.md: what becomes of each kind of input; every row is run."""
    from varieties import BAD, GOOD, outcome  # noqa: PLC0415  the other pages need no raster

    lines = ["# Inputs", "", INPUTS_HEAD, ""]
    for title, cases in {"What is taken": GOOD, "What is refused": BAD}.items():
        lines += [f"## {title}", "", "| input | what happens |", "|---|---|"]
        for name, make in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                lines.append(f"| {name} | {outcome(make, Path(folder))} |".replace("\n", " "))
        lines.append("")
    return "\n".join(lines)


INPUTS_HEAD = """\
Each row was run when this page was made, and is run again by the tests: a small scene with that
peculiarity goes through `prepare` (or `fetch`). Refusals are quoted word for word."""
PAGES = {"parameters.md": parameters_page, "catalog.md": catalog_page, "inputs.md": inputs_page}


def main() -> None:
    """Write every generated page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
