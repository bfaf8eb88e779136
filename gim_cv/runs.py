"""Run directories as rows: what was trained, with which parameters, and how well it went.

A run directory holds ``run.yml`` (every parameter), ``history.csv`` (one row per epoch), the
weights of the best epochs and sample batches. The same reader serves folders on disk and DVC
revisions.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from gim_cv.errors import DataError, MissingError

RUN_FILE = "run.yml"
HISTORY_FILE = "history.csv"
SAMPLES = ("X0_train", "y0_train", "X0_val", "y0_val")
LOSSES = {"lowest_loss": "loss", "lowest_val_loss": "val_loss"}

Row = dict[str, Any]


def read_run(folder: str | Path) -> Row:
    """Return one run as a flat row: its parameters, best losses and absolute paths.

    Parameters
    ----------
    folder
        A run directory.

    Returns
    -------
    dict
        Every entry of ``run.yml``, its loss as ``loss_fn`` too; ``lowest_val_loss`` and
        ``lowest_loss`` as floats, NaN where there was no such loss; ``run_dir`` and
        ``X0_train … y0_val`` as absolute paths.

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
    row["run_dir"] = str(root)
    return row | {name: str(root / "samples" / f"{name}.npy") for name in SAMPLES}


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


def collate_run_data(
    models_dir: str | Path,
    model_name: str = "Segmentalist",
    *,
    revs: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return one row per run whose directory's name begins with `model_name`.

    Parameters
    ----------
    models_dir
        Folder that holds run directories.
    model_name
        Beginning of the directories' names.
    revs
        Git revisions or DVC experiments to read as well, without checking them out; each row
        then says where it is from in ``rev`` ("workspace" for the folder itself).

    Returns
    -------
    pandas.DataFrame
        Parameters, ``lowest_val_loss`` and ``lowest_loss`` (float64), ``run_dir``, ``X0_val`` …;
        sorted by run directory. Nested parameters are left out (their leaves are columns).

    Raises
    ------
    MissingError
        There is no such folder, or no run in it.
    """
    rows = [{"rev": "workspace", **row} for row in _runs_on_disk(Path(models_dir), model_name)]
    if revs is not None:
        from gim_cv.revisions import runs_at  # noqa: PLC0415  (DVC takes a third of a second)

        rows += [row for rev in revs for row in runs_at(rev, Path(models_dir), model_name)]
    if not rows:
        raise MissingError(
            f"no run directory begins with {model_name!r}",
            path=models_dir,
            remedy="Train a model first, or name another folder",
        )
    frame = pd.DataFrame([flat(row) for row in rows])
    return frame.astype(dict.fromkeys(LOSSES, "float64"))


def flat(row: Mapping[str, Any]) -> Row:
    """Return a row without nested mappings; their leaves join it where the name is free."""
    found = {name: value for name, value in row.items() if not isinstance(value, Mapping)}
    for value in row.values():
        if isinstance(value, Mapping):
            found = {**flat(value), **found}
    return found


def _runs_on_disk(models_dir: Path, model_name: str) -> list[Row]:
    if not models_dir.is_dir():
        raise MissingError("no such folder", path=models_dir, remedy="Train a model first")
    folders = sorted(models_dir.glob(f"{model_name}*/{RUN_FILE}"))
    return [read_run(path.parent) for path in folders]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise MissingError(
            "not a run directory", path=path.parent, expected=path.name, remedy="Train a model"
        ) from err


def _number(text: str | None, path: str | Path) -> float:
    if text is None or not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError as err:
        raise DataError("a loss is no number", path=f"{path}/{HISTORY_FILE}", found=text) from err
