"""Parts of a Segmentalist: convolutions with batch norm, residual blocks, doubling.

Functions take and return Keras tensors of a functional model. All of them work at any image
size, known or not when the model is built.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from gim_cv.backend import resized
from gim_cv.models.attention import LambdaLayer, cbam
from gim_cv.models.design import Design
from gim_cv.models.norm import BatchNorm
from gim_cv.serial import register

Tensor = Any


def conv_norm(
    x: Tensor,
    filters: int,
    kernel: int,
    *,
    name: str,
    act: str | None,
    strides: int = 1,
    groups: int = 1,
) -> Tensor:
    """Return act(batch-norm(convolution(x))).

    Parameters
    ----------
    x
        ``(B, h, w, C)``.
    filters
        Channels of the result.
    kernel
        Side of the kernel, px.
    name
        Beginning of the layers' names; explicit names make weight files equal to the byte.
    act
        Activation, or None.
    strides
        Step, px.
    groups
        Groups of channels that do not mix.
    """
    x = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        groups=groups,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    norm = BatchNorm(name=f"{name}_norm")
    return norm(x) if act is None else layers.Activation(act, name=f"{name}_act")(norm(x))


def residual_block(
    x: Tensor,
    filters: int,
    design: Design,
    *,
    name: str,
    strides: int = 1,
    attention: bool = False,
    lambda_conv: bool = False,
) -> Tensor:
    """Return act(x + residual(x)).

    The residual of a bottleneck block is 3×3 f/2, 3×3 f, 1×1 f; of a basic block 3×3 f, 3×3 f. The
    second convolution is in `cardinality` groups, or a lambda layer.

    Parameters
    ----------
    x
        ``(B, h, w, C)``.
    filters
        f, channels of the result.
    design
        Its `block`, `act` and `cardinality` are used.
    name
        Beginning of the layers' names.
    strides
        Step of the first convolution, px.
    attention
        Whether a CBAM weighs the residual.
    lambda_conv
        Whether a lambda layer takes the place of the second convolution.

    Source: He et al. 2016, "Deep residual learning", figure 5.
    """
    act, shortcut = design.act, x
    if x.shape[-1] != filters or strides > 1:
        shortcut = conv_norm(x, filters, 1, name=f"{name}_shortcut", act=None, strides=strides)
    if design.block == "basic":
        y = conv_norm(x, filters, 3, name=f"{name}_first", act=act, strides=strides)
        y = _second(y, filters, design, name=name, act=None, as_lambda=lambda_conv)
    else:
        y = conv_norm(x, filters // 2, 3, name=f"{name}_narrow", act=act, strides=strides)
        y = _second(y, filters, design, name=name, act=act, as_lambda=lambda_conv)
        y = conv_norm(y, filters, 1, name=f"{name}_last", act=None)
    if attention:
        y = cbam(y, act, name=f"{name}_cbam")
    total = layers.Add(name=f"{name}_sum")([shortcut, y])
    return layers.Activation(act, name=f"{name}_out")(total)


def _second(
    x: Tensor,
    filters: int,
    design: Design,
    *,
    name: str,
    act: str | None,
    as_lambda: bool,
) -> Tensor:
    """Return a block's second convolution of x: grouped 3×3, or a lambda layer."""
    if not as_lambda:
        groups = design.cardinality
        named = f"{name}_wide"
        return conv_norm(x, filters, 3, name=named, act=act, groups=groups)
    y = LambdaLayer(filters, name=f"{name}_lambda")(x)
    if act is None:
        return BatchNorm(name=f"{name}_wide_norm")(y)
    return layers.Activation(act, name=f"{name}_wide_act")(y)


@register
class DoubleLike(layers.Layer):
    """Bilinear ×2 enlargement of ``(B, h, w, C)``, cut to the height and width of a second tensor.

    A stage that halved an odd size rounded it up; the cut takes that back.
    """

    def call(self, x: Tensor, like: Tensor) -> Tensor:
        """Return x at twice its size, cut to the size of `like`."""
        size, wanted = ops.shape(x), ops.shape(like)
        large = resized(x, 2 * size[1], 2 * size[2])
        return large[:, : wanted[1], : wanted[2]]

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], like_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Return the shape of the result."""
        return (*like_shape[:3], x_shape[3])


def half(x: Tensor, *, name: str, mean: bool = False) -> Tensor:
    """Return x max-pooled (or average-pooled) to half its size, rounded up."""
    pool = layers.AveragePooling2D if mean else layers.MaxPooling2D
    return pool(2, padding="same", name=name)(x)


def logits(x: Tensor, design: Design, kernel: int, *, name: str) -> Tensor:
    """Return the class scores of x in float32, ``(B, h, w, n_classes)``."""
    head = layers.Conv2D(design.n_classes, kernel, padding="same", dtype="float32", name=name)
    return head(x)


def probabilities(x: Tensor) -> Tensor:
    """Return logits as probabilities in float32: a sigmoid for one channel, else a softmax."""
    kind = "sigmoid" if x.shape[-1] == 1 else "softmax"
    return layers.Activation(kind, dtype="float32", name="probability")(x)


def image_input(bands: int) -> Tensor:
    """Return the model's input: ``(B, h, w, bands)`` float32 of about 0–1, any size."""
    return keras.Input((None, None, bands), dtype="float32", name="image")
