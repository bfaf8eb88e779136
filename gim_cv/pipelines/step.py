"""What every transformer is: checks of its array, and a `fit` that computes nothing."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self, TypeAlias

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from gim_cv.errors import ConfigError, DataError

Array: TypeAlias = NDArray[Any] | Any
"""A numpy array, or a dask array of known shape; dask's has too few types to be named."""
AXES = {
    2: "(row, column)",
    3: "a raster (row, column, band)",
    4: "patches (patch, row, column, band)",
}


class Step(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer of arrays; `fit` looks at shape, dtype and chunks only."""

    _ndims: ClassVar[tuple[int, ...]] = (3,)
    _stateful: ClassVar[bool] = True

    def fit(self, X: Array, y: object = None) -> Self:  # noqa: ARG002
        """Check the parameters against `X` and keep what the inverse needs.

        Parameters
        ----------
        X
            The array that `transform` will get.
        y
            Ignored; scikit-learn's pipelines pass it.

        Raises
        ------
        ConfigError
            A parameter is wrong, or does not suit `X`.
        DataError
            `X` is not an array of the right shape and kind.
        """
        self._check(X, self._ndims)
        self._learn(X)
        return self

    def _learn(self, X: Array) -> None:
        """Check the parameters against `X`; set the fitted attributes."""

    def _check(self, X: Array, ndims: tuple[int, ...]) -> None:
        """Raise unless `X` is an array of numbers of `ndims` dimensions and known shape."""
        who = type(self).__name__
        if not isinstance(X, np.ndarray | da.Array):
            raise DataError(
                f"{who} got no array",
                expected="a numpy or dask array",
                found=type(X).__name__,
                remedy="Pass the values, e.g. .data of an xarray object",
            )
        if X.ndim not in ndims:
            wanted = " or ".join(AXES[ndim] for ndim in ndims)
            raise DataError(f"{who} got another shape", expected=wanted, found=X.shape)
        if any(math.isnan(length) for length in X.shape):
            raise DataError(
                f"{who} got an array of unknown shape",
                found=X.shape,
                remedy="Call compute_chunk_sizes() on it first",
            )
        if X.dtype.kind not in "biuf":
            raise DataError(f"{who} got no numbers", expected="real numbers", found=X.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = self._stateful
        tags.no_validation = True
        tags.input_tags.two_d_array = 2 in self._ndims
        tags.input_tags.three_d_array = 3 in self._ndims
        return tags


def check_holds(dtype: np.dtype[Any], value: float, name: str) -> None:
    """Raise ConfigError unless an array of `dtype` can hold `value` of parameter `name`."""
    if dtype.kind == "f":
        return
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not (float(value).is_integer() and low <= value <= high):
        raise ConfigError(
            f"{name} does not fit the array",
            expected=f"a value of {dtype} ({low} to {high})",
            found=value,
            remedy="Convert the array with .astype, or choose another value",
        )


def joined(parts: list[Any], axis: int) -> Array:
    """Return dask arrays one after the other along `axis`, as one."""
    return da.concatenate(parts, axis=axis)  # type: ignore[no-untyped-call]


def to_dtype(X: Array, dtype: np.dtype[Any]) -> Array:
    """Return `X` as `dtype`: rounded to the nearest, and clipped, where that is of integers."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        X = np.clip(np.rint(X.astype(np.float64)), limits.min, limits.max)
    return X.astype(dtype)
