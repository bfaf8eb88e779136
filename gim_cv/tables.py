"""Tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from gim_cv.audit import PairAudit
    from gim_cv.search import Trial
    from gim_cv.selection import Choice


def audit_table(audits: Iterable[PairAudit], totals: Mapping[str, float]) -> Group:
    """Return the audit as a table of pairs, and under it what is wrong or doubtful."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for title in ("pair", "image", "m/px", "CRS", "labels", "classes, %"):
        table.add_column(title, no_wrap=title != "classes, %")
    for title in ("train/val/test", "MiB", "s"):
        table.add_column(title, justify="right", no_wrap=True)
    notes = Text()
    for audit in audits:
        table.add_row(audit.name, *(_cells(audit) if audit.facts else ["✗"]))
        for error in audit.errors:
            notes.append(f"✗ {audit.name}: {error}\n", style="red")
        for warning in audit.warnings:
            notes.append(f"! {audit.name}: {warning}\n", style="yellow")
    line = "{patches} patches, {mib} MiB, about {seconds} s; {errors} errors, {warnings} warnings"
    return Group(table, Text(), notes, Text(line.format(**totals), style="bold"))


def choice_table(choice: Choice, *, metric: str, split: str) -> Group:
    """Return the runs as a table, best first, and under it which is chosen and why."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("run", overflow="fold", min_width=8)
    for title in (f"{metric}, {split}", "95 % interval", "behind the best", "weights"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    rows: list[dict[Any, Any]] = choice.table.to_dict("records")
    for row in rows:
        behind = _number(row["behind"])
        if row["behind_low"] < row["behind_high"]:
            behind += f" ({_range(row['behind_low'], row['behind_high'])})"
        table.add_row(
            str(row["label"]),
            _number(row["value"]),
            _range(row["low"], row["high"]),
            behind,
            f"{row['cost']:,.0f}" if math.isfinite(row["cost"]) else "–",
            _verdict(row),
            style="bold" if row["chosen"] else "",
        )
    return Group(table, Text(), Text(choice.reason))


def trials_table(trials: Sequence[Trial], metric: str) -> Table:
    """Return the trials of a search as a table: name, score on validation ground, values."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("experiment", overflow="fold")
    table.add_column(f"{metric}, val", justify="right")
    for key in trials[0].values:
        table.add_column(key, overflow="fold")
    for number, trial in enumerate(trials):
        cells = [
            f"{value:g}" if isinstance(value, float) else str(value)
            for value in trial.values.values()
        ]
        table.add_row(trial.name, _number(trial.score), *cells, style="" if number else "bold")
    return table


def _verdict(row: Mapping[Any, Any]) -> str:
    if row["chosen"] or row["tied"]:
        return "chosen" if row["chosen"] else "tied"
    return "–" if math.isnan(row["behind_low"]) else "worse"


def _range(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{low:.3f}–{high:.3f}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _cells(audit: PairAudit) -> list[str]:
    facts = audit.facts
    classes = facts.get("class_percent", {})
    down, across = facts["resolution_m"]
    return [
        f"{facts['height']}×{facts['width']} {len(facts['bands'])}×{facts['dtype']}",
        f"{down:g}" if abs(down - across) < 0.01 * down else f"{down:g}×{across:g}",
        facts["crs"],
        f"{facts.get('features', 'raster')}, {facts['cover_percent']:g} %",
        ", ".join(f"{name} {share:g}" for name, share in list(classes.items())[1:]),
        "/".join(str(count) for count in facts["patches"].values()),
        f"{facts['mib']:g}",
        f"{facts.get('seconds', 0):g}",
    ]
