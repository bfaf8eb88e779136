"""Segmentalist: a residual U-Net with attention, pyramids and deep supervision to choose from."""

# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import keras
import yaml
from keras import layers

from gim_cv.backend import precision
from gim_cv.errors import MissingError
from gim_cv.models.attention import channel_spatial_gate, spatial_gate
from gim_cv.models.blocks import (
    DoubleLike,
    conv_norm,
    half,
    image_input,
    logits,
    probabilities,
    residual_block,
)
from gim_cv.models.design import Design
from gim_cv.serial import register

Tensor = Any
BEST_BY_VAL = "best.weights.h5"
BEST_BY_TRAIN = "best_train.weights.h5"


@register
class Segmentalist(keras.Model):
    """A model of ``(B, h, w, bands)`` images to ``(B, h, w, n_classes)`` probabilities.

    It runs at any height and width: sizes that the stages do not halve evenly are rounded up
    inside and cut back.

    Parameters
    ----------
    name
        Name of the model.
    dtype
        Dtype policy of the layers, e.g. ``"mixed_bfloat16"``; None is Keras' global one.
    options
        Fields of `Design`.

    Raises
    ------
    UnknownError
        An option has no such name.
    ConfigError
        An option's value is out of range, or two do not go together.

    Source: Ronneberger et al. 2015, "U-Net"; He et al. 2016, "Deep residual learning"; the gates,
    pyramid and side outputs as in Abraham & Khan 2019.

    Examples
    --------
    >>> model = Segmentalist(initial_filters=4, residual_filters=(8, 12), layer_blocks=1)
    >>> model.output_shape
    (None, None, None, 1)
    """

    def __init__(self, *, name: str = "Segmentalist", dtype: Any = None, **options: Any) -> None:
        # 1. What it is made of
        design = Design.of(options)
        # 2. The functional model
        with precision(dtype or keras.config.dtype_policy()):
            image = image_input(design.bands)
            outputs = probabilities(_decoded(_encoded(image, design), design))
            super().__init__(inputs=image, outputs=outputs, name=name)
        # 3. What it keeps
        self.design = design

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        dtype = keras.dtype_policies.serialize(self.dtype_policy)
        return {"name": self.name, "dtype": dtype, **self.design.as_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:  # noqa: ARG003
        """Return the model that `get_config` described, with fresh weights."""
        return cls(**config)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile the model as it was when `get_compile_config` described it.

        A loss and the metric that shows its state are saved apart; here they are one again.
        """
        given = keras.saving.deserialize_keras_object(config)
        states = {metric.name: metric for metric in getattr(given["loss"], "metrics", [])}

        def rejoined(metric: Any) -> Any:
            own = states.get(getattr(metric, "name", None))
            return own if type(own) is type(metric) else metric

        given["metrics"] = keras.tree.map_structure(rejoined, given["metrics"])
        self.compile(**given)
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    @classmethod
    def load_from_metadata(cls, row: Mapping[str, Any], val: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Return the trained model of a run.

        Parameters
        ----------
        row
            Anything with a key ``run_dir``: a row of ``collate_run_data``, or a dict.
        val
            True: the weights of the lowest validation loss. False: of the lowest train loss.

        Raises
        ------
        MissingError
            The run directory has no run.yml or no such weights.
        """
        run_dir = Path(row["run_dir"])
        weights = run_dir / (BEST_BY_VAL if val else BEST_BY_TRAIN)
        for path in (run_dir / "run.yml", weights):
            if not path.is_file():
                raise MissingError(
                    "not a finished run", path=path, remedy="Run dvc pull, or dvc repro train"
                )
        run = yaml.safe_load((run_dir / "run.yml").read_text(encoding="utf-8"))
        model = cls(**run["model"])
        model.load_weights(weights)
        return model


def _encoded(image: Tensor, design: Design) -> list[Tensor]:
    """Return the stem and each stage's features: at full size, a half, a quarter and so on."""
    kernel = design.initial_kernel_size
    x = conv_norm(image, design.initial_filters, kernel, name="stem", act=design.act)
    pooling = design.downsample == "pool"
    found, small = [x], image
    for stage, filters in enumerate(design.residual_filters, start=1):
        name = f"encoder{stage}"
        x = half(x, name=f"{name}_pool") if pooling else x
        if design.pyramid_pooling and (pooling or stage > 1):
            small = half(small, name=f"{name}_image", mean=True)
        if design.pyramid_pooling and stage > 1:
            seen = conv_norm(small, filters, 3, name=f"{name}_pyramid", act=design.act)
            x = layers.Concatenate(name=f"{name}_in")([x, seen])
        x = _encoder_stage(x, filters, design, name=name)
        found.append(x)
    return found


def _encoder_stage(x: Tensor, filters: int, design: Design, *, name: str) -> Tensor:
    for block in range(design.layer_blocks):
        x = residual_block(
            x,
            filters,
            design,
            name=f"{name}_block{block}",
            strides=2 if block == 0 and design.downsample == "strides" else 1,
            attention=design.encoder_cbam,
            lambda_conv=design.lambda_conv,
        )
    return x


def _decoded(found: list[Tensor], design: Design) -> Tensor:
    """Return the logits at full size from the encoder's features, float32."""
    x, sides = found[-1], None
    widths = (design.initial_filters, *design.residual_filters)
    for level in reversed(range(len(found) - 1)):
        name = f"decoder{level}"
        x = DoubleLike(name=f"{name}_double")(x, found[level])
        parts = [x, _gated(found[level], x, design, name=f"{name}_gate")]
        if design.multi_level_skip:
            parts += [_raised(found, deep, level, widths[level]) for deep in _deeper(found, level)]
        x = layers.Concatenate(name=f"{name}_in")(parts)
        x = _decoder_stage(x, widths[level], design, name=name, last=level == 0)
        if design.deep_supervision and level:
            sides = _added(logits(x, design, 1, name=f"{name}_logits"), sides, name=name)
    scores = logits(x, design, design.head_kernel_size, name="logits")
    return _added(scores, sides, name="head")


def _decoder_stage(x: Tensor, filters: int, design: Design, *, name: str, last: bool) -> Tensor:
    for block in range(design.last_decoder_layer_blocks if last else design.layer_blocks):
        named = f"{name}_block{block}"
        x = residual_block(x, filters, design, name=named, attention=design.decoder_cbam)
    return x


def _gated(skip: Tensor, signal: Tensor, design: Design, *, name: str) -> Tensor:
    if design.decoder_attention_gates is None:
        return skip
    gates = {"SAG": spatial_gate, "CSAG": channel_spatial_gate}
    return gates[design.decoder_attention_gates](skip, signal, design.act, name=name)


def _deeper(found: list[Tensor], level: int) -> range:
    """Return the levels of the skips below `level`; the bridge is no skip."""
    return range(level + 1, len(found) - 1)


def _raised(found: list[Tensor], deep: int, level: int, filters: int) -> Tensor:
    """Return the skip of level `deep` with `filters` channels at the size of `level`."""
    name = f"decoder{level}_skip{deep}"
    x = conv_norm(found[deep], filters, 1, name=name, act=None)
    for between in reversed(range(level, deep)):
        x = DoubleLike(name=f"{name}_at{between}")(x, found[between])
    return x


def _added(scores: Tensor, deeper: Tensor | None, *, name: str) -> Tensor:
    """Return logits plus the enlarged logits of the stage below."""
    if deeper is None:
        return scores
    large = DoubleLike(dtype="float32", name=f"{name}_sides")(deeper, scores)
    return layers.Add(dtype="float32", name=f"{name}_sum")([scores, large])
