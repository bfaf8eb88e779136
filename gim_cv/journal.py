"""What a run writes down as it goes: history.csv, dvclive's plots, and the best epoch's metrics."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dvclive.live import Live

from gim_cv.errors import RunError
from gim_cv.tensorboard import TensorBoardWriter

Row = dict[str, float]
HISTORY_FILE = "history.csv"


class Journal:
    """The rows of a history, mirrored to history.csv and to dvclive at each epoch's end.

    A context manager: at its end dvclive's hold on the git repository is let go, which dvclive
    by itself leaves to the garbage collector.

    Parameters
    ----------
    folder
        The run's folder; history.csv goes there.
    plots_dir
        dvclive's folder: ``plots/metrics/*.tsv`` and ``metrics.json``; what dvclive left there
        before is replaced.
    rows
        Epochs of an interrupted run, which are written again.
    tensorboard_dir
        For TensorBoard's files; None: none are written.

    Raises
    ------
    RunError
        dvclive cannot work in this git repository (it has no commit).
    """

    def __init__(
        self, folder: Path, plots_dir: Path, rows: list[Row], tensorboard_dir: Path | None
    ) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self.board = None if tensorboard_dir is None else TensorBoardWriter(tensorboard_dir)
        self.live: Any = open_live(plots_dir)
        for row in rows:
            self.write(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.board is not None:
            self.board.close()
        repository = self.live._dvc_repo  # noqa: SLF001  (it has no other name)
        if repository is not None:
            repository.close()

    def write(self, row: Mapping[str, float]) -> None:
        """Add one epoch."""
        self.rows.append(dict(row))
        (self.folder / HISTORY_FILE).write_text(history_text(self.rows), encoding="utf-8")
        self.live.step = int(row["epoch"])
        for name, value in row.items():
            if name != "epoch" and math.isfinite(value):
                self.live.log_metric(name, value)
        self.live.make_summary()
        if self.board is not None:
            self.board.write(row)

    def finish(self, chosen: Mapping[str, float]) -> None:
        """Make the selected epoch's values, not the last one's, the run's metrics."""
        values = {name: value for name, value in chosen.items() if math.isfinite(value)}
        self.live.summary = {**values, "step": int(values.pop("epoch"))}
        self.live.summary.pop("epoch", None)
        self.live.end()


def open_live(plots_dir: Path) -> Live:
    """Return a dvclive logger that writes plots and metrics only, and leaves dvc.yaml alone."""
    try:
        return Live(str(plots_dir), dvcyaml=None, report=None, save_dvc_exp=False)
    except Exception as err:
        if "Empty git repo" not in str(err):
            raise
        raise RunError(
            "dvclive cannot log in a git repository without a commit",
            remedy='Commit once: git add --all && git commit -m "Start"',
        ) from err


def history_text(rows: list[Row]) -> str:
    """Return rows as CSV; a column that an epoch lacks, or that is not a number, is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return out.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None or not math.isfinite(value) else value
