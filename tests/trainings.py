"""Training datasets over small scenes."""

from functools import partial

from gim_cv.ground import GroundSplit
from gim_cv.preprocessing import (
    get_binary_mask_training_pipeline,
    get_image_training_pipeline,
)
from gim_cv.training import (
    TrainingDataset,
)

SPLIT = GroundSplit("blocks", 16.0, (0.6, 0.2, 0.2), seed=1, buffer_m=0.0, folds=0, fold=0)
IMAGES = partial(get_image_training_pipeline, window_dims=(32, 32))
MASKS = partial(get_binary_mask_training_pipeline, window_dims=(32, 32))


def dataset(scenes, name, /, **options):
    defaults = {"image_pipeline_factory": IMAGES, "mask_pipeline_factory": MASKS, "split": SPLIT}
    files = scenes / f"{name}.tif", scenes / f"{name}.geojson"
    return TrainingDataset(*files, **(defaults | options))


def prepared(tds):
    tds.prepare()
    return tds
