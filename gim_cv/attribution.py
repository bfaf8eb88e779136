"""Why a score changed between two versions: the data it is measured on, or the model.

Both versions' weights are scored on both versions' test ground, each with its own threshold and
scale. Of the total change, the data's part is the mean of what other ground does to either
model, and the model's part is the mean of what other weights do on either ground; the two add up
to the total (Shapley's value of two players).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gim_cv.config import Project
from gim_cv.errors import DataError, MissingError
from gim_cv.evaluate import measure, predictor
from gim_cv.intervals import Interval, interval, paired_difference
from gim_cv.revisions import fetch_run, runs_at
from gim_cv.rundir import WORKSPACE, Row, find_evaluation, read_run, read_scores
from gim_cv.scores import Counts, scores
from gim_cv.store import open_store
from gim_cv.versions import Version

MODEL = "Segmentalist"
Blocks = dict[tuple[int, ...], Counts]


def attribute_score(
    before: Version, after: Version, here: Project, *, batch: int, progress: bool, metric: str
) -> dict[str, Any]:
    """Return the score of both weights on both versions' test ground, and both effects.

    Returns
    -------
    dict
        ``scores[weights][ground]`` (0 before, 1 after) with value and 95 % interval; ``change``,
        ``data`` and ``model``, where ``data + model = change``; ``on_ground``: paired intervals of
        what other weights change on each ground. None where there is no such number.

    Raises
    ------
    MissingError
        A version has no evaluated run, or no combined store at hand.
    DataError
        The two stores have other bands or classes: no model takes both.
    """
    versions = (before, after)
    stores = [open_store(version.store("data/combined.zarr")) for version in versions]
    _check_alike(stores)
    blocks = [
        [_blocks(row, store, batch=batch, progress=progress) for store in stores]
        for row in (_run_of(version, here) for version in versions)
    ]
    table = [[_score(found, metric) for found in row] for row in blocks]
    values = [[cell["value"] for cell in row] for row in table]
    return {
        "metric": metric,
        "scores": table,
        **effects(values),
        "on_ground": [
            _bounds(paired_difference(new, old, measure=metric, seed=0))
            for old, new in zip(*blocks, strict=True)
        ],
    }


def effects(values: list[list[Any]]) -> dict[str, float | None]:
    """Return the change of a score, and the parts of it that data and model have.

    Parameters
    ----------
    values
        ``values[weights][ground]``, 0 before and 1 after.

    Examples
    --------
    >>> effects([[0.5, 0.75], [0.625, 1.0]])
    {'change': 0.5, 'data': 0.3125, 'model': 0.1875}
    """
    if any(value is None for row in values for value in row):
        return {"change": None, "data": None, "model": None}
    (aa, ab), (ba, bb) = values
    return {
        "change": bb - aa,
        "data": ((ab - aa) + (bb - ba)) / 2,
        "model": ((ba - aa) + (bb - ab)) / 2,
    }


def _run_of(version: Version, here: Project) -> Row:
    if version.name == WORKSPACE:
        folder = here.models / MODEL
        row = {"rev": WORKSPACE, **read_run(folder, find_evaluation(folder))}
    else:
        rows = [row for row in runs_at(version.name, here.models, MODEL) if row["evaluate_dir"]]
        row = rows[0] if rows else {"evaluate_dir": None}
    if row["evaluate_dir"] is None:
        raise MissingError(
            f"no evaluated run at {version.name}", path=here.models, remedy="Run dvc repro there"
        )
    fetch_run(row)
    return row


def _check_alike(stores: list[xr.Dataset]) -> None:
    was, now = stores
    for what, one, other in (
        ("bands", was.sizes["band"], now.sizes["band"]),
        ("classes", was.attrs["classes"], now.attrs["classes"]),
    ):
        if one != other:
            raise DataError(f"no model takes both versions: {what}", expected=one, found=other)


def _blocks(row: Row, patches: xr.Dataset, *, batch: int, progress: bool) -> Blocks:
    """Return a run's counts by block of test ground; two pairs over one block add up."""
    measured = read_scores(Path(row["evaluate_dir"]))
    found = measure(
        patches,
        predictor(row, symmetries=measured.get("symmetries", False)),
        batch=batch,
        keep=None,
        progress=progress,
        splits=("test",),
        scale=float(row["scale"]),
    )
    blocks: Blocks = {}
    for (_, *place), counts in found["test"].counts(int(measured["level"])).items():
        key = tuple(place)
        blocks[key] = blocks.get(key, np.zeros_like(counts)) + counts
    return blocks


def _score(blocks: Blocks, metric: str) -> dict[str, Any]:
    value = scores(sum(blocks.values()))[metric] if blocks else None
    return {"value": value, "interval": _bounds(interval(blocks, measure=metric, seed=0))}


def _bounds(found: Interval | None) -> list[float] | None:
    return [found.low, found.high] if found else None
