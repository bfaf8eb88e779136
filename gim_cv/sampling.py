"""Which patches an epoch takes: balance as an index with repeats, never as copied pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.errors import ConfigError, DataError
from gim_cv.patches import SPLITS, split_code
from gim_cv.schema import pair_names

Int = NDArray[np.int64]


def split_index(patches: xr.Dataset, split: str) -> Int:
    """Return the positions of the patches of one split, ascending, each once.

    Raises
    ------
    UnknownError
        There is no such split.
    """
    return np.flatnonzero(patches["split"].to_numpy() == split_code(split))


def filled_index(patches: xr.Dataset, split: str) -> Int:
    """Return `split_index` of a split that has patches.

    Raises
    ------
    DataError
        It has none: how many each split has is told.
    UnknownError
        There is no such split.
    """
    index = split_index(patches, split)
    if not index.size:
        counts = [f"{name} {len(split_index(patches, name))}" for name in SPLITS]
        raise DataError(
            f"no patch in the {split} split",
            found=f"patches: {', '.join(counts)}",
            remedy=f"Give {split} a larger share of the split, or add ground",
        )
    return index


def balanced_index(
    patches: xr.Dataset, split: str = "train", *, groups: Mapping[str, str] | None = None
) -> Int:
    """Return positions in which every group comes equally often, the largest one once per patch.

    Within a group no patch comes more than once oftener than another, and the extra ones are
    spread evenly over the group; the counts are exact for any ratio.

    Parameters
    ----------
    patches
        A patch dataset.
    split
        Its split to balance.
    groups
        Pair name → group, e.g. the dataset's tag; None: each pair is a group.

    Returns
    -------
    numpy.ndarray
        (groups × patches of the largest,) int64, ascending, with repeats.

    Raises
    ------
    ConfigError
        A pair has no group.
    """
    index = split_index(patches, split)
    names = pair_names(patches)
    missing = [name for name in names if groups is not None and name not in groups]
    if missing:
        found = f"none for {', '.join(missing)}"
        raise ConfigError("groups", expected="a group for each pair", found=found)
    labels = np.array([name if groups is None else groups[name] for name in names])
    group = labels[patches["pair"].to_numpy()[index]]
    members = [index[group == label] for label in np.unique(group)]
    most = max((len(rows) for rows in members), default=0)
    return np.sort(np.concatenate([_spread(rows, most) for rows in members] or [index]))


def balanced_oversample(patches: xr.Dataset, *, groups: Mapping[str, str] | None = None) -> Int:
    """Return `balanced_index` of the train split: an `oversample_fn` of training datasets."""
    return balanced_index(patches, "train", groups=groups)


def class_aware_index(patches: xr.Dataset, split: str = "train", *, share: float) -> Int:
    """Return positions in which at least about `share` of the patches hold a class beyond 0.

    With several such classes each is aimed at an equal part of `share`, and a patch is repeated
    for the rarest class that it holds. Every patch comes at least once.

    Parameters
    ----------
    patches
        A patch dataset.
    split
        Its split to sample.
    share
        Above 0, below 1.

    Returns
    -------
    numpy.ndarray
        int64, ascending, with repeats.

    Raises
    ------
    ConfigError
        If `share` is out of range.
    DataError
        If no patch of the split holds such a class.
    """
    if not 0 < share < 1:
        raise ConfigError("share of patches with objects", expected="above 0, below 1", found=share)
    index = split_index(patches, split)
    holds = patches["class_pixels"].to_numpy()[index, 1:] > 0
    held = holds.mean(axis=0) if len(index) else np.zeros(holds.shape[1])
    if not held.any():
        raise DataError(
            f"no patch of the {split} split holds a class beyond {patches.attrs['classes'][0]!r}",
            remedy="Set train.oversample to null",
        )
    wanted = (holds * _factors(held, share / np.count_nonzero(held))).max(axis=1)
    factor = np.maximum(wanted, 1.0)
    parts = [(index[factor == value], value) for value in np.unique(factor)]
    return np.sort(np.concatenate([_spread(rows, round(f * len(rows))) for rows, f in parts]))


def _factors(held: NDArray[Any], share: float) -> NDArray[Any]:
    """Return how often to repeat a class's patches so that they make up `share` of all."""
    odds = np.divide(1 - held, held, out=np.zeros_like(held), where=held > 0)
    return np.asarray(odds * share / (1 - share))


def _spread(rows: Int, total: int) -> Int:
    """Return `rows` repeated to `total` positions, as evenly as whole numbers allow."""
    return rows[np.arange(total) * len(rows) // max(total, 1)]


def epoch_index(patches: xr.Dataset, split: str, oversample: Int | float | None) -> Int:
    """Return the positions of an epoch, ascending.

    Parameters
    ----------
    patches
        A patch dataset.
    split
        "train", "val" or "test".
    oversample
        None: each patch of the split once. A number: the share of `class_aware_index`. Positions:
        those (`chosen_index`).

    Raises
    ------
    DataError
        The split has no patch.
    """
    index = filled_index(patches, split)
    if oversample is None:
        return index
    if np.ndim(oversample) == 0:
        return class_aware_index(patches, split, share=float(oversample))
    return chosen_index(patches, split, oversample)


def chosen_index(patches: xr.Dataset, split: str, positions: Any) -> Int:
    """Return positions of a split that somebody chose, ascending, repeats allowed.

    Parameters
    ----------
    patches
        A patch dataset.
    split
        "train", "val" or "test".
    positions
        (n,) integers, in any order.

    Raises
    ------
    ConfigError
        They are no integers, or some are no patches of the split.
    """
    chosen, index = np.asarray(positions), split_index(patches, split)
    what, wanted = "positions to oversample", f"integers, positions of the {split} split"
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise ConfigError(
            what,
            expected=wanted,
            found=f"{chosen.dtype.name} of shape {chosen.shape}",
            remedy="Give np.flatnonzero(mask) for a mask" if chosen.dtype == bool else None,
        )
    other = np.unique(chosen[~np.isin(chosen, index)])
    if other.size:
        some = ", ".join(map(str, other[:5].tolist())) + (", …" if other.size > 5 else "")
        raise ConfigError(what, expected=wanted, found=f"{other.size} that are not: {some}")
    return np.sort(chosen.astype(np.int64))


def shard_index(index: Int, number: int, count: int) -> Int:
    """Return part `number` of `count` parts of an index, each a stretch of it.

    Raises
    ------
    ConfigError
        There is no such part.
    """
    if not 0 <= number < count:
        expected, found = "a number from 0, and how many there are", f"({number}, {count})"
        raise ConfigError("shard", expected=expected, found=found)
    return np.array_split(index, count)[number]
