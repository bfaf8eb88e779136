"""What a pair of preprocessing pipelines says about the patches to be made.

Where patches lie, their size and resolution, and the bands are read off the pipelines and done
while the rasters are streamed, as the `prepare` stage does it. Any other step is applied to the
patches, pixel values only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from gim_cv.errors import ConfigError
from gim_cv.functions import function_name, is_own, value_name
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
)
from gim_cv.schema import ARRAYS

Array = NDArray[Any]
PLACED = (
    ArrayPadder,
    BinariserRGB,
    ChannelSelector,
    DimensionAdder,
    ImageResampler,
    Rechunker,
    SynchronisedShuffler,
    Tiler,
)
"""Steps that say where patches lie, or how a raster is read."""


@dataclass(frozen=True)
class Cut:
    """How to cut a raster and its mask, as read off their pipelines.

    Attributes
    ----------
    patch_px
        Side of a patch, px.
    overlap
        Share of a patch that its neighbour repeats.
    resample_factor
        Pixels after for each pixel before; 1 = native.
    bands
        Numbers of the bands, from 1; None: all.
    mask_fraction
        Share above which a resampled pixel is positive.
    positive
        Colour or value of positive pixels in a mask raster, in which 0, black and white are
        background and anything else an error; None: its values are ids.
    seed
        Of the order of patches when stores are pooled; None: the pipelines do not shuffle.
    image_steps
        Further steps, on pixel values of images.
    """

    patch_px: int
    overlap: float
    resample_factor: float
    bands: tuple[int, ...] | None
    mask_fraction: float
    positive: int | tuple[int, int, int] | None
    seed: int | None
    image_steps: tuple[Any, ...] = ()

    def mask_values(self) -> list[dict[str, object]] | None:
        """Return the catalog's `mask_values` for `positive`."""
        if self.positive is None:
            return None
        plain: list[object] = [0]
        if isinstance(self.positive, tuple):
            plain = [(0, 0, 0), (255, 255, 255)]
        values = [self.positive, *(value for value in plain if value != self.positive)]
        return [{"value": value, "id": int(value == self.positive)} for value in values]

    def described(self) -> list[str]:
        """Return names and parameters of the further steps, for a recipe.

        Raises
        ------
        ConfigError
            A parameter has no repeatable description: see `function_name`.
        """
        return [_described(step) for step in self.image_steps]

    def applied(self, patches: xr.Dataset) -> xr.Dataset:
        """Return patches, lazy or in memory, after the further steps."""
        if not self.image_steps or not patches.sizes["patch"]:
            return patches
        image = patches["image"].data
        if patches["image"].chunks:
            like = _through(self.image_steps, np.zeros((1, *image.shape[1:]), image.dtype))
            chunks = (image.chunks[0], *((length,) for length in like.shape[1:]))
            image = image.map_blocks(
                partial(_through, self.image_steps), dtype=like.dtype, chunks=chunks, meta=like[:0]
            )
        else:
            image = _through(self.image_steps, image)
        return patches.drop_vars("image").assign(image=(ARRAYS["image"], image))


def read_pipelines(image: Pipeline, mask: Pipeline) -> Cut:
    """Return how the pipelines of an image and its mask cut them.

    Raises
    ------
    ConfigError
        A pipeline does not tile, the two disagree (naming what each says), or the mask's has a
        step that is not about place, resolution or the positive colour.
    """
    for step in _further(mask):
        raise ConfigError(
            "a step of the mask pipeline cannot be done",
            found=_described(step),
            remedy="Say what raw values mean by the pair's mask_values, classes or ignore_values",
        )
    tilers = [_only(pipeline, Tiler, who) for who, pipeline in _named(image, mask)]
    if None in tilers:
        raise ConfigError("a training pipeline cuts no patches", expected="a Tiler in both")
    both = [_geometry(pipeline, who) for who, pipeline in _named(image, mask)]
    for what, value in both[0].items():
        if value != both[1][what]:
            raise ConfigError(
                f"image and mask pipelines differ in {what}",
                expected=f"{value} as for images",
                found=f"{both[1][what]} for masks",
            )
    resampler = _only(mask, ImageResampler, "mask")
    return Cut(
        patch_px=both[0]["window_dims"][0],
        overlap=0.5 if isinstance(tilers[0], OverlappingTiler) else 0.0,
        resample_factor=both[0]["resample_factor"],
        bands=_bands(image, "image"),
        mask_fraction=0.1 if resampler is None else float(resampler.mask_fraction),
        positive=_positive(_only(mask, BinariserRGB, "mask")),
        seed=both[0]["shuffle seed"],
        image_steps=_further(image),
    )


