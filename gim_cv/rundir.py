"""A run directory: what was trained, with which parameters, and how well it went.

It holds ``run.yml`` (every parameter), ``history.csv`` (one row per epoch), the weights of the
best epochs and sample batches.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import yaml

from gim_cv.errors import DataError, MissingError

RUN_FILE = "run.yml"
HISTORY_FILE = "history.csv"
EVALUATION = Path("results") / "evaluate"
SAMPLES = ("X0_train", "y0_train", "X0_val", "y0_val")
LOSSES = {"lowest_loss": "loss", "lowest_val_loss": "val_loss"}

WORKSPACE = "workspace"
"""What stands for a revision where the files on disk are meant."""

Row = dict[str, Any]


def read_run(folder: str | Path, evaluation: Path | None = None) -> Row:
    """Return one run as a flat row: its parameters, best losses, scores and absolute paths.

    Parameters
    ----------
    folder
        A run directory.
    evaluation
        Folder of its evaluation, if it has one (see `find_evaluation`).

    Returns
    -------
    dict
        Every entry of ``run.yml``, its loss as ``loss_fn`` too; ``lowest_val_loss`` and
        ``lowest_loss`` as floats, NaN where there was no such loss; ``run_dir``,
        ``X0_train … y0_val`` and ``evaluate_dir`` as absolute paths; of an evaluated run
        ``val_iou``, ``test_iou``, … and ``test_digest``.

    Raises
    ------
    MissingError
        There is no run in that folder.
    DataError
        Its files cannot be read.
    """
    root = Path(folder).resolve()
    texts = {name: _read(root / name) for name in (RUN_FILE, HISTORY_FILE)}
    row = parse_run(texts[RUN_FILE], texts[HISTORY_FILE], path=root)
    row |= {name: str(root / "samples" / f"{name}.npy") for name in SAMPLES}
    return row | {"run_dir": str(root), **read_evaluation(evaluation)}


def read_evaluation(folder: Path | None) -> Row:
    """Return what a row says of an evaluation: its folder, scores by split, the test digest."""
    if folder is None:
        return {"evaluate_dir": None, "test_digest": None}
    metrics = _read_json(folder / "metrics.json")
    splits = {
        f"{split}_{name}": value
        for split in ("val", "test")
        for name, value in metrics[split].items()
    }
    return {"evaluate_dir": str(folder.resolve()), "test_digest": metrics["test_digest"], **splits}


def read_scores(evaluation: Path) -> dict[str, Any]:
    """Return the content of an evaluation's ``scores.json``.

    Raises
    ------
    MissingError, DataError
        There is no such file; it is broken.
    """
    return _read_json(evaluation / "scores.json")


def find_evaluation(run_dir: Path) -> Path | None:
    """Return the folder that holds the evaluation of exactly this run, if there is one.

    It is looked for inside the run directory (``evaluate``), and where the pipeline puts it:
    ``results/evaluate`` beside the folder of models.
    """
    for folder in (run_dir / "evaluate", run_dir.parent.parent / EVALUATION):
        there = (folder / "scores.json").is_file()
        if there and read_scores(folder)["run_sha256"] == run_digest(run_dir):
            return folder
    return None


def run_digest(run_dir: Path) -> str:
    """Return the SHA-256 of a run's ``run.yml``, by which its evaluation knows it."""
    return hashlib.sha256(_read(run_dir / RUN_FILE).encode()).hexdigest()


def parse_run(run_text: str, history_text: str, *, path: str | Path) -> Row:
    """Return the row of a run from the text of its two files; `path` is for messages only."""
    try:
        run = yaml.safe_load(run_text)
    except yaml.YAMLError as err:
        raise DataError("not YAML", path=f"{path}/{RUN_FILE}") from err
    if not isinstance(run, dict):
        raise DataError("no mapping", path=f"{path}/{RUN_FILE}", found=type(run).__name__)
    history = parse_history(history_text, path=path)
    lowest = {name: _lowest(history, column) for name, column in LOSSES.items()}
    return {**run, "loss_fn": run.get("loss"), **lowest, "epochs_run": len(history)}


def parse_history(text: str, *, path: str | Path) -> list[dict[str, float]]:
    """Return one mapping of numbers per epoch; an empty cell is NaN."""
    rows = csv.DictReader(io.StringIO(text))
    return [{name: _number(cell, path) for name, cell in row.items()} for row in rows]


def read_history(folder: str | Path) -> list[dict[str, float]]:
    """Return what a run logged at each epoch: loss, val_loss, iou, …; missing values are NaN.

    Raises
    ------
    MissingError, DataError
        As `read_run`.
    """
    return parse_history(_read(Path(folder) / HISTORY_FILE), path=folder)


def _lowest(history: list[dict[str, float]], column: str) -> float:
    known = [row[column] for row in history if not math.isnan(row.get(column, math.nan))]
    return min(known, default=math.nan)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise MissingError(
            "not a run directory", path=path.parent, expected=path.name, remedy="Train a model"
        ) from err


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        remedy = "Run the evaluate stage first"
        raise MissingError("not evaluated", path=path, remedy=remedy) from err
    except json.JSONDecodeError as err:
        raise DataError("not JSON", path=path, remedy="Run the evaluate stage again") from err
    return found


def _number(text: str | None, path: str | Path) -> float:
    if text is None or not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError as err:
        raise DataError("a loss is no number", path=f"{path}/{HISTORY_FILE}", found=text) from err
