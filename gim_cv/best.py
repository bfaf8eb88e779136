"""The weights of a run's best epochs, kept in step with its state."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import keras

from gim_cv.atomic import atomic_file


class BestWeights:
    """Weights under the numbers of their epochs, until the run is over.

    A state names the best epochs. Their weights are on disk before it is, and go only when a newer
    state that does not name them is there: whenever the process is killed, the two agree.

    Parameters
    ----------
    folder
        Holds nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, model: keras.Model, epoch: int) -> None:
        """Write the weights of an epoch, whole or not at all."""
        with atomic_file(self._path(epoch), sync=True) as part:
            model.save_weights(part)

    def keep(self, epochs: Iterable[int]) -> None:
        """Remove the weights of all other epochs."""
        for path in set(self.folder.iterdir()) - {self._path(epoch) for epoch in epochs}:
            path.unlink()

    def copy(self, epoch: int, path: Path) -> None:
        """Copy the weights of an epoch to `path`."""
        shutil.copyfile(self._path(epoch), path)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"{epoch:04d}.weights.h5"
