"""Whole objects and their edges: what a pixel score does not tell.

Objects are connected patches of one class (diagonals connect). Buildings that touch are one
object, in truth and prediction alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gim_cv.scores import ratio

EIGHT = np.ones((3, 3), bool)
SIZES_M2 = (50.0, 200.0)
"""Borders between small, medium and large objects, m²."""
SIZE_NAMES = ("small", "medium", "large")

Mask = NDArray[np.bool_]
Areas = NDArray[np.float64]


@dataclass
class ObjectCounts:
    """Objects of one class, counted by their size.

    Attributes
    ----------
    truth, found
        Objects in truth, and how many of them are matched, by the truth's size; ``(3,)`` int64.
    predicted, right
        Predicted objects, and how many are matched, by the prediction's size; ``(3,)`` int64.
    edge
        Pixels of the class's edge in both, and in either; ``(2,)`` int64.
    """

    truth: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    found: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    predicted: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    right: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    edge: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))

    def add(self, truth: Mask, guess: Mask, seen: Mask, *, pixel_m2: float, edge_px: int) -> None:
        """Count the objects of one window.

        Parameters
        ----------
        truth, guess
            ``(h, w)`` bool: where the class is, and where it is predicted.
        seen
            ``(h, w)`` bool: pixels that count; others belong to no object and make no edge.
        pixel_m2
            Area of a pixel, m².
        edge_px
            Width of the edge for boundary IoU, px.
        """
        real, said = truth & seen, guess & seen
        matched = match_objects(real, said)
        for areas, hits, total, good in (
            (matched.truth_px, matched.truth_hit, self.truth, self.found),
            (matched.guess_px, matched.guess_hit, self.predicted, self.right),
        ):
            bins = np.digitize(areas * pixel_m2, SIZES_M2)
            np.add(total, np.bincount(bins, minlength=3), out=total)
            np.add(good, np.bincount(bins[hits], minlength=3), out=good)
        one, other = (edge(mask, seen, edge_px) for mask in (real, said))
        self.edge += [(one & other).sum(), (one | other).sum()]

    def summary(self) -> dict[str, object]:
        """Return precision, recall and F1 of objects, by size too, and the boundary IoU."""
        by_size = {
            name: _object_scores(*(part[[k]] for part in self._parts()))
            for k, name in enumerate(SIZE_NAMES)
        }
        return {
            **_object_scores(*self._parts()),
            "by_size": by_size,
            "boundary_iou": ratio(int(self.edge[0]), int(self.edge[1])),
        }

    def _parts(self) -> Sequence[NDArray[np.int64]]:
        return self.truth, self.found, self.predicted, self.right


@dataclass(frozen=True)
class Matches:
    """Which objects of truth and prediction belong together.

    Attributes
    ----------
    truth_px, guess_px
        Area of each object, px.
    truth_hit, guess_hit
        Whether it has a partner.
    """

    truth_px: Areas
    truth_hit: Mask
    guess_px: Areas
    guess_hit: Mask


def match_objects(truth: Mask, guess: Mask) -> Matches:
    """Return which objects overlap with an IoU above 0.5.

    Above one half no object can have two partners, so that no assignment has to be solved.

    Source: Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4.1.

    Parameters
    ----------
    truth, guess
        ``(h, w)`` bool.
    """
    real, reals = ndimage.label(truth, EIGHT)
    said, saids = ndimage.label(guess, EIGHT)
    real_px = np.bincount(real.ravel(), minlength=reals + 1)
    said_px = np.bincount(said.ravel(), minlength=saids + 1)
    both = (real > 0) & (said > 0)
    pairs, common = np.unique(
        real[both].astype(np.int64) * (saids + 1) + said[both], return_counts=True
    )
    one, other = pairs // (saids + 1), pairs % (saids + 1)
    hit = 2 * common > real_px[one] + said_px[other] - common
    real_hit, said_hit = np.zeros(reals + 1, bool), np.zeros(saids + 1, bool)
    real_hit[one[hit]], said_hit[other[hit]] = True, True
    return Matches(
        real_px[1:].astype(np.float64), real_hit[1:], said_px[1:].astype(np.float64), said_hit[1:]
    )


def edge(mask: Mask, seen: Mask, width_px: int) -> Mask:
    """Return the pixels of a mask within `width_px` of its outline; the end of `seen` is none.

    Source: Cheng et al., Boundary IoU, CVPR 2021, definition 1, with the chessboard distance.
    """
    solid = mask | ~seen
    inside = ndimage.binary_erosion(solid, EIGHT, iterations=width_px, border_value=1)
    return np.asarray(mask & ~inside)


def edge_width(patch_px: int) -> int:
    """Return the edge's width, px: 2 % of a patch's diagonal, as in the source of `edge`."""
    return max(1, round(0.02 * 2**0.5 * patch_px))


def _object_scores(
    truth: NDArray[np.int64],
    found: NDArray[np.int64],
    predicted: NDArray[np.int64],
    right: NDArray[np.int64],
) -> dict[str, object]:
    recall = ratio(int(found.sum()), int(truth.sum()))
    precision = ratio(int(right.sum()), int(predicted.sum()))
    f1 = ratio(int(found.sum()) + int(right.sum()), int(truth.sum()) + int(predicted.sum()))
    return {
        "truth": int(truth.sum()),
        "predicted": int(predicted.sum()),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
