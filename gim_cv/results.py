"""The files that evaluation leaves: metrics, scores, counts per ground block, plot data."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xarray as xr
from pyarrow import parquet

from gim_cv.atomic import write_text
from gim_cv.curves import (
    average_precision,
    calibration_error,
    precision_recall,
    reliability,
    threshold_of,
)
from gim_cv.objects import ObjectCounts
from gim_cv.schema import pair_names
from gim_cv.scores import Counts, scores
from gim_cv.tally import Tally

HEADLINE = ("iou", "f1", "precision", "recall")
FILES = ("scores.json", "metrics.json", "counts.parquet")
"""What an evaluation leaves; without the first there is none, so that it goes first, comes last."""
FOLDERS = ("predictions.zarr", "plots")
DIGITS = 6
PER_MILLE = 1000

Tallies = Mapping[str, Tally]
Baselines = Mapping[str, tuple[Tallies, int]]


def clear_results(out_dir: Path) -> None:
    """Make `out_dir`, and remove from it what an earlier evaluation wrote, but nothing else."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (out_dir / name).unlink(missing_ok=True)
    for name in FOLDERS:
        shutil.rmtree(out_dir / name, ignore_errors=True)


def write_results(
    patches: xr.Dataset,
    tallies: Tallies,
    level: int,
    baselines: Baselines,
    objects: Mapping[str, list[ObjectCounts]],
    *,
    about: Mapping[str, Any],
    out_dir: Path,
) -> dict[str, object]:
    """Write every file of an evaluation into `out_dir`; return the content of metrics.json.

    Parameters
    ----------
    patches
        The combined store.
    tallies
        Counts of the model by split.
    level
        Level that cuts the model's probabilities.
    baselines
        Name → (counts by split, level).
    objects
        Objects by split, one entry per class but background.
    about
        Further entries of scores.json: ``run_sha256``, which run was evaluated (see
        ``runs.run_digest``), and ``symmetries``, how.
    out_dir
        An existing folder.
    """
    metrics: dict[str, object] = rounded(summary(patches, tallies, level, baselines))
    write_json(out_dir / "metrics.json", metrics)
    everything = details(patches, tallies, level, baselines)
    names = patches.attrs["classes"][1:]
    everything["objects"] = {
        split: {name: counts.summary() for name, counts in zip(names, found, strict=True)}
        for split, found in objects.items()
    }
    write_counts(out_dir / "counts.parquet", pair_names(patches), tallies, level)
    plots = out_dir / "plots"
    plots.mkdir(exist_ok=True)
    shown = tallies["test"] if tallies["test"].blocks else tallies["val"]
    write_json(plots / "precision_recall.json", precision_recall(pooled(shown)))
    write_confusion(plots / "confusion.csv", list(patches.attrs["classes"]), shown.total(level))
    write_json(out_dir / "scores.json", {**everything, **about})  # last: it says whose results
    return metrics


def summary(
    patches: xr.Dataset, tallies: Tallies, level: int, baselines: Baselines
) -> dict[str, object]:
    """Return the few numbers worth a column in ``dvc exp show``."""
    found: dict[str, object] = {
        split: {name: scores(counts.total(level))[name] for name in HEADLINE}
        for split, counts in tallies.items()
    }
    if patches.sizes["class"] == 2:
        found["threshold"] = threshold_of(level)
    found["baseline"] = {
        name: {f"{split}_iou": scores(part.total(cut))["iou"] for split, part in counts.items()}
        for name, (counts, cut) in baselines.items()
    }
    found["test_digest"] = _short(patches.attrs["test_digest"])
    return found


def _short(digest: str | None) -> str | None:
    return None if digest is None else digest[:12]


def details(
    patches: xr.Dataset, tallies: Tallies, level: int, baselines: Baselines
) -> dict[str, object]:
    """Return all scores: by split, by pair, calibration, curves and the baselines'."""
    names = pair_names(patches)
    return {
        "classes": list(patches.attrs["classes"]),
        "level": level,
        "splits": {split: _split_details(part, level) for split, part in tallies.items()},
        "pairs": {split: _by_pair(part, level, names) for split, part in tallies.items()},
        "baselines": {
            name: {split: scores(part.total(cut)) for split, part in counts.items()}
            for name, (counts, cut) in baselines.items()
        },
    }


