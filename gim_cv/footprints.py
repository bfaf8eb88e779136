"""Where patches lie on the ground: who owns a shared pixel, which block, and mosaics of them.

Patches of one pair and split may overlap. Each ground pixel belongs to the first patch that
covers it, in the order (pair, row0, col0), so that it is counted once whatever the overlap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.grid import PixelGrid
from gim_cv.ground import cells_of
from gim_cv.patches import Window
from gim_cv.schema import pair_names

Ids = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Footprints:
    """Places of patches: pair id and pixel origin on the pair's aligned grid, each ``(n,)``."""

    pair: Ids
    row0: Ids
    col0: Ids
    patch_px: int

    @classmethod
    def of(cls, patches: xr.Dataset) -> Footprints:
        """Return the places of the patches of a patch dataset, in its order."""
        pair, row0, col0 = (
            patches[name].to_numpy().astype(np.int64) for name in ("pair", "row0", "col0")
        )
        return cls(pair, row0, col0, int(patches.sizes["row"]))

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.pair)


def ground_blocks(patches: xr.Dataset) -> Ids:
    """Return ``(n, 3)`` pair, block row and block column of each patch's centre on the Earth.

    Blocks are cells of `gim_cv.ground.cells_of`, two patches wide on the coarsest pair: pairs
    over the same ground share them, so that a bootstrap never takes one place for two.
    """
    half = patches.sizes["row"] / 2
    block_m = 4 * half * max(max(pair["resolution_m"]) for pair in patches.attrs["pairs"].values())
    ids, rows, cols = (patches[name].to_numpy() for name in ("pair", "row0", "col0"))
    blocks = np.stack([ids.astype(np.int64)] * 3, axis=1)
    for code, name in enumerate(pair_names(patches)):
        here = ids == code
        grid = PixelGrid.from_attrs(patches.attrs["pairs"][name])
        lon, lat = grid.lonlat(rows[here] + half, cols[here] + half)
        blocks[here, 1], blocks[here, 2] = cells_of(lon, lat, block_m)
    return blocks


class Ownership:
    """Says which pixels of a patch no earlier patch has covered.

    Memory grows with the number of patches, not with the size of the rasters.
    """

    def __init__(self, places: Footprints) -> None:
        self._places = places
        order = np.lexsort((places.col0, places.row0, places.pair))
        self._rank = np.empty(len(places), np.int64)
        self._rank[order] = np.arange(len(places))
        self._near: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for index in range(len(places)):
            self._near[self._cell(index)].append(index)

    def __call__(self, index: int) -> NDArray[np.bool_]:
        """Return ``(px, px)`` bool: True where patch `index` owns the pixel."""
        places, px = self._places, self._places.patch_px
        own = np.ones((px, px), bool)
        for other in self._neighbours(index):
            down = int(places.row0[other] - places.row0[index])
            right = int(places.col0[other] - places.col0[index])
            if self._rank[other] < self._rank[index] and abs(down) < px and abs(right) < px:
                own[max(down, 0) : px + min(down, 0), max(right, 0) : px + min(right, 0)] = False
        return own

    def _cell(self, index: int) -> tuple[int, int, int]:
        places, px = self._places, self._places.patch_px
        return (
            int(places.pair[index]),
            int(places.row0[index]) // px,
            int(places.col0[index]) // px,
        )

    def _neighbours(self, index: int) -> Iterable[int]:
        pair, row, col = self._cell(index)
        for near_row in (row - 1, row, row + 1):
            for near_col in (col - 1, col, col + 1):
                yield from self._near.get((pair, near_row, near_col), ())


def windows_of(places: Footprints, pair: int, max_px: int) -> list[tuple[Window, Ids]]:
    """Return windows of at most about `max_px` a side that hold patches, with their indices.

    Patches that touch end up in one window where it fits; ground without patches costs
    nothing. Sorted by (row0, col0).
    """
    chosen = np.flatnonzero(places.pair == pair)
    step = max(max_px - places.patch_px, places.patch_px)
    cells = np.stack([places.row0[chosen] // step, places.col0[chosen] // step], axis=1)
    found = []
    for cell in np.unique(cells, axis=0):
        members = chosen[(cells == cell).all(axis=1)]
        top, left = int(places.row0[members].min()), int(places.col0[members].min())
        bottom, right = int(places.row0[members].max()), int(places.col0[members].max())
        px = places.patch_px
        found.append((Window(top, left, bottom + px - top, right + px - left), members))
    return found


def paste(
    patches: Pixels, members: Ids, places: Footprints, window: Window, *, fill: int
) -> Pixels:
    """Return one ``(height, width, ...)`` uint8 array with the patches where they lie.

    Parameters
    ----------
    patches
        ``(n, px, px, ...)`` uint8, in the order of `members`.
    members
        Indices into `places`.
    places, window
        Where each patch lies, and the rectangle to draw.
    fill
        Value of ground without a patch.
    """
    canvas = np.full((window.height, window.width, *patches.shape[3:]), fill, np.uint8)
    for index, patch in zip(members, patches, strict=True):
        put(canvas, patch, int(places.row0[index]) - window.row0, places.col0[index] - window.col0)
    return canvas


def owned_pixels(
    owns: Ownership, members: Ids, places: Footprints, window: Window
) -> NDArray[np.bool_]:
    """Return ``(height, width)`` bool: the window's pixels that one of `members` owns."""
    seen = np.zeros((window.height, window.width), bool)
    px = places.patch_px
    for index in members.tolist():
        down, right = places.row0[index] - window.row0, places.col0[index] - window.col0
        seen[down : down + px, right : right + px] |= owns(index)
    return seen


def put(canvas: Pixels, patch: Pixels, down: int, right: int, *, step: int = 1) -> None:
    """Write every `step`-th pixel of a patch into a canvas of every `step`-th pixel.

    Parameters
    ----------
    canvas, patch
        ``(h, w, ...)`` uint8.
    down, right
        Origin of the patch before thinning, px, 0 or more; what reaches beyond the canvas is cut.
    step
        Pixels whose row and column are divisible by it are kept.
    """
    thin = patch[-down % step :: step, -right % step :: step]
    top, left = -(-down // step), -(-right // step)
    target = canvas[top : top + thin.shape[0], left : left + thin.shape[1]]
    target[...] = thin[: target.shape[0], : target.shape[1]]
