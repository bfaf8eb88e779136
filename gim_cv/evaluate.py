"""A trained run measured on the validation and test ground of its store.

Writes ``metrics.json`` (few numbers: each is a column of ``dvc exp show``), ``scores.json``
(everything), ``counts.parquet`` (confusion counts per ground block: error bars without the
model), ``predictions.zarr``, and under ``plots`` the precision-recall curve and the confusion
table in the form that DVC plots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import xarray as xr

from gim_cv.baseline import Colour, Constant, fit_colour_baseline, majority
from gim_cv.batches import Batches
from gim_cv.curves import best_level, level_of
from gim_cv.footprints import Footprints, GroundBlocks
from gim_cv.inventory import count_objects
from gim_cv.models.segmentalist import Segmentalist
from gim_cv.results import clear_results, write_results
from gim_cv.rundir import read_run, run_digest
from gim_cv.scheduling import tracked
from gim_cv.schema import split_slice
from gim_cv.store import open_store
from gim_cv.symmetry import Image, Predict, answers
from gim_cv.tally import Ids, PredictionWriter, Tally, tally

SPLITS = ("val", "test")
BASELINE_PIXELS = 40_000
BASELINE_PATCHES = 2_000


def evaluate_run(
    store: Path,
    run_dir: Path,
    *,
    batch: int,
    threshold: float | None,
    symmetries: bool,
    out_dir: Path,
    progress: bool,
) -> dict[str, object]:
    """Write what a run scores on the ground that it did not train on; return its metrics.

    Parameters
    ----------
    store
        The combined store that the run was trained on.
    run_dir
        The run directory, whose weights of lowest validation loss are scored.
    batch
        Patches per step; the result does not depend on it.
    threshold
        Probability (0–1) from which a pixel is foreground; None takes the one with the highest
        IoU on validation ground. Models of more than two classes answer the likeliest class.
    symmetries
        Whether a patch's prediction is the mean over its turns and mirror images.
    out_dir
        Folder for the results; those of an earlier evaluation are replaced.
    progress
        Show a progress bar.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    patches = open_store(store)
    predict = predictor(read_run(run_dir), symmetries=symmetries)
    clear_results(out_dir)
    kept = out_dir / "predictions.zarr"
    tallies = measure(patches, predict, batch=batch, keep=kept, progress=progress)
    level = choose_level(tallies["val"], threshold)
    baselines = {
        name: (found, choose_level(found["val"], threshold))
        for name, found in measure_baselines(patches, batch=batch, progress=progress)
    }
    objects = {split: count_objects(patches, split, kept, level) for split in SPLITS}
    return write_results(
        patches,
        tallies,
        level,
        baselines,
        objects,
        about={"run_sha256": run_digest(run_dir), "symmetries": symmetries},
        out_dir=out_dir,
    )


def predictor(row: Mapping[str, Any], *, symmetries: bool) -> Predict:
    """Return what predicts with the best weights of a run: anything with a key ``run_dir``."""
    return answers(Segmentalist.load_from_metadata(row), symmetries=symmetries)


def choose_level(val: Tally, threshold: float | None) -> int:
    """Return the level that cuts probabilities: the given threshold's, or the best on `val`."""
    if threshold is not None:
        return level_of(threshold)
    return best_level(val.histogram) if val.classes == 2 else level_of(0.5)


def measure(
    patches: xr.Dataset,
    predict: Predict,
    *,
    batch: int,
    keep: Path | None,
    progress: bool,
    splits: Sequence[str] = SPLITS,
    scale: float | None = None,
) -> dict[str, Tally]:
    """Return the counts of validation and test; `keep` names a zarr group for predictions.

    `scale` divides the images; None is the store's own.
    """
    return {
        split: _measure_split(
            patches, split, predict, batch=batch, keep=keep, progress=progress, scale=scale
        )
        for split in splits
    }


def measure_baselines(
    patches: xr.Dataset, *, batch: int, progress: bool
) -> Iterator[tuple[str, dict[str, Tally]]]:
    """Yield name and counts of the baselines, measured with the same code as the model."""
    classes = patches.sizes["class"]
    train = patches.isel(patch=split_slice(patches, "train"))
    commonest = majority(train["class_pixels"].to_numpy())
    constant = Constant(1, classes) if classes == 2 else Constant(commonest, classes)
    answers: dict[str, Colour | Constant] = {"colour": _fit_colour(patches, batch=batch)}
    answers["all_foreground" if classes == 2 else "majority"] = constant
    for name, predict in answers.items():
        yield name, measure(patches, predict, batch=batch, keep=None, progress=progress)


def _fit_colour(patches: xr.Dataset, *, batch: int) -> Colour:
    batches = Batches(patches, "train", batch=batch, seed=0, shuffle=True)
    return fit_colour_baseline(
        islice(batches, -(-BASELINE_PATCHES // batch)),
        classes=patches.sizes["class"],
        pixels=BASELINE_PIXELS,
        seed=0,
    )


def _measure_split(
    patches: xr.Dataset,
    split: str,
    predict: Predict,
    *,
    batch: int,
    keep: Path | None,
    progress: bool,
    scale: float | None,
) -> Tally:
    part = patches.isel(patch=split_slice(patches, split))
    places, blocks = Footprints.of(part), GroundBlocks(part)
    shape = (part.sizes["patch"], part.sizes["row"], part.sizes["col"])

    def count(keep_batch: PredictionWriter | None) -> Tally:
        return tally(
            _batches(patches, split, batch=batch, progress=progress, scale=scale),
            predict,
            places,
            blocks,
            classes=part.sizes["class"],
            keep=keep_batch,
        )

    if keep is None:
        return count(None)
    with PredictionWriter(keep, split, shape) as writer:
        return count(writer)


def _batches(
    patches: xr.Dataset, split: str, *, batch: int, progress: bool, scale: float | None
) -> Iterable[tuple[Image, Ids]]:
    chosen = split_slice(patches, split)
    if chosen.start == chosen.stop:
        return ()
    batches = Batches(patches, split, batch=batch, seed=0, shuffle=False, scale=scale)
    return tracked(batches, f"evaluate: {split}" if progress else None, total=len(batches))
