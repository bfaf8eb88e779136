"""How patches are grouped into tasks: few enough to fit in memory, blocks decoded few times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.patches import PatchGrid

Int = NDArray[np.int64]
TASK_BYTES = 12 * 2**20
"""About the most that a task may read, bytes."""


@dataclass(frozen=True)
class Cost:
    """What reading a patch's pixels costs.

    Attributes
    ----------
    block
        Height and width of the file's blocks, px of the file.
    factors
        Pixels of the file, down and across, that make one of the patches.
    pixel_bytes
        Memory for each pixel of the patches' grid that is read.
    """

    block: tuple[int, int]
    factors: tuple[float, float]
    pixel_bytes: float


def group_tasks(table: Int, patches: PatchGrid, cost: Cost) -> list[Int]:
    """Return the rows of `table` in groups of neighbouring patches, to be read at once.

    Of all groups of whole rows and columns of patches that `TASK_BYTES` allows, those are taken
    for which the file's blocks are decoded least often; among equals, the largest.

    Parameters
    ----------
    table
        (n, 3) row0, col0 (px) and split code, sorted.
    patches
        The grid of patches.
    cost
        What reading costs.
    """
    if len(table) == 0:
        return []
    down, across = _best_group(patches, cost)
    row_group = np.searchsorted(patches.rows, table[:, 0]) // down
    col_group = np.searchsorted(patches.cols, table[:, 1]) // across
    group = row_group * (len(patches.cols) // across + 1) + col_group
    order = np.argsort(group, kind="stable")
    return np.split(table[order], np.flatnonzero(np.diff(group[order])) + 1)


def _best_group(patches: PatchGrid, cost: Cost) -> tuple[int, int]:
    """Return how many rows and columns of patches make a task."""
    px = patches.patch_px
    tall, rows_decoded = _axis(patches.rows, px, cost.block[0], cost.factors[0])
    wide, cols_decoded = _axis(patches.cols, px, cost.block[1], cost.factors[1])
    fits = tall[:, None] * wide[None, :] * cost.pixel_bytes <= TASK_BYTES
    fits[0, 0] = True
    decoded = np.where(fits, rows_decoded[:, None] * cols_decoded[None, :], np.inf)
    area = tall[:, None] * wide[None, :]
    down, across = np.unravel_index(np.lexsort((-area.ravel(), decoded.ravel()))[0], area.shape)
    return int(down) + 1, int(across) + 1


def _axis(starts: Int, px: int, block: int, factor: float) -> tuple[Any, Any]:
    """Return, for groups of 1, 2, … starts, the longest group in px and the blocks decoded."""
    longest, decoded = [], []
    for size in range(1, len(starts) + 1):
        first, last = starts[::size], np.append(starts[size - 1 :: size], starts[-1])
        last = last[: len(first)] + px
        longest.append((last - first).max())
        begin, end = np.floor(first * factor / block), np.ceil(last * factor / block)
        decoded.append((end - begin).sum())
    return np.array(longest, float), np.array(decoded, float)
