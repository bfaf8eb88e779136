"""The split by ground: which place on Earth belongs to train, val or test.

The Earth is covered by cells about `block_m` metres wide and high, in rows along the parallels. A
cell's split depends on the seed and on the cell alone: not on which scenes there are, nor on their
CRS or resolution. Adding or removing a scene moves no cell, and two scenes of one place agree.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.errors import ConfigError
from gim_cv.patches import SPLITS

Int = NDArray[np.int64]
Float = NDArray[np.float64]
METRES_PER_DEGREE = 111_320.0
"""Length of a degree of latitude that the cells are laid out with, m."""
_SIDE = 4  # cells along a side of the squares within which splits are balanced
MODES = ("blocks", "pairs")


@dataclass(frozen=True)
class GroundSplit:
    """A rule that gives every place on Earth a split.

    Parameters
    ----------
    mode
        "blocks": by cells on the ground. "pairs": each pair as a whole, by its name.
    block_m
        Side of a cell, m.
    fractions
        Shares of train, val and, where there are three, test; they sum to 1.
    seed
        Another seed is another assignment.
    buffer_m
        Least distance between ground of two splits, m: half of it on each side is in no split.
    folds
        0: one fixed split. Else the number of parts of all that is not test, of which part
        `fold` is val.
    fold
        Which part is val, from 0.

    Raises
    ------
    ConfigError
        A value out of range.
    """

    mode: str
    block_m: float
    fractions: tuple[float, ...]
    seed: int
    buffer_m: float
    folds: int
    fold: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", tuple(float(f) for f in self.fractions))
        total = math.fsum(self.fractions)
        shares = len(self.fractions) in (2, 3) and min(self.fractions) >= 0
        if not shares or abs(total - 1) > 1e-6:
            expected = "2 or 3 shares that sum to 1"
            raise ConfigError("bad split fractions", expected=expected, found=list(self.fractions))
        if self.mode not in MODES:
            expected = " or ".join(MODES)
            raise ConfigError("unknown split mode", expected=expected, found=self.mode)
        if self.block_m <= 0 or self.buffer_m < 0:
            expected = "block_m above 0 and buffer_m of 0 or more"
            found = f"{self.block_m} and {self.buffer_m}"
            raise ConfigError("bad length", expected=expected, found=found)
        if self.folds == 1 or self.folds < 0 or not 0 <= self.fold < max(self.folds, 1):
            expected = "folds 0, or 2 and more, and fold below folds"
            raise ConfigError("bad folds", expected=expected, found=f"{self.folds}, {self.fold}")

    def of_draw(self, draw: Float) -> NDArray[np.int8]:
        """Return the split codes of uniform draws in [0, 1)."""
        train, val = self.fractions[:2]
        test = draw >= train + val if len(self.fractions) == 3 else np.zeros(draw.shape, bool)
        if self.folds:
            rest = train + val if len(self.fractions) == 3 else 1.0
            part = np.floor(draw / rest * self.folds).astype(np.int64)
            is_val = np.minimum(part, self.folds - 1) == self.fold
        else:
            is_val = draw >= train
        return np.where(test, 2, np.where(is_val, 1, 0)).astype(np.int8)

    def of_cells(self, rows: Int, cols: Int) -> NDArray[np.int8]:
        """Return the split codes of cells (see `cells_of`)."""
        return self.of_draw(draw(self.seed, rows, cols))

    def of_places(self, lon: Float, lat: Float) -> NDArray[np.int8]:
        """Return the split codes of places (degrees, WGS 84), buffer not counted."""
        return self.of_cells(*cells_of(lon, lat, self.block_m))

    def of_pair(self, name: str) -> int:
        """Return the split code of a whole pair in mode "pairs": a hash of seed and name."""
        digest = hashlib.blake2b(f"{self.seed}:{name}".encode(), digest_size=8).digest()
        share = (int.from_bytes(digest, "big") >> 11) / 2**53
        return int(self.of_draw(np.array([share]))[0])

    def attrs(self) -> dict[str, Any]:
        """Return the rule as JSON-able values."""
        return {
            "mode": self.mode,
            "block_m": self.block_m,
            "fractions": list(self.fractions),
            "seed": self.seed,
            "buffer_m": self.buffer_m,
            "folds": self.folds,
            "fold": self.fold,
        }


def cells_of(lon: Float, lat: Float, block_m: float) -> tuple[Int, Int]:
    """Return row and column of the cells that hold the places (degrees, WGS 84).

    Row ``i`` is the i-th strip of `block_m` metres north of the equator; columns are as wide in
    metres, measured along the strip's middle parallel, east of Greenwich.
    """
    rows = np.floor(lat * METRES_PER_DEGREE / block_m).astype(np.int64)
    cols = np.floor(_wrapped(lon) / cell_width(rows, block_m)).astype(np.int64)
    return rows, cols


def cell_width(rows: Int, block_m: float) -> Float:
    """Return the width in degrees of the cells of a row."""
    middle = (rows + 0.5) * block_m / METRES_PER_DEGREE
    shrink = np.cos(np.radians(np.clip(middle, -89.9, 89.9)))
    return np.asarray(block_m / (METRES_PER_DEGREE * shrink))


def _wrapped(lon: Float) -> Float:
    """Return longitudes in [-180, 180)."""
    return (lon + 180.0) % 360.0 - 180.0


def draw(seed: int, rows: Int, cols: Int) -> Float:
    """Return a number in [0, 1) for each cell: a pure function of seed and cell.

    Cells are drawn in squares of 4 × 4: each square holds the sixteen ranks once, in hashed
    order, plus one hashed offset. So every square has nearly the shares asked for, and over the
    Earth the draws are uniform.
    """
    rows, cols = np.broadcast_arrays(np.asarray(rows, np.int64), np.asarray(cols, np.int64))
    down, across = np.divmod(rows, _SIDE), np.divmod(cols, _SIDE)
    square = _mix(_mix(_mix(np.uint64(seed % 2**64)) ^ _bits(down[0])) ^ _bits(across[0]))
    place = (down[1] * _SIDE + across[1]).astype(np.uint64)
    keys = _mix(square[..., None] ^ _mix(np.arange(_SIDE**2, dtype=np.uint64)))
    own = np.take_along_axis(keys, place[..., None].astype(np.int64), axis=-1)
    rank = (keys < own).sum(axis=-1)
    offset = (_mix(square ^ np.uint64(_SIDE**2)) >> np.uint64(11)) / 2.0**53
    return np.asarray((rank + offset) / _SIDE**2)


def _bits(values: Int) -> NDArray[np.uint64]:
    return values.astype(np.int64).view(np.uint64)


def _mix(values: Any) -> Any:
    """Return a hash of 64-bit numbers (splitmix64; Steele, Lea and Flood 2014, figure 17)."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def split_names(codes: NDArray[np.int8]) -> list[str]:
    """Return the sorted names of the splits that occur among `codes`."""
    return [SPLITS[code] for code in np.unique(codes).tolist()]
