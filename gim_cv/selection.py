"""Which run is best, whether the difference is real, and why it was chosen.

Runs are compared on the same blocks of ground, drawn together (a paired bootstrap), with intervals
that allow for the number of runs. Runs whose difference from the best may be chance are tied with
it, and of those the cheapest is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gim_cv.errors import ConfigError, DataError, MissingError
from gim_cv.intervals import MIN_BLOCKS, Blocks, Interval, behind_best, interval, read_counts
from gim_cv.rundir import WORKSPACE
from gim_cv.scores import MEASURES, scores

COST = "parameters"


@dataclass(frozen=True)
class Choice:
    """A chosen run.

    Attributes
    ----------
    row
        The chosen run's row of the frame.
    table
        Every run, best first: label, value, low, high (95 % interval), behind, behind_low,
        behind_high (how far it is behind the best, with its 95 % interval, which holds for all runs
        at once), cost, tied, chosen. Intervals are NaN where there are too few blocks of ground.
    reason
        Why this one, in words.
    """

    row: pd.Series
    table: pd.DataFrame
    reason: str


def select(frame: pd.DataFrame, *, metric: str, split: str, seed: int) -> Choice:
    """Return the run to use: the cheapest of those that may be as good as the best.

    Choose on ``val``: a model chosen for its test score has no honest test score left.

    Parameters
    ----------
    frame
        Rows of ``collate_run_data``; narrow it with ``query`` first.
    metric
        One of ``iou, f1, precision, recall, specificity, npv``.
    split
        ``"val"`` or ``"test"``.
    seed
        Seed of the bootstrap.

    Raises
    ------
    MissingError
        There is no run, or one that has not been evaluated.
    DataError
        The runs were not scored on the same ground.
    ConfigError
        Unknown metric or split.
    """
    _check_question(metric, split)
    check_comparable(frame)
    counts = [read_counts(Path(path) / "counts.parquet", split) for path in frame["evaluate_dir"]]
    rows = [
        _measured(label, blocks, cost, metric, seed)
        for label, blocks, cost in zip(labels(frame), counts, costs(frame), strict=True)
    ]
    if all(row["value"] is None for row in rows):
        raise DataError(f"no run has a {metric} on {split} ground", remedy="Choose another split")
    best = max(range(len(rows)), key=lambda index: _rank(rows[index]))
    for index, found in enumerate(behind_best(counts, measure=metric, seed=seed)):
        rows[index] |= _behind(found)
    rows[best]["tied"] = True
    tied = [index for index, row in enumerate(rows) if row["tied"]]
    chosen = min(tied, key=lambda index: (rows[index]["cost"], -_rank(rows[index])))
    for index, row in enumerate(rows):
        row["chosen"] = index == chosen
    table = pd.DataFrame(rows).sort_values("value", ascending=False, kind="stable")
    table = table.reset_index(drop=True)
    return Choice(frame.iloc[chosen], table, reason(table, metric=metric, split=split))


def labels(frame: pd.DataFrame) -> list[str]:
    """Return a name for each run: its revision, or its folder's name in the workspace.

    What all names begin with, up to an underscore, is left out: of ``Segmentalist_dice`` and
    ``Segmentalist_bce`` remain ``dice`` and ``bce``.
    """
    names = [
        Path(str(run_dir)).name if rev == WORKSPACE else str(rev)
        for rev, run_dir in zip(frame["rev"], frame["run_dir"], strict=True)
    ]
    words = [name.split("_") for name in names]
    shared = 0
    while len(names) > 1 and all(len(some) > shared + 1 for some in words):
        if len({some[shared] for some in words}) > 1:
            break
        shared += 1
    return ["_".join(some[shared:]) for some in words]


def costs(frame: pd.DataFrame) -> list[float]:
    """Return each run's number of parameters; infinity where it is not known."""
    if COST not in frame:
        return [float("inf")] * len(frame)
    return [float(value) for value in frame[COST].fillna(float("inf"))]


