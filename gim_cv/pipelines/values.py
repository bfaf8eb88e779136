"""Transformers of values: their scale and their type."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gim_cv.errors import ConfigError
from gim_cv.pipelines.step import Array, Step, to_dtype


class SimpleInputScaler(Step):
    """Multiplies values by a constant.

    Parameters
    ----------
    sf
        Factor; 1/255 takes bytes to 0–1.

    Attributes
    ----------
    dtype_ : numpy dtype
        Type of the array it was fitted to; the inverse rounds to it where it is of integers.

    Examples
    --------
    >>> SimpleInputScaler().transform(np.array([[[0, 51, 255]]], np.uint8))
    array([[[0. , 0.2, 1. ]]], dtype=float32)
    """

    _ndims: ClassVar[tuple[int, ...]] = (3, 4)

    def __init__(self, sf: float = 1 / 255) -> None:
        self.sf = sf

    def transform(self, X: Array) -> Array:
        """Return `X` times `sf`: float32 for integers up to 16 bits, else float of its size."""
        self._check(X, self._ndims)
        self._learn_scale()
        # In float64 first: the float32 nearest to 1/255 is not near enough to give 0.2 for 51.
        return (X.astype(np.float64) * self.sf).astype(_float(X.dtype))

    def inverse_transform(self, X: Array) -> Array:
        """Return `X` divided by `sf`, as the type that was fitted."""
        check_is_fitted(self, "dtype_")
        self._check(X, self._ndims)
        return to_dtype(X.astype(np.float64) / self.sf, self.dtype_)

    def _learn(self, X: Array) -> None:
        self._learn_scale()
        self.dtype_ = X.dtype

    def _learn_scale(self) -> None:
        if not math.isfinite(self.sf) or self.sf == 0:
            raise ConfigError("sf is not a factor", expected="a number, not 0", found=self.sf)


class Float32er(Step):
    """Turns values into float32.

    Attributes
    ----------
    dtype_ : numpy dtype
        Type of the array it was fitted to. The inverse is exact for integers up to 24 bits.
    """

    _ndims: ClassVar[tuple[int, ...]] = (2, 3, 4)

    def transform(self, X: Array) -> Array:
        """Return `X` as float32."""
        self._check(X, self._ndims)
        return X.astype(np.float32)

    def inverse_transform(self, X: Array) -> Array:
        """Return `X` as the type that was fitted."""
        check_is_fitted(self, "dtype_")
        self._check(X, self._ndims)
        return to_dtype(X, self.dtype_)

    def _learn(self, X: Array) -> None:
        self.dtype_ = X.dtype


def _float(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    return dtype if dtype.kind == "f" else np.result_type(dtype, np.float32)
