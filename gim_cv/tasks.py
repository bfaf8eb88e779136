"""How patches are grouped into tasks: few enough to fit in memory, blocks decoded few times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.patches import PatchGrid

Int = NDArray[np.int64]
TASK_BYTES = 16 * 2**20
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

    The raster is divided into rectangles, and patches that begin in one are a group. Of all sizes
    of rectangles that `TASK_BYTES` allows, that is taken for which the file's blocks are decoded
    least often; among equals, the largest.

    Parameters
    ----------
    table
        (n, 3) row0, col0 (px) and split code, sorted.
    patches
        Size of the patches, and the distance between neighbours.
    cost
        What reading costs.
    """
    if len(table) == 0:
        return []
    down, across = _best_rectangle(table, patches, cost)
    row_group, col_group = table[:, 0] // down, table[:, 1] // across
    group = row_group * (int(col_group.max()) + 1) + col_group
    order = np.argsort(group, kind="stable")
    return np.split(table[order], np.flatnonzero(np.diff(group[order])) + 1)


def _best_rectangle(table: Int, patches: PatchGrid, cost: Cost) -> tuple[int, int]:
    """Return height and width of the rectangles, px: multiples of the patches' step."""
    tall, rows_decoded = _axis(np.unique(table[:, 0]), patches, cost.block[0], cost.factors[0])
    wide, cols_decoded = _axis(np.unique(table[:, 1]), patches, cost.block[1], cost.factors[1])
    fits = tall[:, None] * wide[None, :] * cost.pixel_bytes <= TASK_BYTES
    fits[0, 0] = True
    decoded = np.where(fits, rows_decoded[:, None] * cols_decoded[None, :], np.inf)
    area = tall[:, None] * wide[None, :]
    down, across = np.unravel_index(np.lexsort((-area.ravel(), decoded.ravel()))[0], area.shape)
    return (int(down) + 1) * patches.step, (int(across) + 1) * patches.step


def _axis(starts: Int, patches: PatchGrid, block: int, factor: float) -> tuple[Any, Any]:
    """Return, for rectangles of 1, 2, … steps, the longest group in px and the blocks decoded."""
    longest, decoded = [], []
    for size in range(1, int(starts[-1]) // patches.step + 2):
        opens = np.flatnonzero(np.diff(starts // (size * patches.step), prepend=-1))
        first, last = starts[opens], starts[np.append(opens[1:], len(starts)) - 1]
        last = last + patches.patch_px
        longest.append((last - first).max())
        begin, end = np.floor(first * factor / block), np.ceil(last * factor / block)
        decoded.append((end - begin).sum())
    return np.array(longest, float), np.array(decoded, float)
