"""One page about several runs: which is better, by how much, and where they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gim_cv.charts import Axis, Dot, Series, dot_chart, line_chart
from gim_cv.gallery import Gallery, Patch, choose
from gim_cv.intervals import interval, read_counts
from gim_cv.page import data_uri, render
from gim_cv.rundir import SAMPLES, read_history, read_scores
from gim_cv.scores import scores
from gim_cv.selection import Choice, labels, select
from gim_cv.store import open_store

STYLES = 4
NOT_COMPARED = {*SAMPLES, "run_dir", "evaluate_dir", "rev", "test_digest", "loss_fn"}
RESULTS = (
    "val_",
    "test_",
    "lowest_",
    "best_",
    "epochs_run",
    "swa_chosen",
    "swa_epochs",
    "threshold",
)


def write_comparison(
    frame: pd.DataFrame,
    *,
    out_dir: Path,
    metric: str,
    split: str,
    seed: int,
    store: Path | None = None,
    patches_shown: int = 0,
) -> Choice:
    """Write ``index.html``, which needs no other file, about two or more runs; return the choice.

    Parameters
    ----------
    frame
        Rows of ``collate_run_data``, evaluated on the same ground.
    out_dir
        Folder for the page.
    metric, split, seed
        What decides, as in ``selection.select``.
    store
        The combined store, for pictures; runs of other revisions have none.
    patches_shown
        How many patches to show where the runs disagree.

    Raises
    ------
    MissingError, DataError, ConfigError
        As ``selection.select``.
    """
    choice = select(frame, metric=metric, split=split, seed=seed)
    names = labels(frame)
    context = {
        "title": f"{len(frame)} runs compared",
        "reason": choice.reason,
        "metric": metric,
        "split": split,
        "names": names,
        "table": choice.table.to_dict("records"),
        "score_charts": score_charts(frame, metric, seed),
        "history_charts": history_charts(frame),
        "differing": differing(frame),
        "strips": [] if store is None else disagreements(frame, store, split, patches_shown),
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "index.html").write_text(render("compare.html.j2", context), encoding="utf-8")
    return choice


def score_charts(frame: pd.DataFrame, metric: str, seed: int) -> list[tuple[str, str]]:
    """Return a chart of all runs for validation and for test, where they have scores."""
    charts: list[tuple[str, str]] = []
    for split, style in (("val", 2), ("test", 1)):
        rows = []
        for name, folder in zip(labels(frame), frame["evaluate_dir"], strict=True):
            blocks = read_counts(Path(folder) / "counts.parquet", split)
            value = scores(sum(blocks.values()))[metric] if blocks else None
            bar = interval(blocks, measure=metric, seed=seed)
            low, high = (bar.low, bar.high) if bar else (None, None)
            known = value if isinstance(value, float) else None
            rows.append(Dot(name, known, low, high, style))
        ends = [v for row in rows for v in (row.value, row.low, row.high) if v is not None]
        if ends:
            margin = max((max(ends) - min(ends)) * 0.15, 0.01)
            axis = Axis(metric, max(min(ends) - margin, 0.0), min(max(ends) + margin, 1.0))
            title = f"{metric} on {split} ground"
            charts.append((title, dot_chart(rows, title=title, axis=axis)))
    return charts


def history_charts(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return charts of validation loss and IoU of all runs by epoch."""
    histories = [read_history(folder) for folder in frame["run_dir"]]
    longest = max(map(len, histories))
    charts: list[tuple[str, str]] = []
    for key, heading in (("val_loss", "Validation loss"), ("val_iou", "Validation IoU")):
        series = [
            Series(name, [(k, row.get(key, np.nan)) for k, row in enumerate(rows)], style)
            for name, rows, style in zip(labels(frame), histories, _styles(frame), strict=True)
        ]
        values = np.array([y for line in series for _, y in line.points], float)
        values = values[np.isfinite(values)]
        if len(values):
            top = 1.0 if key == "val_iou" else float(np.quantile(values, 0.97)) * 1.05
            low = min(0.0, float(values.min()))
            x, y = Axis("epoch", 0, max(longest - 1, 1)), Axis(key, low, max(top, low + 1e-6))
            charts.append((heading, line_chart(series, x, y)))
    return charts


def _styles(frame: pd.DataFrame) -> list[int]:
    return [index % STYLES + 1 for index in range(len(frame))]


def differing(frame: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return name and cells of each column in which the runs differ: parameters and results."""
    found: dict[str, list[dict[str, Any]]] = {"Parameters": [], "Results": []}
    for name in sorted(set(frame.columns) - NOT_COMPARED):
        cells = [_cell(value) for value in frame[name]]
        if len(set(cells)) > 1:
            kind = "Results" if name.startswith(RESULTS) else "Parameters"
            found[kind].append({"name": name, "cells": cells})
    return found


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.6g}"  # noqa: PLR0124  (NaN)
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return "–" if value is None else str(value)


def disagreements(frame: pd.DataFrame, store: Path, split: str, count: int) -> list[dict[str, Any]]:
    """Return the panels of the `count` patches whose IoU differs most between the runs."""
    patches = open_store(store)
    galleries = []
    for folder in frame["evaluate_dir"]:
        level = int(read_scores(Path(folder))["level"])
        galleries.append(Gallery(patches, Path(folder) / "predictions.zarr", level))
    by_run = [{patch.index: patch for patch in gallery.scored([split])} for gallery in galleries]
    shared = set.intersection(*(set(found) for found in by_run))
    spread = {index: _spread([found[index].score for found in by_run]) for index in shared}
    ranked = [by_run[0][index] for index in sorted(spread, key=lambda k: (-spread[k], k))]
    chosen = choose(ranked, count, patch_px=patches.sizes["row"], seed=0)["best"]
    return [_disagreement(patch, galleries, by_run, labels(frame)) for patch in chosen]


def _disagreement(
    patch: Patch,
    galleries: Sequence[Gallery],
    by_run: Sequence[dict[int, Patch]],
    names: Sequence[str],
) -> dict[str, Any]:
    strips = [gallery.strip(patch) for gallery in galleries]
    panels = [{"uri": data_uri(strips[0][0]), "alt": "image", "caption": "image"}]
    for name, strip, found in zip(names, strips, by_run, strict=True):
        caption = f"{name} {found[patch.index].score:.3f}"
        alt = f"errors of {name} in a patch of {patch.pair}"
        panels.append({"uri": data_uri(strip[-1]), "alt": alt, "caption": caption})
    place = f"{patch.pair} · {patch.split} · row {patch.row0}, column {patch.col0}"
    return {"panels": panels, "place": place}


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)
