"""Scikit-learn transformers from rasters (h, w, C) to patches (N, h, w, C), and their pipelines.

All of them take numpy and dask arrays and give the same values for both; nothing is computed of a
dask array before its values are asked for. `fit` looks at shape, dtype and chunks only.
"""

from gim_cv.pipelines.factories import (
    get_binary_mask_training_pipeline,
    get_image_inference_pipeline,
    get_image_training_pipeline,
)
from gim_cv.pipelines.rasters import ArrayPadder, BinariserRGB, ChannelSelector, DimensionAdder
from gim_cv.pipelines.resampling import ImageResampler
from gim_cv.pipelines.stacks import Rechunker, SynchronisedShuffler
from gim_cv.pipelines.tiles import OverlappingTiler, Tiler
from gim_cv.pipelines.values import Float32er, SimpleInputScaler

__all__ = [
    "ArrayPadder",
    "BinariserRGB",
    "ChannelSelector",
    "DimensionAdder",
    "Float32er",
    "ImageResampler",
    "OverlappingTiler",
    "Rechunker",
    "SimpleInputScaler",
    "SynchronisedShuffler",
    "Tiler",
    "get_binary_mask_training_pipeline",
    "get_image_inference_pipeline",
    "get_image_training_pipeline",
]
