"""Colour PCA: along which axes the colours of a data set vary, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from gim_cv.errors import ConfigError, DataError
from gim_cv.patches import IGNORE
from gim_cv.statistics import add_patches, band_sums

Array = NDArray[Any]
Float = NDArray[np.float64]
SCALAR = 4
"""Channels of an OpenCV scalar."""


@dataclass(frozen=True)
class ColourSampler:
    """Draws colour shifts along the principal axes of the bands.

    Attributes
    ----------
    eig_vals
        (C,) variance along each axis, of images scaled to 0–1, largest first.
    eig_vecs
        (C, C) the axes, one a *column*, of length 1; the largest component of each is positive.
    alpha_std
        Standard deviation of the random factor on each axis.
    """

    eig_vals: Float
    eig_vecs: Float
    alpha_std: float

    @classmethod
    def of(cls, covariance: Float, alpha_std: float) -> Self:
        """Return the sampler of a covariance (C, C) of images scaled to 0–1."""
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))]
        return cls(values, vectors * np.sign(largest), alpha_std)

    def shift(self, rng: np.random.Generator) -> Float:
        """Return a random shift (C,) of all pixels of an image scaled to 0–1."""
        alpha = rng.normal(0.0, self.alpha_std, len(self.eig_vals))
        return np.asarray(self.eig_vecs @ (alpha * self.eig_vals))


class FancyPCA:
    """Krizhevsky's colour augmentation: a random shift along the data's own colour axes.

    Parameters
    ----------
    X_train
        Patches (N, h, w, C), numpy or dask; read once, block by block. Every pixel counts but those
        that are 0 in all bands: ground without an image would outweigh the colours.
    alpha_std
        Standard deviation of the factor on each axis.
    p
        Probability that a patch is shifted.
    scale
        Divisor that brings images to 0–1; None: 255 for uint8, 1 for floats.

    Raises
    ------
    ConfigError
        Neither rule gives `scale`.
    DataError
        All pixels are 0 in all bands.

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural
    networks", §4.1: Σ_i p_i α_i λ_i with eigenvectors p_i, eigenvalues λ_i and α_i normal.
    """

    def __init__(
        self, X_train: Any, alpha_std: float = 0.3, p: float = 1.0, scale: float | None = None
    ) -> None:
        dtype = np.dtype(X_train.dtype)
        sums = band_sums(X_train.shape[-1], dtype)
        for block in _blocks(X_train):
            blank = blank_pixels(block)
            mask = np.zeros(block.shape[:-1], np.uint8)
            add_patches(sums, block, mask if blank is None else np.where(blank, IGNORE, mask))
        if not sums.count:
            raise DataError("no colours: all pixels are 0 in all bands", found=X_train.shape)
        self._set(sums.moments()[1], _scale(dtype, scale), alpha_std, p)

    @classmethod
    def from_statistics(
        cls, statistics: Mapping[str, Any], *, alpha_std: float = 0.3, p: float = 1.0
    ) -> Self:
        """Return the augmentation of a combined store: no pixel is read.

        Parameters
        ----------
        statistics
            ``attrs["statistics"]`` of the store.
        alpha_std, p
            As for the class.
        """
        covariance, scale = np.array(statistics["covariance"], float), float(statistics["scale"])
        new = cls.__new__(cls)
        new._set(covariance, scale, alpha_std, p)  # noqa: SLF001  a second constructor
        return new

    def _set(self, covariance: Float, scale: float, alpha_std: float, p: float) -> None:
        if alpha_std < 0 or not 0 <= p <= 1:
            raise ConfigError(
                "FancyPCA", expected="alpha_std >= 0 and 0 <= p <= 1", found=(alpha_std, p)
            )
        self.alpha_std, self.p, self.scale = alpha_std, p, scale
        self.sampler = ColourSampler.of(covariance / scale**2, alpha_std)

    def __call__(self, image: Array, mask: Array, seed: int) -> tuple[Array, Array]:
        """Return the image with one random colour added to every pixel, and the mask as it is.

        In integer images, the colour is whole numbers, and sums stay in range.

        Parameters
        ----------
        image
            (h, w, C), in the units of the training images.
        mask
            (h, w, 1).
        seed
            Of the draws.

        Raises
        ------
        ConfigError
            The images of the constructor had another number of bands.
        """
        if image.shape[-1] != len(self.sampler.eig_vals):
            raise ConfigError(
                "FancyPCA was made from images of other bands",
                expected=f"{len(self.sampler.eig_vals)} bands",
                found=image.shape[-1],
            )
        rng = np.random.default_rng(seed)
        if rng.random() >= self.p:
            return image, mask
        shift = self.sampler.shift(rng) * self.scale
        return _shifted(image, shift), mask


def blank_pixels(image: Array) -> NDArray[np.bool_] | None:
    """Return where an image (…, band) is 0 in all bands; None: nowhere."""
    if image.all():  # most images have no 0 at all, and this tells them fast
        return None
    # Band by band: ten times as fast as any(axis=-1).
    blank = np.logical_and.reduce([image[..., k] == 0 for k in range(image.shape[-1])])
    return blank if blank.any() else None


def _shifted(image: Array, shift: Float) -> Array:
    if image.dtype.kind in "iu":
        shift = np.rint(shift)
    if image.dtype == np.uint8 and len(shift) <= SCALAR:  # saturates, and is twice as fast
        scalar: Any = (*shift.tolist(), *[0.0] * (SCALAR - len(shift)))
        return np.asarray(cv2.add(image, scalar)).reshape(image.shape)
    wide = np.float32 if image.dtype.itemsize <= 2 else np.float64
    moved: Array = np.add(image, shift.astype(wide), dtype=wide)
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        np.clip(moved, limits.min, limits.max, out=moved)
    return moved.astype(image.dtype)


def _scale(dtype: np.dtype[Any], scale: float | None) -> float:
    if scale is not None:
        return scale
    known = {"uint8": 255.0, "float32": 1.0, "float64": 1.0}
    if dtype.name not in known:
        raise ConfigError(
            f"no scale is known for {dtype.name} images",
            remedy="Give scale=, or use FancyPCA.from_statistics of the combined store",
        )
    return known[dtype.name]


def _blocks(patches: Any) -> Any:
    """Yield the numpy blocks of an array along its first axis, one at a time."""
    if not hasattr(patches, "chunks"):
        yield np.asarray(patches)
        return
    start = 0
    for length in patches.chunks[0]:
        yield np.asarray(patches[start : start + length])
        start += length
