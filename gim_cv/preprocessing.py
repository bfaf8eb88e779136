"""The seed's import path for pipelines, transformers and augmentation."""

from gim_cv.augment import FancyPCA, affine_aug, get_aug_datagen, light_aug, strong_aug
from gim_cv.pipelines import (
    ArrayPadder,
    BinariserRGB,
    ChannelSelector,
    DimensionAdder,
    Float32er,
    ImageResampler,
    OverlappingTiler,
    Rechunker,
    SimpleInputScaler,
    SynchronisedShuffler,
    Tiler,
    get_binary_mask_training_pipeline,
    get_image_inference_pipeline,
    get_image_training_pipeline,
)
from gim_cv.sampling import balanced_oversample

__all__ = [
    "ArrayPadder",
    "BinariserRGB",
    "ChannelSelector",
    "DimensionAdder",
    "FancyPCA",
    "Float32er",
    "ImageResampler",
    "OverlappingTiler",
    "Rechunker",
    "SimpleInputScaler",
    "SynchronisedShuffler",
    "Tiler",
    "affine_aug",
    "balanced_oversample",
    "get_aug_datagen",
    "get_binary_mask_training_pipeline",
    "get_image_inference_pipeline",
    "get_image_training_pipeline",
    "light_aug",
    "strong_aug",
]
