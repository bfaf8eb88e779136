"""What a caller gives as the model: a run of any revision, a Keras model, or a `Predictor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gim_cv.errors import ConfigError
from gim_cv.predictor import Predictor
from gim_cv.rundir import WORKSPACE


def predictor_for(
    model: Any, classes: Sequence[str], scale: float, threshold: float | None, *, symmetries: bool
) -> Predictor:
    """Return what predicts with a run, a Keras model of `classes`, or what predicts already.

    Parameters
    ----------
    model
        Anything with a key ``run_dir``, as a row of ``collate_run_data``, whose weights are fetched
        where it is of another revision; a Keras model; or a `Predictor`, which is returned.
    classes, scale, threshold, symmetries
        See `Predictor.of_model` and `Predictor.of_run`; None as a Keras model's threshold is 0.5.

    Raises
    ------
    MissingError, ConfigError
        See `Predictor.of_model`, `Predictor.of_run` and `gim_cv.revisions.fetch_run`; or there is a
        threshold, and no two classes.
    """
    if isinstance(model, Predictor):
        return model
    if is_run(model):
        folder = _folder_of(model)
        found = Predictor.of_run(
            folder, threshold=threshold, symmetries=symmetries, evaluation=None
        )
    else:
        level = 0.5 if threshold is None else threshold
        found = Predictor.of_model(
            model, classes=classes, scale=scale, threshold=level, symmetries=symmetries
        )
    check_has_threshold(found, threshold)
    return found


def check_has_threshold(predictor: Predictor, threshold: float | None) -> None:
    """Return if a threshold that was asked for means something; ConfigError with more classes."""
    if threshold is not None and predictor.threshold is None:
        raise ConfigError(
            "a threshold is for two classes",
            expected="none: of more classes, a pixel is of the likeliest",
            found=threshold,
            remedy="Leave it out",
        )


def is_run(model: Any) -> bool:
    """Return whether `model` is a row about a run."""
    return isinstance(model, Mapping | pd.Series)


def _folder_of(row: Any) -> Path:
    if row.get("rev", WORKSPACE) == WORKSPACE:
        return Path(row["run_dir"])
    from gim_cv.revisions import fetch_run  # noqa: PLC0415  (DVC takes a third of a second)

    return fetch_run(row)
