"""Predictions of a scene on disk while it is unfinished: strips of rows, each whole or absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gim_cv.atomic import atomic_file
from gim_cv.patches import Window

Levels = NDArray[np.uint8]


class Strips:
    """Strips (rows, width, channels) uint8, from the top of a raster down, without a gap.

    Parameters
    ----------
    folder
        Where they are; made if it is not there. Strips that a killed process left are gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._ends: dict[int, int] = {}
        self.end = 0
        while (path := self._path(self.end)).exists():
            self._ends[self.end] = self.end + len(np.load(path, mmap_mode="r"))
            self.end = self._ends[self.end]

    def add(self, levels: Levels) -> None:
        """Keep the strip that follows on the last one, even if the machine stops."""
        with atomic_file(self._path(self.end), sync=True) as part, part.open("wb") as handle:
            np.save(handle, levels)
        self._ends[self.end] = self.end + len(levels)
        self.end += len(levels)

    def read(self, window: Window) -> Levels:
        """Return (height, width, channels) of a window inside the rows that are there."""
        rows, cols = window.slices
        parts = [
            np.load(self._path(start), mmap_mode="r")[
                max(rows.start - start, 0) : rows.stop - start, cols
            ]
            for start, end in self._ends.items()
            if start < rows.stop and end > rows.start
        ]
        return np.concatenate(parts)

    def _path(self, row: int) -> Path:
        return self.folder / f"{row:08d}.npy"
