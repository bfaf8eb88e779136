"""Transformers of stacks of patches: their order and their chunks."""

from __future__ import annotations

from typing import Any, ClassVar

import dask.array as da
import numpy as np
from sklearn.utils.validation import check_is_fitted

from gim_cv.errors import ConfigError, DataError
from gim_cv.pipelines.step import Array, Step


class SynchronisedShuffler(Step):
    """Puts patches in a random order that depends on the seed and their number alone.

    Images and masks that go through two of them with the same seed stay together. Its memory is
    not bounded for dask arrays of many chunks: the `combine` stage shuffles what is large.

    Parameters
    ----------
    seed
        Seed of the permutation.

    Attributes
    ----------
    permutation_ : numpy array (N,) of int64
        The patch that comes first, second, …

    Examples
    --------
    >>> shuffler = SynchronisedShuffler(seed=42)
    >>> patches = np.arange(3).reshape(3, 1, 1, 1)
    >>> bool((shuffler.inverse_transform(shuffler.fit_transform(patches)) == patches).all())
    True
    """

    _ndims: ClassVar[tuple[int, ...]] = (4,)

    def __init__(self, seed: int = 42) -> None:
        self.seed = seed

    def transform(self, X: Array) -> Array:
        """Return the patches `X` (N, h, w, C) in random order."""
        return self._taken(X, inverse=False)

    def inverse_transform(self, X: Array) -> Array:
        """Return the shuffled patches `X` (N, h, w, C) in their first order."""
        return self._taken(X, inverse=True)

    def _taken(self, X: Array, *, inverse: bool) -> Array:
        check_is_fitted(self, "permutation_")
        self._check(X, self._ndims)
        if len(X) != self.permutation_.size:
            raise DataError(
                "SynchronisedShuffler was fitted to another number of patches",
                expected=self.permutation_.size,
                found=len(X),
                remedy="Call fit_transform",
            )
        return X[np.argsort(self.permutation_) if inverse else self.permutation_]

    def _learn(self, X: Array) -> None:
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise ConfigError(
                "seed is not a seed", expected="a whole number, 0 or more", found=self.seed
            )
        self.permutation_ = np.random.default_rng(self.seed).permutation(X.shape[0])


class Rechunker(Step):
    """Gives a dask array other chunks; a numpy array has none and stays as it is.

    Parameters
    ----------
    chunks
        As for ``dask.array.Array.rechunk``: e.g. (1, -1, -1, -1) for one patch a chunk.

    Attributes
    ----------
    chunks_ : tuple, or None
        The chunks of the array it was fitted to; None for a numpy array.
    """

    _ndims: ClassVar[tuple[int, ...]] = (2, 3, 4)

    def __init__(self, chunks: Any = "auto") -> None:
        self.chunks = chunks

    def transform(self, X: Array) -> Array:
        """Return `X` in the chunks asked for."""
        self._check(X, self._ndims)
        return _rechunked(X, self.chunks)

    def inverse_transform(self, X: Array) -> Array:
        """Return `X` in the chunks that the fitted array had."""
        check_is_fitted(self, "chunks_")
        self._check(X, self._ndims)
        return X if self.chunks_ is None else _rechunked(X, self.chunks_)

    def _learn(self, X: Array) -> None:
        _rechunked(X, self.chunks)
        self.chunks_ = X.chunks if isinstance(X, da.Array) else None


def _rechunked(X: Array, chunks: Any) -> Array:
    if isinstance(X, np.ndarray):
        return X
    try:
        return X.rechunk(chunks)
    except ValueError as err:
        raise ConfigError(
            "chunks do not suit the array", expected=f"chunks of {X.shape}", found=chunks
        ) from err