def _split_details(part: Tally, level: int) -> dict[str, object]:
    counts = part.total(level)
    return {
        **scores(counts),
        "counts": counts.tolist(),
        "blocks": len(part.blocks),
        "average_precision": [average_precision(one) for one in part.by_class],
        "calibration_error": [calibration_error(one) for one in part.by_class],
        "reliability": reliability(pooled(part)),
        "precision_recall": precision_recall(pooled(part)),
    }


def pooled(part: Tally) -> Counts:
    """Return ``(2, 256)``: the foreground's histogram where K is 2, else that of all classes.

    All classes together, each against the rest, make the micro-averaged curve.
    """
    return np.asarray(part.by_class[1] if part.classes == 2 else part.by_class.sum(0))


def _by_pair(part: Tally, level: int, names: list[str]) -> dict[str, object]:
    totals: dict[str, Counts] = {}
    for (pair, _, _), counts in part.counts(level).items():
        totals[names[pair]] = totals.get(names[pair], np.zeros_like(counts)) + counts
    wanted = (*HEADLINE, "accuracy")
    return {
        name: {key: scores(counts)[key] for key in wanted} | {"pixels": int(counts.sum())}
        for name, counts in totals.items()
    }


def write_counts(path: Path, names: list[str], tallies: Tallies, level: int) -> None:
    """Write the confusion counts of each ground block as a table.

    Columns: split, pair, block_row, block_col, true, predicted, pixels; one row per non-zero
    count, sorted. The same counts give the same bytes.
    """
    rows = list(_count_rows(names, tallies, level))
    kinds = [pa.string(), pa.string(), pa.int32(), pa.int32(), pa.uint8(), pa.uint8(), pa.int64()]
    heads = ("split", "pair", "block_row", "block_col", "true", "predicted", "pixels")
    columns = list(zip(*rows, strict=True)) or [()] * len(heads)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    table = pa.table(arrays, names=heads)
    classes = str(next(iter(tallies.values())).classes)
    parquet.write_table(
        table.replace_schema_metadata({"classes": classes}), path, compression="zstd"
    )


def _count_rows(names: list[str], tallies: Tallies, level: int) -> Iterator[tuple[object, ...]]:
    for split, part in sorted(tallies.items()):
        for (pair, row, col), counts in part.counts(level).items():
            for true, predicted in np.argwhere(counts).tolist():
                pixels = int(counts[true, predicted])
                yield split, names[pair], row, col, true, predicted, pixels


def write_confusion(path: Path, classes: list[str], counts: Counts) -> None:
    """Write ``actual,predicted`` rows, as DVC's confusion templates take them.

    The templates count rows, and pixels are too many for a row each: every class present has
    1000 rows, so that a cell reads as pixels in a thousand of the actual class.
    """
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("actual", "predicted"))
        for actual, row in zip(classes, counts, strict=True):
            for predicted, share in zip(classes, apportion(row, PER_MILLE), strict=True):
                writer.writerows([(actual, predicted)] * share)


def apportion(counts: Counts, seats: int) -> list[int]:
    """Return `seats` shared out in proportion to counts by largest remainder; 0 each if none."""
    total = int(counts.sum())
    if not total:
        return [0] * len(counts)
    quotas = [int(count) * seats for count in counts]
    shares = [quota // total for quota in quotas]
    order = sorted(range(len(quotas)), key=lambda index: (-(quotas[index] % total), index))
    for index in order[: seats - sum(shares)]:
        shares[index] += 1
    return shares


def write_json(path: Path, content: object) -> None:
    """Write JSON with sorted keys and floats of six decimals, ending in a newline."""
    text = json.dumps(rounded(content), indent=2, sort_keys=True, allow_nan=False)
    write_text(path, text + "\n")


def rounded(content: Any) -> Any:
    """Return nested lists and dicts with each float rounded to six decimals."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [rounded(value) for value in content]
    return round(content, DIGITS) if isinstance(content, float) else content
