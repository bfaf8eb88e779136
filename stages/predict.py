"""Predict one scene of the catalog: ``python3 -m stages.predict SCENE``."""

import sys

from gim_cv.catalog import load_catalog
from gim_cv.config import load_params, project
from gim_cv.prediction import Options, predict_scene
from gim_cv.predictor import Predictor
from gim_cv.stage import run_stage


def main() -> None:
    """Write data/predictions/SCENE."""
    here, name = project(), sys.argv[1]
    scene = load_catalog(here.catalog).scene(name)
    params = load_params(here.params)
    options = params.predict.model_dump()
    predictor = Predictor.of_run(
        here.models / "Segmentalist",
        threshold=options.pop("threshold"),
        symmetries=options.pop("symmetries"),
        evaluation=here.results / "evaluate",
    )
    image = predictor.open_scene(scene, here.raw, resampling=params.prepare.resampling)
    predict_scene(
        image,
        predictor,
        here.predictions / name,
        Options(**options),
        overwrite=True,
        tmp_dir=here.tmp,
        progress=name,
    )


if __name__ == "__main__":
    run_stage(main)
