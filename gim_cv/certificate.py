"""Proof, from what their stores say, that no two pairs put one place into two splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.errors import DataError
from gim_cv.ground import METRES_PER_DEGREE, GroundSplit, cell_width, cells_of, split_names

Array = NDArray[Any]
_EDGE_DEG = 1e-8  # a millimetre: footprints that only touch do not overlap


def certify(pairs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a certificate that no pixel of the pairs shares ground with another split.

    Within a pair, and between pairs split by the same rule, that holds by construction: every
    pixel that another split's cell touches was blanked. What is left to check are pairs whose
    footprints overlap and that were split otherwise: as a whole, or by another rule.

    Parameters
    ----------
    pairs
        Name → ``attrs["pairs"][name]`` of the pair's store.

    Returns
    -------
    dict
        ``pairs`` (names), ``checked`` (overlapping couples that had to be compared),
        ``shared_pixels`` (0) and ``gap_m`` (least distance between ground of two splits: what the
        rule guarantees, or between the footprints of pairs; None where all is of one split).

    Raises
    ------
    DataError
        Two pairs put the same place into different splits.
    """
    names = sorted(pairs)
    grounds = [pairs[name]["ground"] for name in names]
    shapes = np.array([shapely.from_wkt(ground["footprint"]) for ground in grounds])
    left, right = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    checked = []
    for i, j in sorted(zip(left.tolist(), right.tolist(), strict=True)):
        same_rule = grounds[i]["rule"] is not None and grounds[i]["rule"] == grounds[j]["rule"]
        if i >= j or same_rule:
            continue
        shared = shapely.buffer(shapely.intersection(shapes[i], shapes[j]), -_EDGE_DEG)
        if not shared.is_empty:
            checked.append([names[i], names[j]])
            _compare({names[i]: grounds[i], names[j]: grounds[j]}, shared)
    found = {"pairs": names, "checked": checked, "shared_pixels": 0}
    return found | {"gap_m": _gap_m(grounds, shapes)}


def _gap_m(grounds: list[Mapping[str, Any]], shapes: Array) -> float | None:
    """Return the least distance between ground of two splits, m, to the millimetre.

    Longitudes are measured along the parallel farthest from the equator: never too much.
    """
    shrink = np.cos(np.radians(np.abs(shapely.get_coordinates(shapes)[:, 1]).max()))
    flat = shapely.transform(shapes, lambda xy: xy * METRES_PER_DEGREE * [shrink, 1])
    gaps = [ground["rule"]["buffer_m"] for ground in grounds if len(ground["splits"]) > 1]
    for i, one in enumerate(grounds):
        apart = shapely.distance(flat[i], flat[i + 1 :])
        for other, metres in zip(grounds[i + 1 :], apart.tolist(), strict=True):
            if len({*one["splits"], *other["splits"]}) > 1:
                same = one["rule"] is not None and one["rule"] == other["rule"]
                gaps.append(max(metres, one["rule"]["buffer_m"]) if same else metres)
    return round(min(gaps), 3) if gaps else None


def _compare(grounds: Mapping[str, Mapping[str, Any]], shared: Any) -> None:
    """Raise DataError unless both pairs put all of `shared` (degrees) into the same one split."""
    found = {name: _splits_in(ground, shared) for name, ground in grounds.items()}
    (first, ours), (second, theirs) = found.items()
    if ours != theirs or len(ours) > 1:
        raise DataError(
            f"pairs {first} and {second} put the same ground into different splits",
            expected="one split for the ground that both show",
            found=f"{' and '.join(ours)} in {first}, {' and '.join(theirs)} in {second}",
            remedy="Set split of both pairs to the same value, or prepare both with one rule",
        )


def _splits_in(ground: Mapping[str, Any], shared: Any) -> list[str]:
    """Return the names of the splits that a pair gives to the ground `shared`."""
    if ground["rule"] is None:
        return list(ground["splits"])
    rule = GroundSplit(**ground["rule"])
    west, south, east, north = shared.bounds
    (first, last), _ = cells_of(np.zeros(2), np.array([south, north]), rule.block_m)
    codes = [_row_codes(rule, row, west, east, shared) for row in range(first, last + 1)]
    return split_names(np.concatenate(codes))


def _row_codes(rule: GroundSplit, row: int, west: float, east: float, shared: Any) -> Array:
    """Return the split codes of the cells of one row that meet `shared`."""
    width = float(cell_width(np.array([row]), rule.block_m)[0])
    cols = np.arange(np.floor(west / width), np.floor(east / width) + 1).astype(np.int64)
    height = rule.block_m / METRES_PER_DEGREE
    boxes = shapely.box(cols * width, row * height, (cols + 1) * width, (row + 1) * height)
    met = cols[shapely.intersects(boxes, shared)]
    return rule.of_cells(np.full(len(met), row), met)
