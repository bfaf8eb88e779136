"""Proof, from what their stores say, that no two pairs put one place into two splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.errors import DataError
from gim_cv.ground import METRES_PER_DEGREE, GroundSplit, cell_width, cells_of
from gim_cv.patches import SPLITS

Array = NDArray[Any]
_EDGE_DEG = 1e-8  # a millimetre: footprints that only touch do not overlap


def certify(pairs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a certificate that no pixel of the pairs shares ground with another split.

    Within a pair, and between pairs split by the same rule, that holds by construction: every
    pixel that another split's cell touches was blanked. What is left to check are pairs whose
    footprints overlap and that were split otherwise: as a whole, by areas, or by another rule.

    Parameters
    ----------
    pairs
        Name → ``attrs["pairs"][name]`` of the pair's store.

    Returns
    -------
    dict
        ``pairs`` (names), ``checked`` (overlapping couples that had to be compared),
        ``shared_pixels`` (0) and ``gap_m`` (least distance between ground of two splits: what the
        rule guarantees, or between areas or the footprints of pairs; None where all is of one
        split).

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
        if i >= j or _same_rule(grounds[i], grounds[j]):
            continue
        shared = _inside(shapely.intersection(shapes[i], shapes[j]))
        if not shared.is_empty:
            checked.append([names[i], names[j]])
            _compare({names[i]: grounds[i], names[j]: grounds[j]}, shared)
    found = {"pairs": names, "checked": checked, "shared_pixels": 0}
    return found | {"gap_m": _gap_m(grounds)}


def _same_rule(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["rule"] is not None and one["rule"] == other["rule"]


def _inside(shape: Any) -> Any:
    """Return a shape without the millimetre along its edge."""
    return shapely.buffer(shape, -_EDGE_DEG)


def _gap_m(grounds: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the least distance between ground of two splits, m, to the millimetre.

    Longitudes are measured along the parallel farthest from the equator: never too much.
    """
    parts = [(ground, *part) for ground in grounds for part in _parts(ground)]
    shapes = np.array([shape for _, _, shape in parts])
    shrink = np.cos(np.radians(np.abs(shapely.get_coordinates(shapes)[:, 1]).max()))
    flat = shapely.transform(shapes, lambda xy: xy * METRES_PER_DEGREE * [shrink, 1])
    gaps: list[float] = [
        g["rule"]["buffer_m"] for g in grounds if g["rule"] and len(g["splits"]) > 1
    ]
    most = min(gaps) if gaps else _enough_m(parts, flat)
    if most is None or most <= 0:
        return most
    left, right = shapely.STRtree(flat).query(flat, predicate="dwithin", distance=most + 1e-6)
    apart = shapely.distance(flat[left], flat[right])
    for i, j, metres in zip(left.tolist(), right.tolist(), apart.tolist(), strict=True):
        (one, splits, _), (other, more, _) = parts[i], parts[j]
        if i < j and len({*splits, *more}) > 1:
            sure = one["rule"]["buffer_m"] if _same_rule(one, other) else 0.0
            gaps.append(max(metres, sure))
    return round(min(gaps), 3)


def _enough_m(
    parts: Sequence[tuple[Mapping[str, Any], list[str], Any]], flat: Array
) -> float | None:
    """Return a distance, m, that the least between parts, each of one split, is not above.

    Nearest neighbours are asked for, so that not each part is compared with each. None where all
    are of one split.
    """
    names = np.array([splits[0] for _, splits, _ in parts])
    found = []
    for name in np.unique(names)[1:]:
        tree = shapely.STRtree(flat[names != name])
        found.append(tree.query_nearest(flat[names == name], return_distance=True)[1].min())
    sure = [ground["rule"]["buffer_m"] for ground, _, _ in parts if ground["rule"]]
    return max(float(min(found)), *sure, 0.0) if found else None


def _parts(ground: Mapping[str, Any]) -> list[tuple[list[str], Any]]:
    """Return the splits and the outline (degrees) of each part of a pair's ground."""
    if ground["areas"]:
        return [([split], shapely.from_wkt(text)) for split, text in ground["areas"].items()]
    return [(list(ground["splits"]), shapely.from_wkt(ground["footprint"]))]


def _compare(grounds: Mapping[str, Mapping[str, Any]], shared: Any) -> None:
    """Raise DataError unless both pairs put each place of `shared` (degrees) into one split."""
    (first, ours), (second, theirs) = (
        (name, _ground_in(ground, shared)) for name, ground in grounds.items()
    )
    for one, mine in ours.items():
        for other, there in theirs.items():
            both = _inside(shapely.intersection(mine, there))
            if one != other and not both.is_empty:
                middle = both.point_on_surface()
                raise DataError(
                    f"pairs {first} and {second} put the same ground into different splits",
                    expected="one split for the ground that both show",
                    found=f"{one} in {first}, {other} in {second}, for instance at longitude "
                    f"{middle.x:.6f}, latitude {middle.y:.6f}",
                    remedy="Give both the same split, split_areas or rule",
                )


def _ground_in(ground: Mapping[str, Any], shared: Any) -> dict[str, Any]:
    """Return split → the part of `shared` that a pair gives to it, degrees."""
    if ground["rule"] is None:
        parts = {splits[0]: shape for splits, shape in _parts(ground)}
    else:
        parts = _cells_in(GroundSplit(**ground["rule"]), shared)
    return {split: shapely.intersection(shape, shared) for split, shape in parts.items()}


def _cells_in(rule: GroundSplit, shared: Any) -> dict[str, Any]:
    """Return split → the cells of a rule that meet `shared`."""
    west, south, east, north = shared.bounds
    (first, last), _ = cells_of(np.zeros(2), np.array([south, north]), rule.block_m)
    rows = [_row_cells(rule, row, west, east, shared) for row in range(first, last + 1)]
    codes, cells = (np.concatenate(part) for part in zip(*rows, strict=True))
    return {
        SPLITS[code]: shapely.union_all(cells[codes == code]) for code in np.unique(codes).tolist()
    }


def _row_cells(
    rule: GroundSplit, row: int, west: float, east: float, shared: Any
) -> tuple[Array, Array]:
    """Return the split codes and boxes of the cells of one row that meet `shared`."""
    width = float(cell_width(np.array([row]), rule.block_m)[0])
    cols = np.arange(np.floor(west / width), np.floor(east / width) + 1).astype(np.int64)
    height = rule.block_m / METRES_PER_DEGREE
    boxes = shapely.box(cols * width, row * height, (cols + 1) * width, (row + 1) * height)
    met = shapely.intersects(boxes, shared)
    return rule.of_cells(np.full(met.sum(), row), cols[met]), boxes[met]
