"""The command ``gim-cv``."""

from __future__ import annotations

import sys

import typer

from gim_cv.commands import data, experiments, projects, scenes, versions
from gim_cv.errors import GimError

app = typer.Typer(
    help="Versioned patch datasets and segmentation models from imagery.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FAMILIES = (
    (projects.init, projects.upgrade),
    (data.check, data.prepare, data.verify),
    (experiments.select, experiments.compare, experiments.search),
    (scenes.predict,),
    (versions.diff,),
)
for command in (command for family in FAMILIES for command in family):
    app.command()(command)


def main() -> None:
    """Run the command line; a GimError is one line and exit status 1."""
    try:
        app()
    except GimError as err:
        sys.stderr.write(f"error: {err}\n")
        raise SystemExit(1) from err
