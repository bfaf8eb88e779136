"""A run's metrics for TensorBoard, where somebody wants to watch it there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from gim_cv.errors import MissingError


class TensorBoardWriter:
    """Writes the rows of a history as TensorBoard's scalars.

    Parameters
    ----------
    folder
        For event files: ``tensorboard --logdir FOLDER`` shows them. They hold the time, so the
        folder must be no output of a stage.

    Raises
    ------
    MissingError
        tensorboardX, which writes them under any backend, is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter  # noqa: PLC0415  (an extra)
        except ImportError as err:
            raise MissingError(
                "TensorBoard's files are written by tensorboardX, which is not installed",
                remedy="pip install 'gim-cv[tensorboard]', or unset GIM_CV_TENSORBOARD",
            ) from err
        self._writer = SummaryWriter(str(folder))

    def write(self, row: Mapping[str, float]) -> None:
        """Add one epoch."""
        for name, value in row.items():
            if name != "epoch" and math.isfinite(value):
                self._writer.add_scalar(name, value, int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
