"""Small trainings, and what they leave behind."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from regimes import fit_arguments

from gim_cv.fit import fit_model


def fit(store: Path, folder: Path, **train: Any) -> dict[str, Any]:
    folders = {name: train.pop(name, None) for name in ("resume_dir", "tensorboard_dir")}
    return fit_model(
        store,
        folder / "Segmentalist",
        plots_dir=folder / "plots",
        **folders,
        **fit_arguments(**train),
    )


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "Segmentalist" / "history.csv").open() as handle:
        return list(csv.DictReader(handle))


def run_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "Segmentalist").rglob("*") if path.is_file()]


def same_files(one: Path, other: Path) -> None:
    """Assert that two runs left the same bytes."""
    for path in run_files(one):
        twin = other / path.relative_to(one)
        assert path.read_bytes() == twin.read_bytes(), path.name
