"""Attention in a Segmentalist: CBAM, gates on the skips, lambda layers. Any image size."""

# mypy: allow-subclassing-any

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from gim_cv.models.norm import BatchNorm
from gim_cv.serial import register

Tensor = Any
CBAM_REDUCTION = 8
CBAM_KERNEL_PX = 7


def cbam(x: Tensor, act: str, *, name: str) -> Tensor:
    """Return x weighed by attention over its channels, then over its pixels.

    Parameters
    ----------
    x
        ``(B, h, w, C)``.
    act
        Activation.
    name
        Beginning of the layers' names.

    Source: Woo et al. 2018, "CBAM: Convolutional block attention module", eq. 1–3.
    """
    channels = channel_attention(x, act, CBAM_REDUCTION, name=f"{name}_channels")
    x = layers.Multiply(name=f"{name}_by_channel")([x, channels])
    pixels = spatial_attention(x, name=f"{name}_pixels")
    return layers.Multiply(name=f"{name}_by_pixel")([x, pixels])


def channel_attention(x: Tensor, act: str, reduction: int, *, name: str) -> Tensor:
    """Return one weight 0–1 per channel, ``(B, 1, 1, C)``, from its mean and its maximum."""
    channels = x.shape[-1]
    hidden = layers.Dense(max(channels // reduction, 1), activation=act, name=f"{name}_hidden")
    out = layers.Dense(channels, name=f"{name}_dense")
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
    peak = layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_max")(x)
    total = layers.Add(name=f"{name}_sum")([out(hidden(mean)), out(hidden(peak))])
    return layers.Activation("sigmoid", name=f"{name}_weight")(total)


def spatial_attention(x: Tensor, *, name: str) -> Tensor:
    """Return one weight 0–1 per pixel, ``(B, h, w, 1)``, from the channels' mean and maximum."""
    kinds = [MeanChannel(name=f"{name}_mean")(x), MaxChannel(name=f"{name}_max")(x)]
    weigh = layers.Conv2D(
        1,
        CBAM_KERNEL_PX,
        padding="same",
        activation="sigmoid",
        use_bias=False,
        name=f"{name}_weight",
    )
    return weigh(layers.Concatenate(name=f"{name}_both")(kinds))


def spatial_gate(skip: Tensor, signal: Tensor, act: str, *, name: str) -> Tensor:
    """Return the skip with pixels that the decoder's signal does not ask for turned down (SAG).

    Parameters
    ----------
    skip
        ``(B, h, w, f)`` of the encoder.
    signal
        ``(B, h, w, g)`` of the decoder at the same size.
    act
        Activation.
    name
        Beginning of the layers' names.

    Source: Oktay et al. 2018, "Attention U-Net", eq. 1–2, with a 3×3 convolution before the
    weights, so that a pixel is judged with its neighbours.
    """
    filters = skip.shape[-1]
    both = _joined(skip, signal, act, name=name)
    near = _conv_norm(both, filters, 3, name=f"{name}_near")
    near = layers.Activation(act, name=f"{name}_near_act")(near)
    weight = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_weight")(near)
    gated = layers.Multiply(name=f"{name}_gated")([skip, weight])
    return _conv_norm(gated, filters, 1, name=f"{name}_out")


def channel_spatial_gate(skip: Tensor, signal: Tensor, act: str, *, name: str) -> Tensor:
    """Return the skip with channels and pixels weighed by the decoder's signal (CSAG).

    Parameters are those of `spatial_gate`; the channels' weights come from both tensors pooled
    over the image, the pixels' weights from a 1×1 convolution.
    """
    filters = skip.shape[-1]
    both = _joined(skip, signal, act, name=name)
    weight = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_weight")(both)
    channels = channel_attention(both, act, 1, name=f"{name}_channels")
    gated = layers.Multiply(name=f"{name}_gated")([skip, channels, weight])
    return _conv_norm(gated, filters, 1, name=f"{name}_out")


def _joined(skip: Tensor, signal: Tensor, act: str, *, name: str) -> Tensor:
    """Return act(a(skip) + b(signal)) with the skip's number of channels."""
    filters = skip.shape[-1]
    parts = {"skip": skip, "signal": signal}
    mapped = [_conv_norm(x, filters, 1, name=f"{name}_{part}") for part, x in parts.items()]
    return layers.Activation(act, name=f"{name}_act")(layers.Add(name=f"{name}_sum")(mapped))


def _conv_norm(x: Tensor, filters: int, kernel: int, *, name: str) -> Tensor:
    conv = layers.Conv2D(
        filters,
        kernel,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )
    return BatchNorm(name=f"{name}_norm")(conv(x))


@register
class MeanChannel(layers.Layer):
    """Mean over the channels: ``(B, h, w, C)`` to ``(B, h, w, 1)``."""

    def call(self, x: Tensor) -> Tensor:
        """Return the mean."""
        return ops.mean(x, axis=-1, keepdims=True)


@register
class MaxChannel(layers.Layer):
    """Maximum over the channels: ``(B, h, w, C)`` to ``(B, h, w, 1)``."""

    def call(self, x: Tensor) -> Tensor:
        """Return the maximum."""
        return ops.max(x, axis=-1, keepdims=True)


@register
class LambdaLayer(layers.Layer):
    """Each pixel's query reads a linear map made from all pixels, and one made from its vicinity.

    ``y = λᵀ q`` with ``λ = softmax_m(K)ᵀ V + Σ_m E_nm V_m``: the softmax runs over the positions
    m, and the position part is a convolution (E depends on n - m alone), so that any size works.

    Parameters
    ----------
    filters
        Channels of the result.
    keys
        Depth k of queries and keys.
    window_px
        Side of the vicinity, px.
    options
        As in ``keras.layers.Layer``.

    Source: Bello 2021, "LambdaNetworks: Modeling long-range interactions without attention",
    section 3.1, table 2 (multi-query lambdas, lambda convolution).
    """

    def __init__(self, filters: int, *, keys: int = 16, window_px: int = 7, **options: Any) -> None:
        super().__init__(**options)
        self.filters, self.keys, self.window_px = filters, keys, window_px
        self.heads = next(heads for heads in (4, 2, 1) if filters % heads == 0)
        self.query = layers.Conv2D(
            self.heads * keys, 1, use_bias=False, name="query", dtype=self.dtype_policy
        )
        self.key = layers.Conv2D(keys, 1, use_bias=False, name="key", dtype=self.dtype_policy)
        self.value = layers.Conv2D(
            filters // self.heads, 1, use_bias=False, name="value", dtype=self.dtype_policy
        )
        self.query_norm = BatchNorm(name="query_norm", dtype=self.dtype_policy)
        self.value_norm = BatchNorm(name="value_norm", dtype=self.dtype_policy)
        self.near = layers.DepthwiseConv2D(
            window_px,
            padding="same",
            depth_multiplier=keys,
            use_bias=False,
            name="near",
            depthwise_initializer=keras.initializers.RandomNormal(stddev=0.02),
            dtype=self.dtype_policy,
        )

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the weights for an input of this shape."""
        values = (*shape[:3], self.filters // self.heads)
        for layer in (self.query, self.key, self.value):
            layer.build(shape)
        self.query_norm.build((*shape[:3], self.heads * self.keys))
        self.value_norm.build(values)
        self.near.build(values)

    def call(self, x: Tensor, *, training: bool | None = None) -> Tensor:
        """Return ``(B, h, w, filters)``."""
        batch, height, width = ops.shape(x)[0], ops.shape(x)[1], ops.shape(x)[2]
        pixels, depth = height * width, self.filters // self.heads
        query = self.query_norm(self.query(x), training=training)
        query = ops.reshape(query, (batch, pixels, self.heads, self.keys))
        key = ops.softmax(ops.reshape(self.key(x), (batch, pixels, self.keys)), axis=1)
        value = self.value_norm(self.value(x), training=training)
        flat = ops.reshape(value, (batch, pixels, depth))
        content = ops.einsum("bmk,bmv->bkv", key, flat)
        near = ops.reshape(self.near(value), (batch, pixels, depth, self.keys))
        y = ops.einsum("bnhk,bkv->bnhv", query, content)
        y = y + ops.einsum("bnhk,bnvk->bnhv", query, near)
        return ops.reshape(y, (batch, height, width, self.filters))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the result."""
        return (*shape[:3], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "keys": self.keys,
            "window_px": self.window_px,
        }
