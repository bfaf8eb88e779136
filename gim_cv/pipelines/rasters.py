"""Transformers of whole rasters: which bands, which pixels are positive, how large at least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import dask.array as da
import numpy as np
from sklearn.utils.validation import check_is_fitted

from gim_cv.errors import ConfigError, DataError
from gim_cv.patches import padded
from gim_cv.pipelines.step import Array, Step, check_holds


class ChannelSelector(Step):
    """Keeps some bands, in the order given. It has no inverse: the others are gone.

    Parameters
    ----------
    channels
        Band numbers from 0; None keeps all.

    Examples
    --------
    >>> ChannelSelector([2, 0]).transform(np.zeros((4, 4, 3), np.uint8)).shape
    (4, 4, 2)
    """

    _stateful: ClassVar[bool] = False

    def __init__(self, channels: Sequence[int] | None = None) -> None:
        self.channels = channels

    def transform(self, X: Array) -> Array:
        """Return the chosen bands (h, w, len(channels)) of `X` (h, w, C), dtype kept."""
        self._check(X, self._ndims)
        self._learn(X)
        return X if self.channels is None else np.take(X, list(self.channels), axis=-1)

    def _learn(self, X: Array) -> None:
        if self.channels is None:
            return
        whole = (int, np.integer)
        if (
            isinstance(self.channels, whole)
            or len(self.channels) == 0
            or not all(isinstance(channel, whole) for channel in self.channels)
        ):
            raise ConfigError(
                "channels is not a list of bands", expected="e.g. [0, 1, 2]", found=self.channels
            )
        if not all(0 <= channel < X.shape[-1] for channel in self.channels):
            raise ConfigError(
                "the raster has no such band",
                expected=f"channels from 0 to {X.shape[-1] - 1}",
                found=list(self.channels),
            )


class DimensionAdder(Step):
    """Gives a raster without a band axis one: (h, w) → (h, w, 1); others stay as they are.

    Attributes
    ----------
    ndim_ : int
        Dimensions of the array it was fitted to, 2 or 3.
    """

    _ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def transform(self, X: Array) -> Array:
        """Return `X` (h, w) or (h, w, C) with a band axis."""
        self._check(X, self._ndims)
        return X[..., None] if X.ndim == 2 else X

    def inverse_transform(self, X: Array) -> Array:
        """Return `X` (h, w, C) without the band axis, if this added it."""
        check_is_fitted(self, "ndim_")
        self._check(X, (3,))
        if self.ndim_ == 3:
            return X
        if X.shape[-1] != 1:
            raise DataError("more than the one band that was added", expected=1, found=X.shape[-1])
        return X[..., 0]

    def _learn(self, X: Array) -> None:
        self.ndim_ = X.ndim


class BinariserRGB(Step):
    """Turns a picture of a mask into class ids: 1 where a pixel has the target colour, else 0.

    It has no inverse. A mask of one band whose positives are 255 takes ``BinariserRGB([255])``.

    Parameters
    ----------
    target_rgb
        The colour of positive pixels: one value per band.

    Examples
    --------
    >>> picture = np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8)
    >>> BinariserRGB((255, 0, 0)).transform(picture)[..., 0]
    array([[1, 0]], dtype=uint8)
    """

    _stateful: ClassVar[bool] = False

    def __init__(self, target_rgb: Sequence[float]) -> None:
        self.target_rgb = target_rgb

    def transform(self, X: Array) -> Array:
        """Return class ids (h, w, 1) uint8, 0 or 1, of the picture `X` (h, w, C)."""
        self._check(X, self._ndims)
        self._learn(X)
        colour = np.asarray(self.target_rgb, X.dtype)
        return np.equal(X, colour).all(axis=-1, keepdims=True).astype(np.uint8)

    def _learn(self, X: Array) -> None:
        if len(self.target_rgb) != X.shape[-1]:
            raise ConfigError(
                "target_rgb does not suit the raster",
                expected=f"one value for each of {X.shape[-1]} bands",
                found=list(self.target_rgb),
                remedy="Put a ChannelSelector before it where the raster has other bands too",
            )
        for value in self.target_rgb:
            check_holds(X.dtype, value, "target_rgb")


class ArrayPadder(Step):
    """Enlarges a raster at the bottom and right to at least a given size; the origin stays.

    Parameters
    ----------
    min_rows, min_cols
        Least height and width of the result, px.
    constant_values
        Value of the pixels added: 0 for images, 255 (ignore) for masks.

    Attributes
    ----------
    shape_ : tuple of int
        Height and width of the raster it was fitted to, px.
    """

    def __init__(self, min_rows: int, min_cols: int, constant_values: float = 0) -> None:
        self.min_rows = min_rows
        self.min_cols = min_cols
        self.constant_values = constant_values

    def transform(self, X: Array) -> Array:
        """Return `X` (h, w, C), enlarged to at least min_rows × min_cols px."""
        self._check(X, self._ndims)
        check_holds(X.dtype, self.constant_values, "constant_values")
        if isinstance(X, np.ndarray):
            return padded(X, self.min_rows, self.min_cols, self.constant_values)
        below, right = max(self.min_rows - X.shape[0], 0), max(self.min_cols - X.shape[1], 0)
        if below == right == 0:
            return X
        width = ((0, below), (0, right), (0, 0))
        return da.pad(X, width, mode="constant", constant_values=self.constant_values)

    def inverse_transform(self, X: Array) -> Array:
        """Return the part of `X` that is the raster this was fitted to."""
        check_is_fitted(self, "shape_")
        self._check(X, self._ndims)
        return X[: self.shape_[0], : self.shape_[1]]

    def _learn(self, X: Array) -> None:
        if min(self.min_rows, self.min_cols) < 0:
            raise ConfigError(
                "a least size is negative",
                expected="px, 0 or more",
                found=(self.min_rows, self.min_cols),
            )
        check_holds(X.dtype, self.constant_values, "constant_values")
        self.shape_ = X.shape[:2]
