"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gim_cv.audit import PairAudit


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
