"""Fit a Segmentalist on data/combined.zarr."""

import os
from pathlib import Path

from gim_cv.backend import ask_for_determinism
from gim_cv.config import load_params, project
from gim_cv.fit import fit_model
from gim_cv.stage import run_stage


def main() -> None:
    """Write data/models/Segmentalist and data/results/train."""
    here = project()
    params = load_params(here.params)
    if params.train.deterministic:
        ask_for_determinism()
    watched = os.environ.get("GIM_CV_TENSORBOARD")
    fit_model(
        here.combined,
        here.models / "Segmentalist",
        plots_dir=here.results / "train",
        loss=params.loss,
        loss_args=params.loss_args,
        seed=params.seed,
        model=params.model.model_dump(),
        train=params.train.model_dump(),
        augment=params.augment.model_dump(),
        metadata={"datasets": ",".join(params.datasets)},
        progress=True,
        resume_dir=here.tmp / "resume",
        tensorboard_dir=Path(watched) if watched else None,
    )


if __name__ == "__main__":
    run_stage(main)
