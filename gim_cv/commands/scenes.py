"""The command that predicts images which no catalog names."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

Images = Annotated[list[Path], typer.Argument(help="Rasters, each with a folder of its own.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Where the folders go; data/predictions if not.")
]
Run = Annotated[
    Path | None, typer.Option(help="Run directory of the model; data/models/Segmentalist if not.")
]
Bands = Annotated[
    str, typer.Option(help="Bands in the order of the training, by number or name: 3,2,1.")
]
Threshold = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Probability of a positive; predict.threshold if not."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results of something else.")]
Skip = Annotated[
    bool, typer.Option("--skip-failures", help="Go on after an image that cannot be predicted.")
]


def predict(
    images: Images,
    out: Out = None,
    run: Run = None,
    bands: Bands = "",
    threshold: Threshold = None,
    overwrite: Overwrite = False,
    skip_failures: Skip = False,
) -> None:
    """Predict whole rasters with a trained model: probabilities, classes, outlines, a picture."""
    from gim_cv.config import load_params, project
    from gim_cv.inference import CompositeInferenceDataset, InferenceDataset
    from gim_cv.pipelines import get_image_inference_pipeline
    from gim_cv.prediction import ABOUT
    from gim_cv.predictor import Predictor

    logging.getLogger("gim_cv").addHandler(logging.NullHandler())  # failures are printed below
    here = project()
    how = load_params(here.params).predict.model_dump()
    standard = how.pop("threshold")
    predictor = Predictor.of_run(
        run or here.models / "Segmentalist",
        threshold=standard if threshold is None else threshold,
        symmetries=how.pop("symmetries"),
        evaluation=None,
    )
    pipeline = partial(
        get_image_inference_pipeline,
        inference_window_size=how.pop("window_px"),
    )
    chosen = [int(band) if band.isdecimal() else band for band in bands.split(",") if band]
    scenes = CompositeInferenceDataset(
        [InferenceDataset(path, pipeline, bands=chosen or None) for path in images]
    )
    scenes.prepare(skip_failures)
    scenes.schedule_inference(predictor, out, skip_failures, **how)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for raster in scenes.write_mask_rasters(overwrite, skip_failures):
        about = json.loads((raster.parent / ABOUT).read_text(encoding="utf-8"))
        console.print(Text("✓", "green"), f"{raster.parent}: {_found(about)}")
    for failure in scenes.failures.values():
        console.print(Text("✗", "red"), str(failure))
    if scenes.failures:
        raise typer.Exit(1)


def _found(about: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return in words how much there is of each class but the first."""
    rows = sorted(about["classes"].items())
    return ", ".join(f"{name} {row['share']:.1%} ({row['area_m2']:,.0f} m²)" for name, row in rows)
