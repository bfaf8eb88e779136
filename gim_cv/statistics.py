"""Band statistics of labelled pixels, streamed once: moments, covariance, percentiles.

Integer images of up to 16 bits are counted: histograms per band and integer products of bands, so
every number is exact and no order of blocks can change it. Other types are summed in float64 by
Chan's pairwise update, and their percentiles come from a histogram over the leading 16 bits of the
float32 value: within 1/128 of the value, whatever its range.

Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983, eq. 2.1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gim_cv.errors import DataError
from gim_cv.patches import IGNORE

PERCENTILES = (0.1, 1.0, 50.0, 99.0, 99.9)
RUN_PX = 2**13
"""Pixels taken at a time: small enough for the cache, and for exact float64 products."""

Array = NDArray[Any]
Float = NDArray[np.float64]
Int = NDArray[np.int64]


class BandSums(Protocol):
    """Sums over pixels, from which every statistic follows."""

    def add(self, planes: list[Array]) -> None:
        """Take in the same pixels of each band."""

    def merge(self, other: Any) -> None:
        """Take in what another object of this kind has summed."""

    def state(self) -> dict[str, Array]:
        """Return arrays that hold the sums, to the last bit."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take the sums of an object of this kind from its `state`."""

    @property
    def count(self) -> int:
        """Pixels so far."""

    def moments(self) -> tuple[Float, Float]:
        """Return mean (band,) and population covariance (band, band)."""

    def percentile(self, q: float) -> Float:
        """Return the `q`-th percentile (0–100) of each band."""


