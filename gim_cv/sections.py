"""What a report says: the sections of the page as plain values, from scores, store and run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gim_cv.areas import area_text, class_areas
from gim_cv.charts import Axis, Dot, Point, Series, dot_chart, line_chart
from gim_cv.curves import threshold_of
from gim_cv.intervals import Interval, interval, read_counts
from gim_cv.objects import SIZE_NAMES
from gim_cv.patches import SPLITS
from gim_cv.recipe import canonical_json, sha256_text
from gim_cv.rundir import HISTORY_FILE, RUN_FILE, SAMPLES
from gim_cv.schema import pair_names

SEED = 0
NAMES = {"colour": "colour alone", "all_foreground": "all foreground", "majority": "majority class"}
NOT_PARAMETERS = {"run_dir", "evaluate_dir", "test_digest", *SAMPLES}

Section = dict[str, Any]


def score_section(found: Mapping[str, Any], evaluate_dir: Path, shown: str) -> Section:
    """Return the headline, the comparison with the baselines, and the tables of errors."""
    part, classes = found["splits"][shown], found["classes"]
    bars = {
        split: interval(
            read_counts(evaluate_dir / "counts.parquet", split), measure="iou", seed=SEED
        )
        for split in ("val", "test")
    }
    counts = np.array(part["counts"])
    return {
        "binary": len(classes) == 2,
        "classes": classes,
        "shown": shown,
        "headline": part,
        "blocks": part["blocks"],
        "interval": bars[shown],
        "threshold": threshold_of(found["level"]) if len(classes) == 2 else None,
        "megapixels": f"{counts.sum() / 1e6:.2f}",
        "score_chart": dot_chart(score_rows(found, bars, shown), title="IoU beside the baselines"),
        "confusion": [
            {"name": name, "index": index, "shares": (row / max(row.sum(), 1)).tolist()}
            for index, (name, row) in enumerate(zip(classes, counts, strict=True))
        ],
        "per_class": list(zip(classes, part["per_class"], strict=True)),
        "objects": [
            {"name": name, "boundary_iou": one["boundary_iou"], "rows": _object_rows(one)}
            for name, one in found["objects"][shown].items()
        ],
        "by_pair": [
            {"pair": pair, "split": split, **row}
            for split in ("test", "val")
            for pair, row in sorted(found["pairs"][split].items())
        ],
    }


def _object_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    bounds = dict(zip(SIZE_NAMES, ("below 50 m²", "50 to 200 m²", "above 200 m²"), strict=True))
    sizes = [{"what": bounds[name], **found["by_size"][name]} for name in SIZE_NAMES]
    return [{"what": "all", **found}, *sizes]


def score_rows(
    found: Mapping[str, Any], bars: Mapping[str, Interval | None], shown: str
) -> list[Dot]:
    """Return the rows of the headline chart: the model on each split, then the baselines."""
    rows = []
    for split, style in (("test", 1), ("val", 2)):
        bar = bars[split]
        low, high = (bar.low, bar.high) if bar else (None, None)
        rows.append(Dot(f"model, {split}", found["splits"][split]["iou"], low, high, style))
    baselines = found["baselines"]
    rows += [
        Dot(f"{label}, {shown}", baselines[name][shown]["iou"], style=4)
        for name, label in NAMES.items()
        if name in baselines
    ]
    return rows


def curve_section(
    found: Mapping[str, Any], history: Sequence[Mapping[str, float]], shown: str
) -> Section:
    """Return the charts of training, precision and recall, and calibration."""
    charts = []
    for name, heading in (("loss", "Loss"), ("iou", "IoU")):
        if any(name in row for row in history):
            charts.append((heading, _history_chart(history, name)))
    if len(found["classes"]) == 2:
        charts.append((f"Precision and recall, {shown}", _precision_recall_chart(found, shown)))
        charts.append((f"Calibration, {shown}", _calibration_chart(found, shown)))
    return {"charts": charts, "curves_text": _curves_text(found, history, shown)}


def _history_chart(history: Sequence[Mapping[str, float]], name: str) -> str:
    series = [
        Series(label, [(float(k), row[key]) for k, row in enumerate(history) if key in row], style)
        for key, label, style in ((name, "train", 1), (f"val_{name}", "validation", 2))
    ]
    values = np.array([y for line in series for _, y in line.points], float)
    values = values[np.isfinite(values)]
    # A first epoch that starts far off would flatten all that follows.
    high = 1.0 if name != "loss" else float(np.quantile(values, 0.97)) * 1.05 if len(values) else 1
    low = min(0.0, float(values.min())) if len(values) else 0.0
    epochs = Axis("epoch", 0, max(len(history) - 1, 1))
    return line_chart(series, epochs, Axis(name, low, max(high, low + 1e-6)))


def _precision_recall_chart(found: Mapping[str, Any], shown: str) -> str:
    rows = found["splits"][shown]["precision_recall"]
    # From many positives to few, so that the line's name stands where it ends at the right.
    line = sorted((row["recall"], row["precision"]) for row in rows)
    marked = [("chosen", found["splits"][shown], 1, 1)]
    colour = found["baselines"]["colour"][shown]
    marked.append(("colour alone", colour, 4, -1 if (colour["recall"] or 0) > 0.4 else 1))
    points = [
        Point(name, part["recall"], part["precision"], style, side)
        for name, part, style, side in marked
        if None not in (part["recall"], part["precision"])
    ]
    x, y = Axis("recall", 0, 1), Axis("precision", 0, 1)
    return line_chart([Series("model", line, 1)], x, y, points=points)


def _calibration_chart(found: Mapping[str, Any], shown: str) -> str:
    rows = found["splits"][shown]["reliability"]
    series = [
        Series("ideal", [(0, 0), (1, 1)], 4, dashed=True),
        Series("model", [(row["predicted"], row["observed"]) for row in rows], 1),
    ]
    return line_chart(series, Axis("predicted probability", 0, 1), Axis("observed share", 0, 1))


def _curves_text(
    found: Mapping[str, Any], history: Sequence[Mapping[str, float]], shown: str
) -> str:
    losses = [row.get("val_loss", float("nan")) for row in history]
    known = [(value, epoch) for epoch, value in enumerate(losses) if value == value]  # noqa: PLR0124
    text = f"{len(history)} epochs"
    if known:
        text += (
            f"; the weights scored are those of epoch {min(known)[1]}, the lowest validation loss"
        )
    errors = found["splits"][shown]["calibration_error"]
    if len(found["classes"]) == 2 and errors[1] is not None:
        text += f". Probabilities are off by {errors[1]:.3f} on average (ECE, {shown})"
    return text + "."


def data_section(patches: xr.Dataset) -> Section:
    """Return the table of pairs, and a sentence on all of them."""
    areas = class_areas(patches)
    rows = [_pair_row(patches, code, name) for code, name in enumerate(pair_names(patches))]
    rows = [
        row | {"areas": [area_text(m2) for m2 in area]}
        for row, area in zip(rows, areas, strict=True)
    ]
    total = patches.sizes["patch"]
    px, bands = patches.sizes["row"], patches.sizes["band"]
    text = (
        f"{total:,} patches of {px} × {px} px, {bands} band{'s' if bands > 1 else ''} of "
        f"{patches['image'].dtype}, from {len(rows)} pair{'s' if len(rows) > 1 else ''}. "
        "The split is a property of the ground: no place is in two splits."
    )
    totals = [area_text(m2) for m2 in areas.sum(0)]
    return {"pairs": rows, "data_text": text, "class_areas": totals}


def _pair_row(patches: xr.Dataset, code: int, name: str) -> dict[str, Any]:
    here = patches["pair"].to_numpy() == code
    split, grid = patches["split"].to_numpy()[here], patches.attrs["pairs"][name]
    pixels = patches["class_pixels"].to_numpy()[here].sum(0)
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(grid["dropped"].items()))
    return {
        "name": name,
        "height": grid["height"],
        "width": grid["width"],
        "resolution": max(grid["resolution_m"]),
        **{split_name: int((split == k).sum()) for k, split_name in enumerate(SPLITS)},
        "shares": [float(n) / pixels.sum() if pixels.sum() else None for n in pixels],
        "dropped": dropped or "none",
    }


def run_section(
    patches: xr.Dataset, run: Mapping[str, Any], run_dir: Path, lock: Mapping[str, Any]
) -> Section:
    """Return title, parameters and lineage."""
    datasets = run.get("datasets")
    model = f"{run['parameters']:,} parameters, " if "parameters" in run else ""
    return {
        "title": run_dir.name + (f" on {datasets}" if datasets else ""),
        "subtitle": f"{model}loss {run.get('loss')}, seed {run.get('seed')}",
        "parameters": sorted(_leaves({k: v for k, v in run.items() if k not in NOT_PARAMETERS})),
        "lineage": list(_lineage(patches, run_dir)),
        "outputs": list(_outputs(lock, pair_names(patches))),
    }


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return str(value)


def _lineage(patches: xr.Dataset, run_dir: Path) -> Iterable[tuple[str, str]]:
    recipe = json.loads(patches.attrs["recipe"])
    for name, part in sorted(recipe.get("pairs", {}).items()):
        yield f"recipe of {name}", sha256_text(canonical_json(part))
    yield "recipe of the combined store", str(patches.attrs["recipe_sha256"])
    yield "test ground", str(patches.attrs["test_digest"] or "none")
    for file in (RUN_FILE, HISTORY_FILE, "best.weights.h5"):
        if (run_dir / file).is_file():
            yield file, hashlib.sha256((run_dir / file).read_bytes()).hexdigest()


def _outputs(lock: Mapping[str, Any], pairs: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    """Yield stage, path and hash of what led to the run, from raw data to weights."""
    stages = lock.get("stages", {})
    raw = {
        dep["path"]: dep["md5"]
        for name in pairs
        for dep in stages.get(f"prepare@{name}", {}).get("deps", [])
        if dep["path"].startswith("data/raw/")
    }
    yield from (("raw data", path, md5) for path, md5 in sorted(raw.items()))
    for stage in (*(f"prepare@{name}" for name in pairs), "combine", "train"):
        for out in stages.get(stage, {}).get("outs", []):
            yield stage, out["path"], out["md5"]
