"""Commands about runs: which is best, in what they differ, and a search for a better one."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gim_cv.errors import MissingError

if TYPE_CHECKING:
    import pandas as pd

    from gim_cv.selection import Choice

Revs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN]...",
        help="Experiments, branches, tags, commits, or `workspace`, which is meant by naming none.",
    ),
]
Every = Annotated[
    bool,
    typer.Option("--experiments", "-e", help="The last commit and all experiments run from it."),
]
Where = Annotated[
    str, typer.Option(help="A pandas query over parameters and scores: 'loss_fn == \"dice\"'.")
]
Metric = Annotated[
    str, typer.Option(help="What decides: iou, f1, precision, recall, specificity or npv.")
]
Split = Annotated[
    str, typer.Option(help="val, or test: then no honest test score of the chosen run is left.")
]
Seed = Annotated[int, typer.Option(help="Seed of the bootstrap.")]
Models = Annotated[
    Path | None, typer.Option(help="Folder that holds run directories; data/models by itself.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON for machines, no table.")]


def select(
    revs: Revs = None,
    every: Every = False,
    where: Where = "",
    metric: Metric = "iou",
    split: Split = "val",
    seed: Seed = 0,
    models: Models = None,
    register: Annotated[
        bool, typer.Option("--register", help="Tag the chosen run as a version of the model.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="The chosen run's name alone, for scripts.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Choose a run: the cheapest of those that may be as good as the best."""
    from gim_cv.selection import select as choose

    frame, folder = _runs(revs, every, where, models)
    choice = choose(frame, metric=metric, split=split, seed=seed)
    tag = None
    if register:
        from gim_cv.registry import register as tagged

        tag = tagged(choice.row, folder, message=choice.reason)
    rev = str(choice.row["rev"])
    if quiet or as_json:
        content = _content(choice) | {"registered": tag}
        typer.echo(json.dumps(content, indent=2) if as_json else rev)
        return
    _show(choice, metric, split)
    if tag:
        typer.echo(f"\nRegistered as {tag}. Share it: git push origin {tag}")
    elif rev not in {"workspace", "HEAD"}:
        typer.echo(f"\nTake it into the workspace: dvc exp apply {rev}")


def compare(
    revs: Revs = None,
    every: Every = False,
    where: Where = "",
    metric: Metric = "iou",
    split: Split = "val",
    seed: Seed = 0,
    models: Models = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page; data/results/compare by itself.")
    ] = None,
    patches: Annotated[
        int, typer.Option(help="How many patches to show where the runs disagree most.")
    ] = 6,
    as_json: Json = False,
) -> None:
    """Write one page about several runs: scores with error bars, curves, what differs."""
    from gim_cv.compare import write_comparison
    from gim_cv.config import project

    here = project()
    frame, _ = _runs(revs, every, where, models)
    folder = out or here.results / "compare"
    choice = write_comparison(
        frame,
        out_dir=folder,
        metric=metric,
        split=split,
        seed=seed,
        store=here.combined if patches and _have_pictures(frame, here.combined) else None,
        patches_shown=patches,
    )
    page = folder / "index.html"
    if as_json:
        typer.echo(json.dumps(_content(choice) | {"page": str(page)}, indent=2))
        return
    _show(choice, metric, split)
    typer.echo(f"\n{page}")


def search(
    over: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUES",
            help="A parameter and its values: loss=dice,bce, train.batch=4..16, "
            "train.learning_rate=log:1e-4..1e-2. May be given more than once.",
        ),
    ],
    study: Annotated[
        str, typer.Option(help="Its experiments are STUDY-1, STUDY-2, …; the same name goes on.")
    ] = "search",
    trials: Annotated[
        int, typer.Option(min=1, help="How many the study shall have, earlier ones included.")
    ] = 10,
    jobs: Annotated[int, typer.Option(min=1, help="Workers, and proposals at a time.")] = 1,
    metric: Annotated[
        str, typer.Option(help="What is raised, on val ground: iou, f1, precision or recall.")
    ] = "iou",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the proposals.")] = 0,
    as_json: Json = False,
) -> None:
    """Search for parameters: Optuna proposes, DVC experiments try."""
    if importlib.util.find_spec("optuna") is None:
        raise MissingError("Optuna is not installed", remedy="pip install 'gim-cv[search]'")
    from gim_cv import search as searching
    from gim_cv.config import project
    from gim_cv.tables import trials_table

    space = searching.parse_space(over)
    laboratory = searching.Experiments(project().root, study, tuple(space), metric, jobs)
    found = searching.search(space, laboratory, study=study, trials=trials, batch=jobs, seed=seed)
    if as_json:
        typer.echo(json.dumps([asdict(trial) for trial in found], indent=2))
        return
    Console().print(trials_table(found, metric))
    typer.echo("\nIs the first better beyond chance? gim-cv select --experiments")


def _runs(
    revs: list[str] | None, every: bool, where: str, models: Path | None
) -> tuple[pd.DataFrame, Path]:
    from gim_cv.config import project
    from gim_cv.runs import find_runs

    folder = models or project().models
    return find_runs(folder, revs=revs or (), experiments=every, where=where), folder


def _have_pictures(frame: pd.DataFrame, store: Path) -> bool:
    """Whether every run's predictions are at hand, and of this store."""
    from gim_cv.revisions import fetch_predictions
    from gim_cv.selection import check_comparable

    check_comparable(frame)
    return store.is_dir() and all(fetch_predictions(row, store) for _, row in frame.iterrows())


def _content(choice: Choice) -> dict[str, Any]:
    row = choice.row
    return {
        "chosen": {name: row[name] for name in ("rev", "run_dir", "evaluate_dir")},
        "reason": choice.reason,
        "runs": json.loads(choice.table.to_json(orient="records")),
    }


def _show(choice: Choice, metric: str, split: str) -> None:
    from gim_cv.tables import choice_table

    Console().print(choice_table(choice, metric=metric, split=split))
