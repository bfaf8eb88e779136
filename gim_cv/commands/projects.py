"""Commands about whole projects: a new one, and one that another gim_cv is to run."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console


def init(
    folder: Path = typer.Argument(help="Folder of the new project; made if it is not there."),
) -> None:
    """Make a new project: pipeline, parameters, catalog and stages, under git and DVC."""
    from gim_cv.template import init_project

    committed = init_project(folder)
    console = Console(soft_wrap=True, highlight=False)
    state = "under git and DVC, committed" if committed else "in your repository, not committed"
    console.print(f"[green]✓[/] {folder}: a gim_cv project, {state}. Next:\n")
    console.print(f"  cd {folder}", markup=False)
    console.print("  dvc repro         # the satellite tile that comes along: train, score, draw")
    console.print("  data/catalog.yaml # name your own imagery and labels; then gim-cv check")


def upgrade() -> None:
    """Bring this project's pipeline to the gim_cv that is installed."""
    from gim_cv.config import project
    from gim_cv.template import upgrade_project

    done = upgrade_project(project().root)
    console = Console(soft_wrap=True, highlight=False)
    for path in done.replaced:
        console.print(f"[green]✓[/] {path} renewed")
    for path in done.kept:
        console.print(f"[yellow]![/] {path} differs, and you have edited it: kept as it is")
    for key in lacking_keys(project().root):
        console.print(f"[yellow]![/] {key} is lacking: add it, as in a new project (gim-cv init)")
    stages = f"other code: {', '.join(done.stages)}" if done.stages else "no stage has other code"
    console.print(f"{stages}. `dvc repro` runs what that changes.", markup=False)


def lacking_keys(root: Path) -> list[str]:
    """Return the keys, as ``params.yaml: predict``, that a project's own files are to get."""
    from gim_cv.catalog import Catalog
    from gim_cv.config import Params, Project
    from gim_cv.yamlfile import read_yaml

    here = Project(root)
    tables, values = read_yaml(here.catalog), read_yaml(here.params)
    lacking = [f"data/catalog.yaml: {name}" for name in Catalog.tables() if name not in tables]
    for name, field in Params.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {})
        if name not in values:
            lacking.append(f"params.yaml: {name}")
        elif isinstance(values[name], dict):
            lacking += [f"params.yaml: {name}.{key}" for key in inner if key not in values[name]]
    return lacking