@dataclass(frozen=True)
class Look:
    """How a model is to look at an image, as read off an inference pipeline.

    Attributes
    ----------
    window_px
        Side of a window, px.
    resample_factor
        Pixels after for each pixel before; 1 = native.
    bands
        Numbers of the bands, from 1; None: all.
    scale
        Divisor of the pixels' values.
    """

    window_px: int
    resample_factor: float
    bands: tuple[int, ...] | None
    scale: float


def read_inference_pipeline(image: Pipeline) -> Look:
    """Return how an inference pipeline looks at an image.

    Raises
    ------
    ConfigError
        It does not tile, or has a step that is not about place, resolution, bands or scale.
    """
    for step in _further(image):
        if not isinstance(step, SimpleInputScaler | Float32er):
            raise ConfigError(
                "a step of the inference pipeline cannot be done",
                found=_described(step),
                remedy="Make it a layer of the model, or change the image beforehand",
            )
    if _only(image, Tiler, "inference") is None:
        raise ConfigError("the inference pipeline cuts no windows", expected="a Tiler")
    found = _geometry(image, "inference")
    scaler = _only(image, SimpleInputScaler, "inference")
    return Look(
        window_px=found["window_dims"][0],
        resample_factor=found["resample_factor"],
        bands=_bands(image, "inference"),
        scale=1.0 if scaler is None else float(1 / scaler.sf),
    )


def _named(image: Pipeline, mask: Pipeline) -> list[tuple[str, Pipeline]]:
    return [("image", image), ("mask", mask)]


def _steps(pipeline: Pipeline) -> list[Any]:
    return [step for _, step in pipeline.steps]


def _only(pipeline: Pipeline, kind: type, who: str) -> Any:
    """Return the pipeline's one step of a kind, or None."""
    found = [step for step in _steps(pipeline) if isinstance(step, kind)]
    if len(found) > 1:
        raise ConfigError(
            f"the {who} pipeline has several steps of one kind",
            expected=f"one {kind.__name__}",
            found=len(found),
        )
    return found[0] if found else None


def _geometry(pipeline: Pipeline, who: str) -> dict[str, Any]:
    """Return what image and mask pipelines must agree on."""
    tiler, resampler = _only(pipeline, Tiler, who), _only(pipeline, ImageResampler, who)
    padder, shuffler = _only(pipeline, ArrayPadder, who), _only(pipeline, SynchronisedShuffler, who)
    side = tuple(int(length) for length in tiler.window_dims)
    if padder is not None and max(padder.min_rows, padder.min_cols) > side[0]:
        raise ConfigError(
            f"the {who} pipeline pads by more than a patch",
            expected=f"at most {side[0]} px",
            found=f"{padder.min_rows} × {padder.min_cols} px",
        )
    factor = 1.0 if resampler is None else float(resampler.sf)
    if not 0 < factor < inf:
        raise ConfigError("resample_factor", expected="a number above 0", found=factor)
    if resampler is not None and abs(factor - 1) <= resampler.resample_tolerance:
        factor = 1.0
    return {
        "window_dims": side,
        "overlap": type(tiler).__name__,
        "resample_factor": factor,
        "shuffle seed": None if shuffler is None else int(shuffler.seed),
    }


def _bands(pipeline: Pipeline, who: str) -> tuple[int, ...] | None:
    """Return the numbers, from 1, of the bands that a pipeline keeps; None: all."""
    selector = _only(pipeline, ChannelSelector, who)
    if selector is None or selector.channels is None:
        return None
    return tuple(int(band) + 1 for band in selector.channels)


def _positive(binariser: BinariserRGB | None) -> int | tuple[int, int, int] | None:
    if binariser is None:
        return None
    colour = tuple(int(value) for value in binariser.target_rgb)
    return colour[0] if len(colour) == 1 else colour  # type: ignore[return-value]


def _further(pipeline: Pipeline) -> tuple[Any, ...]:
    return tuple(step for step in _steps(pipeline) if not isinstance(step, PLACED))


def _described(step: Any) -> str:
    """Return a step as text without addresses, with a digest of the code if it is the user's."""
    values = sorted(step.get_params().items())
    shown = ", ".join(f"{name}={value_name(value)}" for name, value in values)
    kind = type(step)
    name = function_name(kind) if is_own(kind) else f"{kind.__module__}.{kind.__name__}"
    return f"{name}({shown})"


def _through(steps: Sequence[Any], patches: Array) -> Array:
    """Return patches (patch, row, col, band) after steps that take patches, or else rasters."""
    for step in steps:
        ndims: tuple[int, ...] = getattr(step, "_ndims", (3,))
        parts = [patches] if 4 in ndims else patches
        done = [np.asarray(clone(step).fit_transform(part)) for part in parts]
        patches = done[0] if 4 in ndims else np.stack(done)
    return patches
