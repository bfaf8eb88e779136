"""What any model has to beat: a colour classifier, and answers that ignore the image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from gim_cv.errors import DataError
from gim_cv.scores import IGNORE
from gim_cv.tally import Ids, Image


class Classifier(Protocol):
    """Anything with scikit-learn's two attributes."""

    classes_: NDArray[np.int64]

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return ``(n, len(classes_))`` probabilities."""


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


class Colour:
    """Predicts each pixel from its own band values, blind to its neighbours.

    Parameters
    ----------
    classifier
        Fitted on rows of band values.
    classes
        Number of classes K.
    """

    def __init__(self, classifier: Classifier, classes: int) -> None:
        self._classifier, self._classes = classifier, classes

    def __call__(self, images: Image) -> NDArray[np.float64]:
        """Return ``(B, h, w, 1)`` where K is 2, else ``(B, h, w, K)`` probabilities."""
        rows = images.reshape(-1, images.shape[-1])
        known = self._classifier.predict_proba(rows)
        full = np.zeros((len(rows), self._classes))
        full[:, self._classifier.classes_.astype(np.int64)] = known
        part = full[:, 1:] if self._classes == 2 else full
        return part.reshape(*images.shape[:3], -1)


def fit_colour_baseline(
    batches: Iterable[tuple[Image, Ids]], *, classes: int, pixels: int, seed: int
) -> Colour:
    """Return a gradient-boosted classifier of single pixels, fitted on a sample of them.

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
    if len(np.unique(labels)) == 1:
        return Colour(_OneClass(labels[:1]), classes)
    model = HistGradientBoostingClassifier(
        max_iter=64, max_leaf_nodes=15, early_stopping=False, random_state=seed
    )
    return Colour(model.fit(rows, labels), classes)


class _OneClass:
    """Stands in where the sample holds one class, which boosting cannot be fitted to."""

    def __init__(self, classes: NDArray[np.int64]) -> None:
        self.classes_ = classes

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.ones((len(X), 1))


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
