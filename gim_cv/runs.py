"""Runs side by side: every run directory a row, on disk and at other revisions alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gim_cv.errors import ConfigError, MissingError
from gim_cv.rundir import LOSSES, RUN_FILE, WORKSPACE, Row, find_evaluation, read_run
from gim_cv.selection import Choice, select

__all__ = ["Choice", "collate_run_data", "find_runs", "flat", "read_run", "select"]


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
    rows: list[Row] = []
    if revs is None or Path(models_dir).is_dir():
        found = _runs_on_disk(Path(models_dir), model_name)
        rows = [{"rev": WORKSPACE, **row} for row in found]
    if revs is not None:
        from gim_cv.revisions import runs_at  # noqa: PLC0415  (DVC takes a third of a second)

        rows += [row for rev in revs for row in runs_at(rev, Path(models_dir), model_name)]
    return _frame(rows, models_dir, model_name)


def find_runs(
    models_dir: Path, *, revs: Iterable[str] = (), experiments: bool = False, where: str = ""
) -> pd.DataFrame:
    """Return one row per run of the places named, as ``collate_run_data`` does.

    Parameters
    ----------
    models_dir
        Folder that holds run directories.
    revs
        Git revisions, DVC experiments or ``workspace``; where none is named, the workspace.
    experiments
        Take the current commit and all experiments that were run from it as well.
    where
        A pandas query that narrows the rows, as ``loss_fn == "dice" and deep_supervision``.

    Raises
    ------
    MissingError
        A revision that is named has no run.
    ConfigError
        The query is none.
    """
    from gim_cv import revisions  # noqa: PLC0415  (DVC takes a third of a second)

    named = list(dict.fromkeys(revs)) or ([] if experiments else [WORKSPACE])
    rows: list[Row] = []
    for rev in named:
        if rev == WORKSPACE:
            rows += [{"rev": rev, **row} for row in _runs_on_disk(models_dir, "")]
        else:
            rows += revisions.runs_at(rev, models_dir, "")
        if not rows or rows[-1]["rev"] != rev:
            raise MissingError(f"{rev} has no run", path=models_dir, remedy="Train a model there")
    if experiments:
        every = ["HEAD", *revisions.experiments(revisions.root_of(models_dir.resolve()))]
        rows += [r for e in every if e not in named for r in revisions.runs_at(e, models_dir, "")]
    return _narrowed(_frame(rows, models_dir, ""), where)


def _frame(rows: list[Row], models_dir: str | Path, model_name: str) -> pd.DataFrame:
    if not rows:
        raise MissingError(
            f"no run directory begins with {model_name!r}" if model_name else "no run",
            path=models_dir,
            remedy="Train a model first, or name another folder",
        )
    frame = pd.DataFrame([flat(row) for row in rows])
    return frame.astype(dict.fromkeys(LOSSES, "float64"))


def _narrowed(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    if not where:
        return frame
    try:
        return frame.query(where, engine="python").reset_index(drop=True)
    except (NameError, SyntaxError, TypeError, ValueError, AttributeError, KeyError) as err:
        raise ConfigError(
            f"{where!r} is no query over runs",
            expected=f"a condition on {', '.join(sorted(frame.columns))}",
            found=err,
        ) from err


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
    return [read_run(path.parent, find_evaluation(path.parent)) for path in folders]