class ExactSums:
    """Histograms and products as integers, for integer bands of at most 16 bits.

    Parameters
    ----------
    bands
        Number of bands.
    dtype
        Integer type of the image.
    """

    def __init__(self, bands: int, dtype: DTypeLike) -> None:
        info = np.iinfo(np.dtype(dtype))
        self.lowest = int(info.min)
        self.values = np.arange(info.min, int(info.max) + 1, dtype=np.int64)
        self.histogram = np.zeros((bands, self.values.size), np.int64)
        self.products = [[0] * bands for _ in range(bands)]

    @property
    def count(self) -> int:
        """Pixels so far."""
        return int(self.histogram[0].sum())

    def add(self, planes: list[Array]) -> None:
        """Take in the same pixels of each band, at most `RUN_PX` of them."""
        wide = [plane.astype(np.float64) for plane in planes]
        for i, plane in enumerate(planes):
            level = plane if self.lowest == 0 else plane.astype(np.int64) - self.lowest
            self.histogram[i] += np.bincount(level, minlength=self.values.size)
            for j in range(i):
                self.products[i][j] += int(wide[i] @ wide[j])

    def merge(self, other: ExactSums) -> None:
        """Take in what another object of this kind has summed."""
        self.histogram += other.histogram
        for mine, theirs in zip(self.products, other.products, strict=True):
            mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]

    def state(self) -> dict[str, Array]:
        """Return arrays that hold the sums; the products, of any size, as JSON text."""
        text = json.dumps(self.products).encode()
        return {"histogram": self.histogram, "products": np.frombuffer(text, np.uint8)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take the sums of an object of this kind from its `state`."""
        self.histogram = state["histogram"]
        self.products = json.loads(state["products"].tobytes())

    def moments(self) -> tuple[Float, Float]:
        """Return mean (band,) and population covariance (band, band), each correctly rounded."""
        count, bands = self.count, len(self.histogram)
        sums = [_dot(row, self.values) for row in self.histogram]
        cov = np.empty((bands, bands))
        for i in range(bands):
            for j in range(i + 1):
                square = _dot(self.histogram[i], self.values**2)
                product = square if i == j else self.products[i][j]
                cov[i, j] = cov[j, i] = (count * product - sums[i] * sums[j]) / count**2
        return np.array([total / count for total in sums]), cov

    def percentile(self, q: float) -> Float:
        """Return the `q`-th percentile (0–100) of each band, as ``np.percentile`` has it."""
        rank = q / 100 * (self.count - 1)
        below, share = math.floor(rank), rank - math.floor(rank)
        ends = np.cumsum(self.histogram, axis=1)
        where = [np.searchsorted(row, [below, math.ceil(rank)], side="right") for row in ends]
        low, high = self.values[np.array(where)].T
        return np.asarray(low + share * (high - low), np.float64)


class FloatSums:
    """Running mean, scatter and a coarse logarithmic histogram, for every other type.

    Parameters
    ----------
    bands
        Number of bands.
    """

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.mean = np.zeros(bands)
        self.scatter = np.zeros((bands, bands))
        self.histogram = np.zeros((bands, 2**16), np.int64)

    def add(self, planes: list[Array]) -> None:
        """Take in the same pixels of each band.

        Raises
        ------
        DataError
            If a pixel is not finite.
        """
        part = FloatSums(len(planes))
        values = np.stack(planes).astype(np.float64)
        part.count = values.shape[1]
        part.mean = values.mean(axis=1)
        if not np.isfinite(part.mean).all():
            raise DataError(
                "a labelled pixel is not finite",
                remedy="Set the pair's nodata value, so that such pixels are ignored",
            )
        values -= part.mean[:, None]
        part.scatter = values @ values.T
        for band, plane in enumerate(planes):
            part.histogram[band] = np.bincount(_key(plane), minlength=2**16)
        self.merge(part)

    def merge(self, other: FloatSums) -> None:
        """Take in what another object of this kind has summed."""
        total = self.count + other.count
        if other.count == 0:
            return
        step = other.mean - self.mean
        weight = self.count * other.count / total
        self.scatter += other.scatter + np.outer(step, step) * weight
        self.mean = self.mean + step * (other.count / total)
        self.histogram += other.histogram
        self.count = total

    def state(self) -> dict[str, Array]:
        """Return arrays that hold the sums, to the last bit."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take the sums of an object of this kind from its `state`."""
        self.count = int(state["count"])
        self.mean, self.scatter = state["mean"], state["scatter"]
        self.histogram = state["histogram"]

    def moments(self) -> tuple[Float, Float]:
        """Return mean (band,) and population covariance (band, band)."""
        return self.mean, self.scatter / self.count

    def percentile(self, q: float) -> Float:
        """Return the `q`-th percentile (0–100) of each band, between values within 1/128."""
        rank = q / 100 * (self.count - 1)
        below, share = math.floor(rank), rank - math.floor(rank)
        low, high = (_ranked(self.histogram, at) for at in (below, math.ceil(rank)))
        return np.asarray(low + share * (high - low))


def _dot(counts: Int, values: Int) -> int:
    """Return Σ counts·values as an unbounded integer."""
    used = np.flatnonzero(counts)
    return sum(int(counts[k]) * int(values[k]) for k in used)


def _key(plane: Array) -> Int:
    """Map values to 16 bits that sort as the values do."""
    bits = (plane.astype(np.float32) + np.float32(0)).view(np.uint32) >> np.uint32(16)
    return np.where(bits < 0x8000, bits + 0x8000, 0xFFFF - bits).astype(np.int64)


def _ranked(histogram: Int, rank: int) -> Float:
    """Return about the value that has `rank` smaller ones, taking bins as evenly filled."""
    found = []
    for row in histogram:
        ends = np.cumsum(row)
        key = int(np.searchsorted(ends, rank, side="right"))
        low, high = sorted(_edges(key))
        found.append(low + (rank - (ends[key] - row[key]) + 0.5) / row[key] * (high - low))
    return np.array(found)


def _edges(key: int) -> tuple[float, float]:
    """Return the values at which the bin of `key` begins and ends."""
    bits = key - 0x8000 if key >= 0x8000 else 0xFFFF - key
    pair = np.array([bits << 16, (bits + 1) << 16], np.uint64).astype(np.uint32).view(np.float32)
    return float(pair[0]), float(pair[1])


def band_sums(bands: int, dtype: DTypeLike) -> BandSums:
    """Return empty sums, exact where the type allows it."""
    kind = np.dtype(dtype)
    small = kind.kind in "iu" and kind.itemsize <= 2
    return ExactSums(bands, kind) if small else FloatSums(bands)


def add_patches(sums: BandSums, image: Array, mask: Array) -> None:
    """Add the labelled pixels of some patches to `sums`.

    Parameters
    ----------
    sums
        From `band_sums`.
    image
        (patch, row, col, band).
    mask
        (patch, row, col, label) uint8; where it is 255 the pixel is skipped.
    """
    for pixels, seen in _runs(image, mask):
        planes = [np.ascontiguousarray(pixels[:, band]) for band in range(pixels.shape[1])]
        if not seen.all():
            planes = [plane[seen] for plane in planes]
        if planes[0].size:
            sums.add(planes)


def _runs(image: Array, mask: Array) -> Iterable[tuple[Array, NDArray[np.bool_]]]:
    pixels = image.reshape(-1, image.shape[-1])
    seen = mask.reshape(-1) != IGNORE
    for start in range(0, len(pixels), RUN_PX):
        yield pixels[start : start + RUN_PX], seen[start : start + RUN_PX]


def summarise(sums: BandSums, class_pixels: Iterable[int], dtype: DTypeLike) -> dict[str, Any]:
    """Return the statistics that a combined store keeps, as JSON values.

    Parameters
    ----------
    sums
        Over the labelled pixels of the train split; at least one.
    class_pixels
        Pixels of each class there.
    dtype
        Of the images: decides `scale`, the divisor that brings them to about 0–1. It is 255 for
        uint8, else the largest band's 99.9th percentile (1 where that is not positive).
    """
    mean, cov = sums.moments()
    percentiles = {f"{q:g}": sums.percentile(q).tolist() for q in PERCENTILES}
    top = max(percentiles["99.9"])
    scale = 255.0 if np.dtype(dtype) == np.uint8 else (top if top > 0 else 1.0)
    return {
        "count": sums.count,
        "mean": mean.tolist(),
        "std": np.sqrt(np.diag(cov)).tolist(),
        "covariance": cov.tolist(),
        "percentiles": percentiles,
        "class_pixels": [int(pixels) for pixels in class_pixels],
        "scale": float(scale),
    }