def check_comparable(frame: pd.DataFrame) -> None:
    """Return if all runs of a frame were scored on the same test ground.

    Raises
    ------
    MissingError
        There is no run, or one that has not been evaluated.
    DataError
        Their test splits differ: a higher score may just be easier ground.
    """
    if frame.empty:
        raise MissingError("no run to choose from", remedy="Widen the query")
    missing = frame["evaluate_dir"].isna()
    if missing.any():
        names = ", ".join(labels(frame[missing]))
        raise MissingError(f"not evaluated: {names}", remedy="Run dvc repro evaluate there")
    digests = frame["test_digest"].fillna("none").astype(str)
    if len(set(digests)) > 1:
        found = ", ".join(f"{a} ({b})" for a, b in zip(labels(frame), digests, strict=True))
        raise DataError(
            "the runs were scored on different test ground, and cannot be ranked",
            expected="one test digest",
            found=found,
            remedy="Narrow the query to runs of one data version, or evaluate them on one store",
        )


def reason(table: pd.DataFrame, *, metric: str, split: str) -> str:
    """Return why the chosen run of a table was chosen, as sentences."""
    chosen, best = table[table["chosen"]].iloc[0], table.iloc[0]
    text = f"{chosen.label} is chosen: {metric} {chosen.value:.3f} on {split} ground"
    if pd.notna(chosen.low):
        text += f" (95 % interval {chosen.low:.3f} to {chosen.high:.3f})"
    text += "."
    if len(table) == 1:
        return f"{text} It is the only run."
    if table["behind_low"].isna().all():
        return (
            f"{text} It is the highest value, but with fewer than {MIN_BLOCKS} blocks of ground "
            "no difference can be told from chance."
        )
    if chosen.label != best.label:
        text += (
            f" {best.label} has {best.value:.3f}, but the difference of {chosen.behind:.3f} may be"
            f" chance (95 % interval {chosen.behind_low:.3f} to {chosen.behind_high:.3f}), and "
            f"{chosen.label} has {chosen.cost:,.0f} parameters to its {best.cost:,.0f}."
        )
    rest = [str(name) for name in table.loc[table["tied"] & ~table["chosen"], "label"]]
    beaten = [str(name) for name in table.loc[~table["tied"], "label"]]
    others = [name for name in rest if name != best.label or chosen.label == best.label]
    if others:
        text += f" Not told apart from the best, and no cheaper: {', '.join(others)}."
    if beaten:
        text += f" Worse beyond chance: {', '.join(beaten)}."
    return text


def _check_question(metric: str, split: str) -> None:
    if metric not in MEASURES:
        raise ConfigError("unknown metric", expected=", ".join(MEASURES), found=metric)
    if split not in {"val", "test"}:
        raise ConfigError("unknown split", expected="val or test", found=split)


def _measured(label: str, blocks: Blocks, cost: float, metric: str, seed: int) -> dict[str, object]:
    bar = interval(blocks, measure=metric, seed=seed)
    value = scores(sum(blocks.values()))[metric] if blocks else None
    nan = float("nan")
    low, high = (bar.low, bar.high) if bar else (nan, nan)
    return {"label": label, "value": value, "low": low, "high": high, "cost": cost}


def _rank(row: dict[str, object]) -> float:
    value = row["value"]
    return value if isinstance(value, float) else float("-inf")


def _behind(found: Interval | None) -> dict[str, object]:
    """How far a run is behind the best: tied if the interval reaches 0.

    Too few blocks leave nothing tied but the best itself: no cheaper model is taken on a guess.
    """
    if found is None:
        nan = float("nan")
        return {"behind": nan, "behind_low": nan, "behind_high": nan, "tied": False}
    return {
        "behind": found.value,
        "behind_low": found.low,
        "behind_high": found.high,
        "tied": found.low <= 0,
    }
