"""Large arrays whose memory is used again."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


class Recycler:
    """Arrays of one shape, handed out again when nothing refers to them any more.

    The first touch of fresh memory costs a page fault every 4 KiB, for large arrays as much time as
    filling them does. Every view of an array counts as a reference to it.

    Parameters
    ----------
    shape, dtype
        Of the arrays.
    keep
        Arrays to keep; those made while as many are in use are not handed out again.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, keep: int) -> None:
        self.shape, self.dtype, self.keep = shape, np.dtype(dtype), keep
        self._kept: list[Array] = []
        self._lock = threading.Lock()

    def take(self, rows: int) -> Array:
        """Return an array of `rows` rows, at most those of the shape, with any values."""
        with self._lock:
            for array in self._kept:
                if sys.getrefcount(array) == 3:  # the list, this loop and the call itself
                    return array[:rows]
            array = np.empty(self.shape, self.dtype)
            if len(self._kept) < self.keep:
                self._kept.append(array)
            return array[:rows]
