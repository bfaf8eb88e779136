"""The command ``gim-cv``."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from gim_cv.errors import GimError

app = typer.Typer(
    help="Versioned patch datasets and segmentation models from imagery.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def commands() -> None:
    """Versioned patch datasets and segmentation models from imagery."""


@app.command()
def verify() -> None:
    """Read every store whole and compare it with the manifest and with DVC's cache."""
    from gim_cv.config import project  # noqa: PLC0415  --help stays quick
    from gim_cv.verify import verify_project  # noqa: PLC0415

    console, faults = Console(), 0
    for what, fault in verify_project(project()):
        faults += fault is not None
        console.print(f"[green]✓[/] {what}" if fault is None else f"[red]✗[/] {fault}")
    if faults:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; a GimError is one line and exit status 1."""
    try:
        app()
    except GimError as err:
        sys.stderr.write(f"error: {err}\n")
        raise SystemExit(1) from err
