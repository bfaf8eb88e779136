"""The default pipelines: from a raster to the patches that a model is trained on or applied to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from gim_cv.errors import ConfigError
from gim_cv.patches import IGNORE
from gim_cv.pipelines.rasters import ArrayPadder, ChannelSelector, DimensionAdder
from gim_cv.pipelines.resampling import ImageResampler
from gim_cv.pipelines.stacks import Rechunker, SynchronisedShuffler
from gim_cv.pipelines.tiles import OverlappingTiler, Tiler, side_px
from gim_cv.pipelines.values import Float32er, SimpleInputScaler

Steps: TypeAlias = list[tuple[str, Any]]


def get_image_training_pipeline(
    window_dims: Sequence[int] = (256, 256),
    resample_factor: float = 1.0,
    *,
    overlap_tiles: bool = False,
    preserve_int: bool = True,
    seed: int | None = 42,
    channels: Sequence[int] | None = None,
    prepend_steps: Sequence[tuple[str, Any]] | None = None,
    resample_tolerance: float = 0.01,
) -> Pipeline:
    """Return a pipeline from an image (h, w, C) to shuffled patches (N, p, p, C).

    Parameters
    ----------
    window_dims
        Height and width of a patch, px; they are equal.
    resample_factor
        Pixels after for each pixel before, along each axis: see `ImageResampler`.
    overlap_tiles
        Whether patches lie half a patch apart rather than side by side.
    preserve_int
        Whether a resampled image of integers stays one.
    seed
        Seed of the order of patches; None keeps them row by row.
    channels
        Bands to keep, from 0; None keeps all.
    prepend_steps
        (name, transformer) pairs that come first; copies of them are used.
    resample_tolerance
        Distance of `resample_factor` from 1 up to which nothing is resampled.

    Examples
    --------
    >>> import numpy as np
    >>> pipeline = get_image_training_pipeline(window_dims=(64, 64))
    >>> patches = pipeline.fit_transform(np.zeros((100, 128, 4), np.uint8))
    >>> patches.shape, pipeline[-3:].inverse_transform(patches).shape
    ((4, 64, 64, 4), (100, 128, 4))
    """
    steps = [
        ("channel_selector", ChannelSelector(channels)),
        (
            "resampler",
            ImageResampler(
                resample_factor, preserve_int=preserve_int, resample_tolerance=resample_tolerance
            ),
        ),
    ]
    patches = _patches(window_dims, fill=0, overlap_tiles=overlap_tiles, seed=seed)
    return _pipeline(prepend_steps, steps + patches)


def get_binary_mask_training_pipeline(
    window_dims: Sequence[int] = (256, 256),
    resample_factor: float = 1.0,
    *,
    overlap_tiles: bool = False,
    mask_fraction: float = 0.1,
    seed: int | None = 42,
    prepend_steps: Sequence[tuple[str, Any]] | None = None,
    resample_tolerance: float = 0.01,
) -> Pipeline:
    """Return a pipeline from a mask (h, w) or (h, w, 1) to shuffled patches (N, p, p, 1).

    With the same `window_dims`, `resample_factor`, `overlap_tiles` and `seed`, its patches are
    those of `get_image_training_pipeline`, in the same order. A mask holds 0, 1 and 255 (ignore),
    and so do its patches: what lies beyond the raster is 255.

    Parameters
    ----------
    window_dims
        Height and width of a patch, px; they are equal.
    resample_factor
        Pixels after for each pixel before, along each axis: see `ImageResampler`.
    overlap_tiles
        Whether patches lie half a patch apart rather than side by side.
    mask_fraction
        Share of a resampled pixel above which it is positive, from 0 up to 1.
    seed
        Seed of the order of patches; None keeps them row by row.
    prepend_steps
        (name, transformer) pairs that come first, e.g. a `BinariserRGB`; copies are used.
    resample_tolerance
        Distance of `resample_factor` from 1 up to which nothing is resampled.
    """
    resampler = ImageResampler(
        resample_factor,
        resample_tolerance=resample_tolerance,
        is_mask=True,
        mask_fraction=mask_fraction,
    )
    patches = _patches(window_dims, fill=IGNORE, overlap_tiles=overlap_tiles, seed=seed)
    return _pipeline(prepend_steps, [("resampler", resampler), *patches])


def get_image_inference_pipeline(
    inference_window_size: int = 896,
    resample_factor: float = 1.0,
    *,
    preserve_int: bool = True,
    channels: Sequence[int] | None = None,
    inference_batch_size: int = 1,
    scale: float = 255.0,
    prepend_steps: Sequence[tuple[str, Any]] | None = None,
    resample_tolerance: float = 0.01,
) -> Pipeline:
    """Return a pipeline from an image (h, w, C) to patches (N, p, p, C) float32, ready for a model.

    The patches are in order, row by row; ``pipeline["tiler"].inverse_transform`` puts predictions
    for them together.

    Parameters
    ----------
    inference_window_size
        Side of a patch, px.
    resample_factor
        Pixels after for each pixel before, along each axis: see `ImageResampler`.
    preserve_int
        Whether a resampled image of integers is rounded to integers before it is scaled.
    channels
        Bands to keep, from 0; None keeps all.
    inference_batch_size
        Patches in a chunk of the result, where the image is a dask array.
    scale
        The divisor that the model was trained with; it takes images to about 0–1.
    prepend_steps
        (name, transformer) pairs that come first; copies of them are used.
    resample_tolerance
        Distance of `resample_factor` from 1 up to which nothing is resampled.

    Raises
    ------
    ConfigError
        `scale` is 0, or the batch is empty.
    """
    if scale == 0 or inference_batch_size < 1:
        raise ConfigError(
            "a scale or batch that divides nothing",
            expected="scale not 0, inference_batch_size 1 or more",
            found=(scale, inference_batch_size),
        )
    steps = get_image_training_pipeline(
        (inference_window_size, inference_window_size),
        resample_factor,
        preserve_int=preserve_int,
        seed=None,
        channels=channels,
        prepend_steps=prepend_steps,
        resample_tolerance=resample_tolerance,
    ).steps
    return Pipeline(
        [
            *steps,
            ("rechunker", Rechunker((inference_batch_size, -1, -1, -1))),
            ("scaler", SimpleInputScaler(1 / scale)),
            ("float32er", Float32er()),
        ]
    )


def _patches(
    window_dims: Sequence[int], *, fill: int, overlap_tiles: bool, seed: int | None
) -> Steps:
    """Return the last steps: the same for images and masks but for the value of padding."""
    side = side_px(window_dims)
    tiler = OverlappingTiler if overlap_tiles else Tiler
    steps: Steps = [
        ("padder", ArrayPadder(side, side, constant_values=fill)),
        ("tiler", tiler(window_dims)),
    ]
    return (
        steps if seed is None else [*steps, ("synchronised_shuffler", SynchronisedShuffler(seed))]
    )


def _pipeline(prepend_steps: Sequence[tuple[str, Any]] | None, steps: Steps) -> Pipeline:
    # One factory call serves many rasters: a shared transformer would keep the last one's shape.
    first = [(name, clone(step)) for name, step in prepend_steps or ()]
    return Pipeline([*first, ("dimension_adder", DimensionAdder()), *steps])
