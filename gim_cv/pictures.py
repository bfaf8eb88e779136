"""Pictures of patches and ground: the image, both outlines, and where the model errs.

Pure arrays in, ``(h, w, 3)`` or ``(h, w, 4)`` uint8 arrays out; the same arrays give the same
PNG bytes. The colours stay apart under the common kinds of colour blindness.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Png
from scipy import ndimage

from gim_cv.scores import IGNORE

Picture = NDArray[np.uint8]
Ids = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Pixel = TypeVar("Pixel", bound=np.generic)

TRUTH = (255, 225, 77)
PREDICTION = (0, 205, 255)
FOUND, INVENTED, MISSED = (100, 143, 255), (255, 176, 0), (220, 38, 127)
PALETTE = (
    (90, 90, 90),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


def display_bands(names: Sequence[str]) -> list[int]:
    """Return which bands to show: red, green, blue by name, else the first three, else one."""
    lower = [name.lower() for name in names]
    if {"red", "green", "blue"} <= set(lower):
        return [lower.index(name) for name in ("red", "green", "blue")]
    return [0, 1, 2] if len(names) >= 3 else [0]


def limits(images: NDArray[np.generic], seen: Mask) -> NDArray[np.float64]:
    """Return ``(bands, 2)`` darkest and brightest values to show: percentiles 1 and 99.

    Parameters
    ----------
    images
        ``(n, h, w, bands)``, any number type.
    seen
        ``(n, h, w)``: pixels to look at; where none is set, all are looked at.
    """
    pixels = images[seen] if seen.any() else images.reshape(-1, images.shape[-1])
    finite = np.where(np.isfinite(pixels), pixels, np.nan).astype(np.float64)
    low, high = np.nanpercentile(finite, (1, 99), axis=0)
    return np.stack([low, np.maximum(high, low + 1e-6)], axis=1)


def stretched(image: NDArray[np.generic], shown: NDArray[np.float64]) -> Picture:
    """Return ``(..., 3)`` uint8: values from each band's darkest to brightest, one band as grey.

    Parameters
    ----------
    image
        ``(..., bands)`` of one or three bands, any number type.
    shown
        ``(bands, 2)`` from `limits`.
    """
    low, high = shown[:, 0], shown[:, 1]
    scaled = (np.nan_to_num(image.astype(np.float64)) - low) / (high - low)
    picture = np.floor(np.clip(scaled, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.broadcast_to(picture, (*picture.shape[:-1], 3)).copy()


def enlarged(array: NDArray[Pixel], times: int) -> NDArray[Pixel]:
    """Return an array with each pixel repeated `times` × `times`."""
    return array.repeat(times, axis=0).repeat(times, axis=1)


def outlines(picture: Picture, truth: Ids, guess: Mask, *, times: int = 1) -> Picture:
    """Return the picture with both outlines: truth wide and yellow, prediction thin and cyan.

    Parameters
    ----------
    picture
        ``(h, w, 3)`` uint8.
    truth
        ``(h, w)`` class ids; foreground is any but 0 and 255.
    guess
        ``(h, w)`` predicted foreground.
    times
        Enlargement of the result.
    """
    out = enlarged(picture, times)
    real = enlarged((truth != 0) & (truth != IGNORE), times)
    said = enlarged(guess & (truth != IGNORE), times)
    wide, thin = max(times, 2), max(times * 2 // 3, 1)
    out[_edge(real, wide + 1)] = _dark(out)[_edge(real, wide + 1)]
    out[_edge(real, wide)] = TRUTH
    out[_edge(said, thin)] = PREDICTION
    return _hatched(out, enlarged(truth == IGNORE, times))


def errors(picture: Picture, truth: Ids, guess: Mask, *, times: int = 1) -> Picture:
    """Return a grey picture tinted where foreground is found, invented or missed.

    Parameters
    ----------
    picture, truth, guess, times
        As in `outlines`.
    """
    grey = picture.mean(-1, keepdims=True).repeat(3, -1) * 0.55 + 18
    real, seen = (truth != 0) & (truth != IGNORE), truth != IGNORE
    for where, colour, weight in (
        (real & guess, FOUND, 0.5),
        (~real & guess & seen, INVENTED, 0.8),
        (real & ~guess, MISSED, 0.8),
    ):
        grey[where] = grey[where] * (1 - weight) + np.array(colour) * weight
    return _hatched(enlarged(_bytes(grey), times), enlarged(truth == IGNORE, times))


def class_map(picture: Picture, ids: Ids, *, times: int = 1) -> Picture:
    """Return the picture under a tint of each class but 0; 255 is hatched."""
    tinted = picture.astype(np.float64)
    for index in np.unique(ids):
        if index not in {0, IGNORE}:
            colour = np.array(PALETTE[index % len(PALETTE)])
            tinted[ids == index] = tinted[ids == index] * 0.4 + colour * 0.6
    return _hatched(enlarged(_bytes(tinted), times), enlarged(ids == IGNORE, times))


def panels(
    picture: Picture,
    truth: Ids,
    guess: NDArray[np.uint8],
    *,
    classes: int,
    times: int,
) -> list[Picture]:
    """Return the pictures that explain one patch, left to right.

    Two classes: image, outlines, errors. More: image, truth, prediction, errors.

    Parameters
    ----------
    picture
        ``(h, w, 3)`` uint8.
    truth, guess
        ``(h, w)`` class ids.
    classes
        Number of classes.
    times
        Enlargement.
    """
    plain = enlarged(picture, times)
    if classes == 2:
        said = guess == 1
        return [
            plain,
            outlines(picture, truth, said, times=times),
            errors(picture, truth, said, times=times),
        ]
    grey = picture.mean(-1, keepdims=True).repeat(3, -1) * 0.55 + 18
    wrong = (guess != truth) & (truth != IGNORE)
    grey[wrong] = grey[wrong] * 0.2 + np.array(MISSED) * 0.8
    return [
        plain,
        class_map(picture, truth, times=times),
        class_map(picture, guess, times=times),
        _hatched(enlarged(_bytes(grey), times), enlarged(truth == IGNORE, times)),
    ]


def is_blank(image: NDArray[np.generic]) -> Mask:
    """Return where an image ``(..., bands)`` holds nothing: 0 in each band, or not a number."""
    return np.asarray(((image == 0) | np.isnan(image)).all(-1))


def with_holes(picture: Picture, holes: Mask) -> Picture:
    """Return ``(h, w, 4)`` uint8: the picture, transparent in the holes."""
    return np.dstack([picture[..., :3], np.where(holes, 0, 255).astype(np.uint8)])


def cropped(picture: Picture) -> Picture:
    """Return the smallest part of an ``(h, w, 4)`` picture with all that is not transparent."""
    rows, cols = (np.flatnonzero(picture[..., 3].any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return picture
    return picture[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]


def side_by_side(pictures: Sequence[Picture], gap: int = 6) -> Picture:
    """Return the pictures in one row, `gap` transparent px between them; ``(h, w, 4)`` uint8."""
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] + gap for picture in pictures) - gap
    row = np.zeros((height, width, 4), np.uint8)
    left = 0
    for picture in pictures:
        part = row[: picture.shape[0], left : left + picture.shape[1]]
        part[..., :3] = picture[..., :3]
        part[..., 3] = picture[..., 3] if picture.shape[-1] == 4 else 255
        left += picture.shape[1] + gap
    return row


def write_png(path: Path, picture: Picture) -> None:
    """Write a PNG without any text chunk or time."""
    Png.fromarray(picture).save(path, format="PNG", optimize=True)


def _edge(mask: Mask, px: int) -> Mask:
    inside = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=px, border_value=1)
    return np.asarray(mask & ~inside)


def _dark(picture: Picture) -> Picture:
    return _bytes(picture * 0.35)


def _hatched(picture: Picture, where: Mask) -> Picture:
    """Dim `where` and draw diagonal stripes over it: not part of any score."""
    rows, cols = np.indices(where.shape)
    stripes = (rows + cols) // 3 % 4 == 0
    dim = picture * 0.45 + 40
    out = np.where(where[..., None], np.where(stripes[..., None], dim + 45, dim), picture)
    return _bytes(out)


def _bytes(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.floor(np.clip(values, 0, 255) + 0.5), dtype=np.uint8)
