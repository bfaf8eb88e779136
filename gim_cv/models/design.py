"""What a Segmentalist is made of: its options, checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import keras

from gim_cv.errors import ConfigError, UnknownError

DOWNSAMPLES = ("pool", "strides")
GATES = (None, "SAG", "CSAG")
BLOCKS = ("bottleneck", "basic")


@dataclass(frozen=True, slots=True)
class Design:
    """The options of a `Segmentalist`.

    Attributes
    ----------
    n_classes
        1: one sigmoid channel, the probability of class 1. K > 1: a softmax over K classes.
    bands
        Channels of the image.
    block
        Residual block of f channels. ``"bottleneck"``: 3×3 to f/2, 3×3 to f, 1×1. ``"basic"``: 3×3
        twice, both to f.
    layer_blocks
        Residual blocks in each encoder and decoder stage.
    last_decoder_layer_blocks
        Residual blocks in the last decoder stage, at full resolution.
    initial_filters
        Channels of the stem, and of the last decoder stage.
    residual_filters
        Channels of each encoder stage; the last is the bridge. n stages halve the size n times.
    initial_kernel_size, head_kernel_size
        Kernel of the stem and of the head, px.
    cardinality
        Groups of the second 3×3 convolution of a residual block.
    act
        Name of a Keras activation.
    downsample
        ``"pool"``: max-pool before each stage. ``"strides"``: its first block strides.
    decoder_attention_gates
        ``"SAG"``: spatial gates on the skips. ``"CSAG"``: channel and spatial gates. None: none.
    encoder_cbam, decoder_cbam
        Attention over channels, then space, at the end of each residual block.
    pyramid_pooling
        The average-pooled image joins the input of each encoder stage from the second.
    deep_supervision
        Upsampled logits of every decoder stage are summed into the one output.
    lambda_conv
        A lambda layer instead of the grouped convolution in the encoder's blocks.
    multi_level_skip
        A decoder stage also gets the skips of all deeper stages, upsampled.
    """

    n_classes: int = 1
    bands: int = 3
    block: str = "bottleneck"
    layer_blocks: int = 2
    last_decoder_layer_blocks: int = 2
    initial_filters: int = 64
    residual_filters: tuple[int, ...] = (128, 256, 512, 1024)
    initial_kernel_size: int = 7
    head_kernel_size: int = 1
    cardinality: int = 1
    act: str = "relu"
    downsample: str = "pool"
    decoder_attention_gates: str | None = None
    encoder_cbam: bool = False
    decoder_cbam: bool = False
    pyramid_pooling: bool = False
    deep_supervision: bool = False
    lambda_conv: bool = False
    multi_level_skip: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigError where two options do not go together."""
        object.__setattr__(self, "residual_filters", tuple(self.residual_filters))
        self._check_numbers()
        self._check_choices()
        self._check_cardinality()

    @classmethod
    def of(cls, options: dict[str, Any]) -> Design:
        """Return the design that `options` describe.

        Raises
        ------
        UnknownError
            An option has no such name.
        ConfigError
            An option's value is out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise UnknownError.among("option of Segmentalist", name, known)
        return cls(**options)

    def as_dict(self) -> dict[str, Any]:
        """Return the options as plain values, for JSON and YAML."""
        return {**asdict(self), "residual_filters": list(self.residual_filters)}

    def _check_numbers(self) -> None:
        counts = {
            name: getattr(self, name)
            for name in (
                "n_classes",
                "bands",
                "layer_blocks",
                "last_decoder_layer_blocks",
                "initial_kernel_size",
                "head_kernel_size",
                "cardinality",
            )
        }
        for name, value in counts.items():
            if value < 1:
                raise ConfigError(f"{name} is too small", expected="at least 1", found=value)
        filters = (self.initial_filters, *self.residual_filters)
        if len(filters) < 2 or min(filters) < 2:
            raise ConfigError(
                "a Segmentalist needs at least one stage of at least 2 filters",
                found=f"initial_filters {filters[0]}, residual_filters {list(filters[1:])}",
            )

    def _check_choices(self) -> None:
        choices = {
            "block": BLOCKS,
            "downsample": DOWNSAMPLES,
            "decoder_attention_gates": GATES,
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"unknown {name}", expected=f"one of {allowed}", found=value)
        try:
            keras.activations.get(self.act)
        except ValueError as err:
            raise ConfigError(
                "unknown activation", expected="a Keras activation, e.g. relu", found=self.act
            ) from err

    def _check_cardinality(self) -> None:
        """Each group takes an equal part of its convolution's channels and gives one of f."""
        share = 1 if self.block == "basic" else 2
        for filters in (self.initial_filters, *self.residual_filters):
            if (filters // share) % self.cardinality or filters % self.cardinality:
                raise ConfigError(
                    "cardinality does not divide the filters",
                    expected=f"every number of filters a multiple of {share * self.cardinality}",
                    found=filters,
                )
