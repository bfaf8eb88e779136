"""Runs side by side: every run directory a row, on disk and at other revisions alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gim_cv.errors import MissingError
from gim_cv.rundir import LOSSES, RUN_FILE, Row, find_evaluation, read_run
from gim_cv.selection import Choice, select

__all__ = ["Choice", "collate_run_data", "flat", "read_run", "select"]


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
        rows = [{"rev": "workspace", **row} for row in found]
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
    return [read_run(path.parent, find_evaluation(path.parent)) for path in folders]
