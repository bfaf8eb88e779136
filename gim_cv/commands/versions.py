"""Commands about versions of a project."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Rev = Annotated[
    str, typer.Argument(help="A branch, tag, commit or experiment; or workspace, as it is on disk.")
]


def diff(
    before: Rev,
    after: Rev = "workspace",
    attribute: Annotated[
        bool,
        typer.Option("--attribute", help="Score both models on both test grounds."),
    ] = False,
    metric: Annotated[str, typer.Option(help="What --attribute scores.")] = "iou",
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures here.")] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Squares of ground on the page.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines, no table.")] = False,
) -> None:
    """Say what changed between two versions: scenes, labels, statistics, scores, and why."""
    from gim_cv.config import project
    from gim_cv.differences import compare_versions
    from gim_cv.tables import difference_tables
    from gim_cv.versions import Version

    here = project()
    versions = Version(before, here), Version(after, here)
    found = compare_versions(*versions, squares=pictures if html else 0)
    if attribute:
        from gim_cv.attribution import attribute_score
        from gim_cv.config import load_params

        batch = load_params(here.params).evaluate.batch
        scored = attribute_score(*versions, here, batch=batch, progress=not as_json, metric=metric)
        found = dataclasses.replace(found, content=found.content | {"attribution": scored})
    if html:
        from gim_cv.changepage import write_changes

        write_changes(found, *versions, html)
    if as_json:
        typer.echo(json.dumps(found.content, indent=2))
        return
    Console().print(difference_tables(found.content))
    if html:
        typer.echo(str(html))
