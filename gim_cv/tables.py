"""Tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gim_cv.patches import SPLITS

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


def scene_lines(audits: Iterable[PairAudit]) -> Text:
    """Return a line about each scene, and below it what is wrong or doubtful."""
    lines = Text()
    for audit in audits:
        facts = audit.facts
        if facts:
            metres = max(facts["resolution_m"])
            size = f"{facts['height']} × {facts['width']} px of {metres:.3g} m"
            lines.append(f"scene {audit.name}: {size}, {', '.join(facts['bands'])}\n")
        for error in audit.errors:
            lines.append(f"✗ scene {audit.name}: {error}\n", style="red")
        for warning in audit.warnings:
            lines.append(f"! scene {audit.name}: {warning}\n", style="yellow")
    return lines


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


def difference_tables(content: Mapping[str, Any]) -> Group:
    """Return what `gim_cv.differences` found, and whose doing the change of the score is."""
    parts: list[RenderableType] = [Text(content["summary"], style="bold"), _scene_table(content)]
    for row in content["scenes"]:
        ways = row.get("flipped", {}).get("ways", ())
        notes = [*row.get("why", ()), *("{from} → {to} {pixels:,} px".format(**w) for w in ways)]
        parts += [Text(f"  {row['name']}: {note}") for note in notes]
    if content["statistics"]:
        parts.append(_drift_table(content["statistics"]))
    parts.append(_change_table("score", content["metrics"]))
    parts += [Text(f"The scores of {name} are of other data: run dvc repro.", style="yellow")
              for name in content["stale_scores"]]  # fmt: skip
    if not content["same_test_ground"]:
        note = "The test ground or its labels differ: --attribute scores both models on both."
        parts.append(Text(note, style="yellow"))
    if content.get("attribution"):
        parts += _attribution(content)
    if content["params"]:
        parts.append(_change_table("parameter", content["params"]))
    return Group(*(item for part in parts for item in (part, Text())))


def _plain_table(*titles: str, left: int = 1) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for index, title in enumerate(titles):
        table.add_column(title, justify="left" if index < left else "right", no_wrap=index >= left)
    return table


def _scene_table(content: Mapping[str, Any]) -> Table:
    classes = list(dict.fromkeys(n for row in content["scenes"] for n in _areas(row)))
    table = _plain_table("scene", "", "train/val/test", *classes, "flipped, %", left=2)
    for row in content["scenes"]:
        areas, share = _areas(row), row.get("flipped", {}).get("share")
        table.add_row(
            row["name"],
            row["state"],
            _arrow(
                *("/".join(str(one[n]) for n in SPLITS) if one else "–" for one in row["patches"])
            ),
            *(areas.get(name, "") for name in classes),
            "" if share is None else f"{share * 100:.2g}",
        )
    return table


def _areas(row: Mapping[str, Any]) -> dict[str, str]:
    from gim_cv.areas import area_text  # noqa: PLC0415  it needs xarray, which other tables do not

    was, now = (one or {} for one in row.get("area_m2", (None, None)))
    return {
        name: _arrow(*(area_text(one[name]) if name in one else "–" for one in (was, now)))
        for name in {**was, **now}
    }


def _drift_table(found: Mapping[str, Any]) -> Table:
    table = _plain_table("train pixels", "before", "after", "drift")
    for band in found["bands"]:
        drift = "" if band["drift"] is None else f"{band['drift']:+.2f} σ"
        table.add_row(f"mean of {band['name']}", *(f"{v:.4g}" for v in band["mean"]), drift)
        table.add_row(f"std of {band['name']}", *(f"{v:.4g}" for v in band["std"]), "")
    for row in found["classes"]:
        shares = ["–" if v is None else f"{v * 100:.3g} %" for v in row["share"]]
        table.add_row(f"share of {row['name']}", *shares, "")
    return table


def _change_table(what: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _plain_table(what, "before", "after", "change")
    for row in rows:
        change = row.get("change")
        table.add_row(
            row["name"],
            *("–" if row[side] is None else f"{row[side]}" for side in ("before", "after")),
            f"{change:+.4f}" if change else "",
        )
    return table


def _attribution(content: Mapping[str, Any]) -> list[RenderableType]:
    found, sides = content["attribution"], (content["before"], content["after"])
    heads = [f"ground of {side}" for side in sides]
    table = _plain_table(f"test {found['metric']}", *heads)
    for side, row in zip(sides, found["scores"], strict=True):
        table.add_row(f"weights of {side}", *(_score(cell) for cell in row))
    if found["change"] is None:
        return [table]
    line = "{change:+.3f} = {data:+.3f} by the data {model:+.3f} by the model"
    return [table, Text(line.format(**found), style="bold")]


def _score(cell: Mapping[str, Any]) -> str:
    if cell["value"] is None:
        return "–"
    bounds = cell["interval"]
    return f"{cell['value']:.3f}" + (f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else "")


def _arrow(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"
