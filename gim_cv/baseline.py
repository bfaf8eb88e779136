"""What any model has to beat: a colour classifier, and answers that ignore the image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from gim_cv.errors import DataError
from gim_cv.scores import IGNORE
from gim_cv.symmetry import Image
from gim_cv.tally import Ids

CELLS = 32_768


class Constant:
    """Predicts one class everywhere.

    Parameters
    ----------
    answer
        The class id.
    classes
        Number of classes K.
    """

    def __init__(self, answer: int, classes: int) -> None:
        self._row = np.array([float(answer)]) if classes == 2 else np.eye(classes)[answer]

    def __call__(self, images: Image) -> NDArray[np.float64]:
        """Return ``(B, h, w, 1)`` where K is 2, else ``(B, h, w, K)`` probabilities."""
        return np.broadcast_to(self._row, (*images.shape[:3], len(self._row)))


@dataclass(frozen=True)
class ColourCube:
    """A grid over the colours that occur: few enough cells to ask a classifier about each once.

    Attributes
    ----------
    mean
        ``(C,)`` centre of the colours.
    axes
        ``(C, D)`` directions of largest variance, D at most 3.
    low, high
        ``(D,)`` ends of the grid along them.
    steps
        Cells along each axis.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    steps: int

    @classmethod
    def around(cls, rows: NDArray[np.float32]) -> ColourCube:
        """Return the cube of ``(n, C)`` band values; the outermost 0.1 % fall on its edge."""
        mean = rows.mean(0, dtype=np.float64)
        _, vectors = np.linalg.eigh(np.atleast_2d(np.cov(rows, rowvar=False)))
        largest = np.abs(vectors).argmax(0), np.arange(vectors.shape[1])
        axes = (vectors * np.sign(vectors[largest]))[:, ::-1][:, :3]
        low, high = np.quantile((rows - mean) @ axes, (0.001, 0.999), axis=0)
        steps = min(1024, int(CELLS ** (1 / axes.shape[1]) + 1e-9))
        return cls(mean, axes, low, np.maximum(high, low + 1e-9), steps)

    def cells(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return ``(n,)`` the cell of each ``(n, C)`` row of band values."""
        share = ((rows - self.mean) @ self.axes - self.low) / (self.high - self.low)
        index = np.clip(share * self.steps, 0, self.steps - 1).astype(np.int64)
        return np.asarray(np.ravel_multi_index(tuple(index.T), (self.steps,) * index.shape[1]))

    def positions(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return ``(n, D)`` places of cells along the axes."""
        return np.stack(np.unravel_index(cells, (self.steps,) * self.axes.shape[1]), axis=1)

    def __len__(self) -> int:
        """Return the number of cells."""
        return int(self.steps ** self.axes.shape[1])


class Colour:
    """Predicts each pixel from its own colour, blind to its neighbours.

    Parameters
    ----------
    cube
        The colours told apart.
    table
        ``(cells, K)`` probability of each class by colour.
    """

    def __init__(self, cube: ColourCube, table: NDArray[np.float64]) -> None:
        self._cube = cube
        self._table = table[:, 1:] if table.shape[1] == 2 else table

    def __call__(self, images: Image) -> NDArray[np.float64]:
        """Return ``(B, h, w, 1)`` where K is 2, else ``(B, h, w, K)`` probabilities."""
        cells = self._cube.cells(images.reshape(-1, images.shape[-1]))
        return self._table[cells].reshape(*images.shape[:3], -1)


def fit_colour_baseline(
    batches: Iterable[tuple[Image, Ids]], *, classes: int, pixels: int, seed: int
) -> Colour:
    """Return a gradient-boosted classifier of single pixels, fitted on a sample of them.

    Colours are cut into a cube of about 33,000 cells along the three directions of largest
    variance and the classifier answers once per cell, so that scoring costs a table look-up.

    Parameters
    ----------
    batches
        Train batches: ``(B, h, w, C)`` float32, ``(B, h, w, 1)`` uint8 ids; 255 is left out.
    classes
        Number of classes K.
    pixels
        How many labelled pixels to sample, uniformly over all batches.
    seed
        Seed of the sample and of the classifier.

    Raises
    ------
    DataError
        No train pixel is labelled.

    Source: Ke et al., LightGBM, NeurIPS 2017, as scikit-learn's ``HistGradientBoosting``.
    """
    rows, labels = sample_pixels(batches, pixels=pixels, seed=seed)
    if not len(labels):
        raise DataError("no labelled train pixel", remedy="Check the store's class_pixels")
    cube = ColourCube.around(rows)
    table = np.zeros((len(cube), classes))
    if len(np.unique(labels)) == 1:
        table[:, labels[0]] = 1.0
        return Colour(cube, table)
    model = HistGradientBoostingClassifier(
        max_iter=64, max_leaf_nodes=15, early_stopping=False, random_state=seed
    )
    model.fit(cube.positions(cube.cells(rows)), labels)
    every = cube.positions(np.arange(len(cube)))
    table[:, model.classes_.astype(np.int64)] = model.predict_proba(every)
    return Colour(cube, table)


def sample_pixels(
    batches: Iterable[tuple[Image, Ids]], *, pixels: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return a uniform sample of labelled pixels: ``(n, C)`` band values and ``(n,)`` ids.

    Each pixel draws a random key and the `pixels` smallest keys stay, so that memory does not
    grow with the number of patches.
    """
    rng = np.random.default_rng(seed)
    keys = np.empty(0)
    rows: NDArray[np.float32] | None = None
    labels = np.empty(0, np.int64)
    for images, masks in batches:
        seen = masks[..., 0] != IGNORE
        drawn = rng.random(int(seen.sum()))
        keys = np.concatenate([keys, drawn])
        rows = images[seen] if rows is None else np.concatenate([rows, images[seen]])
        labels = np.concatenate([labels, masks[..., 0][seen].astype(np.int64)])
        if len(keys) > pixels:
            kept = np.sort(np.argpartition(keys, pixels)[:pixels])
            keys, rows, labels = keys[kept], rows[kept], labels[kept]
    return (np.empty((0, 1), np.float32) if rows is None else rows), labels


def majority(class_pixels: NDArray[np.integer]) -> int:
    """Return the id of the commonest class of ``(n, K)`` pixel counts."""
    return int(class_pixels.sum(0).argmax())
