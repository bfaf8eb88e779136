"""Training: a run directory from a combined store. What the train stage calls."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
import yaml

from gim_cv.assembly import coefficients, compiled, design_for, loss_for
from gim_cv.backend import (
    backend_name,
    libraries,
    precision,
    prepare_backend,
    replica_count,
    replicas,
)
from gim_cv.best import BestWeights
from gim_cv.checkpoint import Progress, load_state
from gim_cv.epochs import Training
from gim_cv.feeds import SAMPLES, Feeds, turning
from gim_cv.journal import Journal
from gim_cv.losses import SegmentationLoss, loss_name
from gim_cv.progress import TrainingBar
from gim_cv.regime import Regime
from gim_cv.store import open_store
from gim_cv.unfinished import work_key
from gim_cv.workspace import forget_unfinished, workspace

RUN_FILE = "run.yml"


def fit_model(
    store: Path,
    run_dir: Path,
    *,
    plots_dir: Path,
    loss: str,
    loss_args: Mapping[str, Any],
    seed: int,
    model: Mapping[str, Any],
    train: Mapping[str, Any],
    augment: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    progress: bool,
    resume_dir: Path | None = None,
    tensorboard_dir: Path | None = None,
) -> dict[str, Any]:
    """Write a trained run, whole or not at all; return its summary.

    Parameters
    ----------
    store
        A combined store.
    run_dir
        The run directory: ``run.yml``, ``history.csv``, ``best.weights.h5`` (lowest validation
        loss), ``best_train.weights.h5`` (lowest train loss) and ``samples/*.npy``. An older one
        is replaced when the training is done.
    plots_dir
        Where dvclive writes, epoch by epoch; ``metrics.json`` ends up with the values of the epoch
        whose weights are ``best.weights.h5``.
    loss, loss_args
        Name of a loss, or ``name:key=value``, and arguments by loss name:
        ``{"tversky": {"alpha": 0.6}}``.
    seed
        Of initial weights, batch order and augmentation.
    model
        Options of `Segmentalist`; ``n_classes`` and ``bands`` are the store's if not given.
    train
        Options of `Regime`.
    augment
        Options of `augment.make_augmenter`.
    metadata
        Further entries of ``run.yml``, e.g. ``datasets``.
    progress
        Whether to draw a progress bar.
    resume_dir
        Folder for the state of an unfinished run, outside what DVC deletes before a stage: a
        killed run goes on there from its last step that was saved (at each epoch's end, and every
        few minutes), if nothing that matters has changed.
    tensorboard_dir
        For TensorBoard's files, outside of what DVC tracks: they hold the time. None: none.

    Returns
    -------
    dict
        ``lowest_val_loss``, ``lowest_loss``, ``best_epoch``, ``epochs_run``, ``parameters``,
        ``metrics`` (of the best epoch) and ``seconds``.

    Raises
    ------
    UnknownError, ConfigError
        An option has no such name, or its value is out of range.
    DataError
        The store has no train patch, or a class that the model does not know.
    RunError
        The loss is not a number any more.
    """
    began = time.monotonic()
    patches = open_store(store)
    regime = Regime.of(train)
    design = design_for(model, patches)
    run = {
        "loss": loss,
        "loss_args": {loss_name(loss): coefficients(loss, loss_args)},
        "seed": seed,
        "model": design.as_dict(),
        "train": regime.as_dict(),
        "augment": dict(augment),
        **(metadata or {}),
    }
    prepare_backend(seed=seed, deterministic=regime.deterministic)
    feeds = Feeds(patches, regime, seed=seed, augment=augment)
    with precision(regime.precision), replicas(regime.devices):
        objective = loss_for(loss, loss_args, regime, patches)
        network = compiled(
            design, regime, objective, steps=feeds.train.steps, turning=turning(augment, seed)
        )
        with workspace(run_dir, resume_dir, run_key(run, patches)) as place:
            feeds.save_samples(place.run / "samples")
            best = BestWeights(place.best)
            training = Training(
                network, feeds.train, feeds.val, regime, place.run, best, place.state
            )
            done = train_from_state(
                training, plots_dir, tensorboard_dir=tensorboard_dir, shown=progress
            )
            summary = summarise(done, training)
            write_run(place.run, {**run, **summary, **run_facts(objective, patches, feeds)})
    say_what_is_missing(regime, summary)
    if resume_dir is not None and (count := forget_unfinished(run_dir, resume_dir)):
        sys.stderr.write(f"unfinished runs with other parameters or code: {count}, now removed\n")
    return {**summary, "metrics": done.rows[done.chosen], "seconds": time.monotonic() - began}


def run_key(run: Mapping[str, Any], patches: xr.Dataset) -> str:
    """Return the name of a run's state: parameters and libraries that change its result."""
    train = {name: value for name, value in run["train"].items() if name != "workers"}
    parts = replica_count(train["devices"])
    facts = {"train": train, "replicas": parts, "libraries": libraries()}
    return work_key({**run, **facts, "store": dict(patches.attrs)})


def train_from_state(
    training: Training, plots_dir: Path, *, tensorboard_dir: Path | None, shown: bool
) -> Progress:
    """Return the progress at the end of a run that starts afresh or where it was interrupted."""
    progress = Progress()
    if training.state_dir is not None:
        progress = load_state(training.state_dir, training.model)
    bar = TrainingBar(
        steps=training.train.steps,
        epochs=training.regime.epochs,
        batch=training.regime.batch,
        done=len(progress.rows) * training.train.steps + progress.step,
        data=training.train,
        shown=shown,
    )
    journal = Journal(training.folder, plots_dir, progress.rows, tensorboard_dir)
    with journal, bar:
        training.run(progress, journal, bar)
        journal.finish(progress.rows[progress.chosen])
    return progress


def summarise(progress: Progress, training: Training) -> dict[str, Any]:
    """Return the few numbers by which runs are compared."""
    return {
        "lowest_val_loss": None if training.val is None else progress.best,
        "lowest_loss": progress.best_train,
        "best_epoch": progress.chosen,
        "epochs_run": len(progress.rows),
        "parameters": training.model.count_params(),
        "swa_epochs": progress.average.count,
        "swa_chosen": bool(progress.average.count) and progress.chosen + 1 == len(progress.rows),
    }


def say_what_is_missing(regime: Regime, summary: Mapping[str, Any]) -> None:
    """Say on stderr that training has ended before all epochs of the average."""
    if summary["swa_epochs"] == regime.averaged:
        return
    last = summary["epochs_run"] - bool(summary["swa_epochs"])
    sys.stderr.write(
        f"train.patience ended the run after epoch {last} of {regime.epochs}: the average of "
        f"weights (train.swa_share) has {summary['swa_epochs']} of {regime.averaged} epochs\n"
    )


def run_facts(loss: SegmentationLoss, patches: xr.Dataset, feeds: Feeds) -> dict[str, Any]:
    """Return what a reader of run.yml needs besides the parameters."""
    samples = {name: f"samples/{name}.npy" for name in SAMPLES}
    if feeds.val is None:
        samples = {name: path for name, path in samples.items() if not name.endswith("val")}
    return {
        "model_name": "Segmentalist",
        "backend": backend_name(),
        "loss_fn": loss.name,
        "classes": list(patches.attrs["classes"]),
        "scale": feeds.scale,
        **image_facts(patches),
        **samples,
    }


def image_facts(patches: xr.Dataset) -> dict[str, Any]:
    """Return what the images of a combined store are like, for scenes to be compared with."""
    pairs = patches.attrs["pairs"].values()
    names = [set(found) for found in zip(*(pair["bands"] for pair in pairs), strict=True)]
    metres = [metre for pair in pairs for metre in pair["resolution_m"]]
    return {
        "band_names": [
            name.pop() if len(name) == 1 else f"band_{number}"
            for number, name in enumerate(names, start=1)
        ],
        "image_dtype": patches["image"].dtype.name,
        "resolution_m": [min(metres), max(metres)],
    }


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Write run.yml, sorted."""
    text = yaml.safe_dump(dict(run), sort_keys=True, allow_unicode=True)
    (folder / RUN_FILE).write_text(text, encoding="utf-8")
