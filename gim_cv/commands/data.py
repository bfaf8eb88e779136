"""Commands about data: before any work, and after it."""

from __future__ import annotations

import json
import sys

import typer
from rich.console import Console


def verify() -> None:
    """Read every store whole and compare it with the manifest and with DVC's cache."""
    from gim_cv.config import project
    from gim_cv.verify import verify_project

    console, faults = Console(soft_wrap=True), 0
    for what, fault in verify_project(project()):
        faults += fault is not None
        console.print(f"[green]✓[/] {what}" if fault is None else f"[red]✗[/] {fault}")
    if faults:
        raise typer.Exit(1)


def prepare(
    jobs: int = typer.Option(
        None, "--jobs", "-j", min=1, help="Pairs at a time; as many as there are CPUs by default."
    ),
) -> None:
    """Prepare every pair that is not up to date, several at a time; then run dvc repro."""
    from dask.system import CPU_COUNT

    from gim_cv.config import project
    from gim_cv.manypairs import prepare_pairs
    from gim_cv.revisions import root_of

    console, failed = Console(soft_wrap=True), 0
    root = root_of(project().root.resolve())
    for pair, whole, said in prepare_pairs(root, jobs=jobs or CPU_COUNT):
        failed += not whole
        sys.stderr.write(said)
        console.print(f"[green]✓[/] {pair}" if whole else f"[red]✗[/] {pair}")
    if failed:
        raise typer.Exit(1)


def check(
    pairs: list[str] = typer.Argument(None, help="Pairs to look at; all where none is named."),
    as_json: bool = typer.Option(False, "--json", help="JSON for machines, no table."),
) -> None:
    """Audit the catalog's data before any work; exit status 1 where an image cannot be used."""
    from gim_cv.audit import audit_pairs, compare_resolutions, totals
    from gim_cv.catalog import load_catalog
    from gim_cv.config import load_params, project
    from gim_cv.ground import GroundSplit
    from gim_cv.sceneaudit import audit_scenes
    from gim_cv.tables import audit_table, scene_lines

    here = project()
    catalog, params = load_catalog(here.catalog), load_params(here.params)
    audits = audit_pairs(
        [catalog.pair(name) for name in pairs or catalog.pairs],
        here.raw,
        progress=None if as_json else "Looking at pairs",
        split=GroundSplit(**params.split.model_dump()),
        **params.prepare.model_dump(),
    )
    compare_resolutions(audits, catalog.datasets)
    scenes = [] if pairs else audit_scenes(catalog.scenes.values(), here.raw, audits)
    summary = totals(audits, scenes)
    if as_json:
        rows = {
            key: [audit.as_dict() for audit in found]
            for key, found in (("pairs", audits), ("scenes", scenes))
        }
        typer.echo(json.dumps({**rows, "totals": summary}, indent=2, sort_keys=True))
    else:
        Console().print(audit_table(audits, summary))
        Console(soft_wrap=True).print(scene_lines(scenes), end="")
    if summary["errors"]:
        raise typer.Exit(1)
