"""Where patches lie on the ground: who owns a shared pixel, which block, and mosaics of them.

Patches of one pair and split may overlap. Each ground pixel belongs to the first patch that
covers it, in the order (pair, row0, col0), so that it is counted once whatever the overlap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from gim_cv.grid import PixelGrid
from gim_cv.ground import GroundSplit, cells_of
from gim_cv.patches import Window
from gim_cv.schema import pair_names

SQUARE = 8

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


class GroundBlocks:
    """Says which block of ground each pixel of a patch lies in.

    Blocks are the cells that the split was drawn with (`gim_cv.ground.cells_of`), so that pairs
    over one place share them; pairs whose split was given have cells two patches wide. Places
    are looked up for squares of 8 × 8 px; a square across the border to another split's cell
    counts for the nearest cell of its own.

    Parameters
    ----------
    patches
        A patch dataset.
    """

    def __init__(self, patches: xr.Dataset) -> None:
        self._places, self._split = Footprints.of(patches), patches["split"].to_numpy()
        pairs = [patches.attrs["pairs"][name] for name in pair_names(patches)]
        self._grids = [PixelGrid.from_attrs(pair) for pair in pairs]
        self._rules = [drawn_rule(pair) for pair in pairs]
        self._block_m = [block_side(pair, self._places.patch_px) for pair in pairs]

    def __call__(self, index: int) -> tuple[Ids, Ids]:
        """Return ``(k, 3)`` the blocks of patch `index`, and ``(px, px)`` which of them is where.

        A block is pair, row and column.
        """
        px, code = self._places.patch_px, int(self._places.pair[index])
        cells = self._own_cells(index, self._cells(index))
        found, which = np.unique(cells.reshape(-1, 2), axis=0, return_inverse=True)
        square = which.reshape(cells.shape[:2]).repeat(SQUARE, axis=0).repeat(SQUARE, axis=1)
        return np.insert(found, 0, code, axis=1), square[:px, :px]

    def _cells(self, index: int) -> Ids:
        places, code = self._places, int(self._places.pair[index])
        middle = np.arange(0, places.patch_px, SQUARE) + SQUARE / 2
        rows, cols = np.meshgrid(
            places.row0[index] + middle, places.col0[index] + middle, indexing="ij"
        )
        lon, lat = self._grids[code].lonlat(rows.ravel(), cols.ravel())
        cells = np.stack(cells_of(lon, lat, self._block_m[code]), axis=1)
        return cells.reshape(*rows.shape, 2)

    def _own_cells(self, index: int, cells: Ids) -> Ids:
        rule = self._rules[int(self._places.pair[index])]
        if rule is None:
            return cells
        foreign = rule.of_cells(cells[..., 0], cells[..., 1]) != self._split[index]
        if foreign.all():
            return cells
        row, col = ndimage.distance_transform_edt(
            foreign, return_distances=False, return_indices=True
        )
        return np.asarray(cells[row, col])


def drawn_rule(pair: Mapping[str, Any]) -> GroundSplit | None:
    """Return the rule that gave a pair's cells their splits; None if cells did not decide.

    Parameters
    ----------
    pair
        The pair's entry in the attributes of a patch dataset.
    """
    rule = pair["ground"]["rule"]
    return None if rule is None or rule["mode"] != "blocks" else GroundSplit(**rule)


def block_side(pair: Mapping[str, Any], patch_px: int) -> float:
    """Return the side of the blocks that a pair's ground falls into, m.

    Parameters
    ----------
    pair
        The pair's entry in the attributes of a patch dataset.
    patch_px
        Side of a patch, px.
    """
    rule = pair["ground"]["rule"]
    if rule is not None:
        return float(rule["block_m"])
    return 2 * patch_px * float(max(pair["resolution_m"]))


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


def put(
    canvas: Pixels, patch: Pixels, down: int, right: int, *, step: int = 1, over: bool = False
) -> None:
    """Write every `step`-th pixel of a patch into a canvas of every `step`-th pixel.

    Parameters
    ----------
    canvas, patch
        ``(h, w, ...)`` uint8.
    down, right
        Origin of the patch before thinning, px, 0 or more; what reaches beyond the canvas is cut.
    step
        Pixels whose row and column are divisible by it are kept.
    over
        Both have four channels, and transparent pixels of the patch leave the canvas as it is.
    """
    thin = patch[-down % step :: step, -right % step :: step]
    top, left = -(-down // step), -(-right // step)
    target = canvas[top : top + thin.shape[0], left : left + thin.shape[1]]
    thin = thin[: target.shape[0], : target.shape[1]]
    if over:
        np.copyto(target, thin, where=thin[..., 3:] > 0)
    else:
        target[...] = thin
