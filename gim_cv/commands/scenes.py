"""The command that predicts images which no catalog names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from gim_cv.errors import ConfigError, GimError

if TYPE_CHECKING:
    from gim_cv.inference import InferenceDataset

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
    from gim_cv.givenmodel import check_has_threshold
    from gim_cv.inference import InferenceDataset
    from gim_cv.pipelines import get_image_inference_pipeline
    from gim_cv.prediction import ABOUT
    from gim_cv.predictor import Predictor
    from gim_cv.scheduling import one_by_one

    here = project()
    how = load_params(here.params).predict.model_dump()
    standard = how.pop("threshold")
    pipeline = partial(get_image_inference_pipeline, inference_window_size=how.pop("window_px"))
    chosen = [int(band) if band.isdecimal() else band for band in bands.split(",") if band]
    scenes = [InferenceDataset(path, pipeline, bands=chosen or None) for path in images]
    folder = out or here.predictions
    _check_names(scenes)
    taken = _scenes_of(here.catalog) if folder.resolve() == here.predictions.resolve() else ()
    predictor = Predictor.of_run(
        run or here.models / "Segmentalist",
        threshold=standard if threshold is None else threshold,
        symmetries=how.pop("symmetries"),
        evaluation=None,
    )
    check_has_threshold(predictor, threshold)
    console = Console(soft_wrap=True, highlight=False, markup=False)

    def begin(scene: InferenceDataset) -> InferenceDataset:
        _check_free(folder / scene.name, taken)
        scene.prepare()
        scene.schedule_inference(predictor, folder, **how)
        return scene

    def finish(scene: InferenceDataset) -> None:
        raster = scene.write_mask_raster(overwrite)
        about = json.loads((raster.parent / ABOUT).read_text(encoding="utf-8"))
        console.print(Text("✓", "green"), f"{raster.parent}: {_found(about)}")

    def tell(_scene: InferenceDataset, err: GimError) -> None:
        console.print(Text("✗", "red"), str(err))

    failed = tell if skip_failures else None
    ready = one_by_one(begin, scenes, failed=failed)
    if len(one_by_one(finish, ready, failed=failed)) < len(scenes):
        raise typer.Exit(1)


def _check_names(scenes: Iterable[InferenceDataset]) -> None:
    first: dict[str, Path] = {}
    for scene in scenes:
        path = scene.image_paths[0]
        if first.setdefault(scene.name, path) is not path:
            raise ConfigError(
                f"two files have one folder, {scene.name}",
                found=f"{first[scene.name]} and {path}",
                remedy="Predict them in two calls, each with its own --out",
            )


def _check_free(folder: Path, scenes: Iterable[str]) -> None:
    """Return if no stage writes into `folder`: what it finds there, DVC would take for its own."""
    if folder.name in scenes:
        raise ConfigError(
            "the folder belongs to a scene of data/catalog.yaml",
            path=folder,
            remedy=f"Run dvc repro predict@{folder.name}, or name another folder with --out",
        )


def _scenes_of(catalog: Path) -> Iterable[str]:
    from gim_cv.catalog import load_catalog

    return load_catalog(catalog).scenes


def _found(about: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return in words how much there is of each class."""
    rows = sorted(about["classes"].items())
    return ", ".join(f"{name} {row['share']:.1%} ({row['area_m2']:,.0f} m²)" for name, row in rows)
