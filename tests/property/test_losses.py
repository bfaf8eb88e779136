"""Every loss against a plain loop over pixels, and laws that hold for any batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from autograd import gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gim_cv.losses import LOSSES, get_loss

EPS = 1e-7
SHORT = {"surface": {"reach_px": 6}}  # no pixel of these patches is further from another
SHAPE = (2, 3, 4)
Pixel = tuple[int, list[float]]  # class id and the probability of each class


@st.composite
def batches(draw: st.DrawFn, classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Class ids with ignored pixels, and probabilities: sigmoid (K = 1) or softmax (K = 3)."""
    channels = draw(st.sampled_from([1, 3])) if classes is None else classes
    known = st.sampled_from([*range(max(channels, 2)), 255])
    ids = draw(hnp.arrays("uint8", (*SHAPE, 1), elements=known))
    raw = draw(
        hnp.arrays("float32", (*SHAPE, max(channels, 2)), elements=st.floats(0.0625, 1.0, width=32))
    )
    p = raw / raw.sum(axis=-1, keepdims=True)
    return ids, np.ascontiguousarray(p[..., 1:2] if channels == 1 else p).astype("float32")


def valid_pixels(ids: np.ndarray, p: np.ndarray) -> list[Pixel]:
    """The pixels that count, a sigmoid spread over (background, positive)."""
    found = []
    for index in np.ndindex(*SHAPE):
        if ids[index][0] != 255:
            row = [float(value) for value in p[index]]
            found.append((int(ids[index][0]), [1 - row[0], *row] if len(row) == 1 else row))
    return found


def foreground(pixels: list[Pixel], channels: int) -> list[int]:
    """The classes whose overlap counts: class 1 of a sigmoid, else all that are present."""
    if channels == 1:
        return [1]
    return [k for k in range(channels) if any(true == k for true, _ in pixels)]


def overlap(pixels: list[Pixel], channels: int, a: float, b: float, power: float = 1.0) -> float:
    losses = []
    for k in foreground(pixels, channels):
        tp = sum(row[k] for true, row in pixels if true == k)
        fn = sum(1 - row[k] for true, row in pixels if true == k)
        fp = sum(row[k] for true, row in pixels if true != k)
        losses.append(max(1 - (tp + 1) / (tp + a * fn + b * fp + 1), 1e-6 if power < 1 else 0))
    return sum(loss**power for loss in losses) / max(len(losses), 1)


def log(p: float) -> float:
    return math.log(min(max(p, EPS), 1 - EPS))


def mean(values: list[float]) -> float:
    return sum(values) / max(len(values), 1)


def one_vs_rest(pixels: list[Pixel], channels: int, weight: float) -> float:
    ks = [1] if channels == 1 else list(range(channels))
    return mean(
        [
            -mean([weight * log(row[k]) if true == k else log(1 - row[k]) for k in ks])
            for true, row in pixels
        ]
    )


def weighted(pixels: list[Pixel], weights: list[float]) -> float:
    return mean([-weights[true] * log(row[true]) for true, row in pixels])


def shares(pixels: list[Pixel], classes: int) -> list[int]:
    return [sum(true == k for true, _ in pixels) for k in range(classes)]


def wbce_adaptive(pixels: list[Pixel], channels: int) -> float:
    n = shares(pixels, max(channels, 2))
    if channels == 1:
        return weighted(pixels, [1.0, min(max(n[0] / max(n[1], 1), 1e-3), 1e3)])
    return weighted(pixels, [sum(n) / (len(n) * max(k, 1)) for k in n])


def bbce_adaptive(pixels: list[Pixel], channels: int) -> float:
    n = shares(pixels, max(channels, 2))
    return weighted(pixels, [1 - k / max(sum(n), 1) for k in n])


def focal(pixels: list[Pixel], channels: int) -> float:
    share = [0.75, 0.25] if channels == 1 else [0.25] * channels
    return mean([-share[t] * max(1 - row[t], EPS) ** 2 * log(row[t]) for t, row in pixels])


def lovasz(pixels: list[Pixel], channels: int, *, hinge: bool) -> float:
    """The sum over thresholds of the Jaccard loss of the worst pixels, one pixel at a time."""
    losses = []
    for k in foreground(pixels, channels):
        errors = []
        for true, row in pixels:
            sign = 1 if true == k else -1
            margin = 1 - sign * (log(row[k]) - log(1 - row[k]))
            errors.append((max(margin, 0) if hinge else abs((true == k) - row[k]), true == k))
        errors.sort(key=lambda pair: -pair[0])
        positives = sum(positive for _, positive in errors)
        before, total = 0.0, 0.0
        for rank in range(1, len(errors) + 1):
            wrong = errors[:rank]
            missed = sum(positive for _, positive in wrong)
            union = positives + sum(not positive for _, positive in wrong)
            jaccard = 1 - (positives - missed) / max(union, 1)
            total += errors[rank - 1][0] * (jaccard - before)
            before = jaccard
        losses.append(total)
    return sum(losses) / max(len(losses), 1)


REFERENCES: dict[str, Callable[[list[Pixel], int], float]] = {
    "tversky": lambda px, c: overlap(px, c, 0.7, 0.3),
    "focal_tversky": lambda px, c: overlap(px, c, 0.7, 0.3, 0.75),
    "dice": lambda px, c: overlap(px, c, 0.5, 0.5),
    "jaccard": lambda px, c: overlap(px, c, 1.0, 1.0),
    "bce": lambda px, c: one_vs_rest(px, c, 1.0),
    "wbce": lambda px, c: one_vs_rest(px, c, 2.0),
    "wbce_adaptive": wbce_adaptive,
    "bbce_adaptive": bbce_adaptive,
    "categorical_crossentropy": lambda px, c: weighted(px, [1.0] * max(c, 2)),
    "focal_crossentropy": focal,
    "bce_dice": lambda px, c: one_vs_rest(px, c, 1.0) + overlap(px, c, 0.5, 0.5),
    "lovasz_hinge": lambda px, c: lovasz(px, c, hinge=True),
    "lovasz_softmax": lambda px, c: lovasz(px, c, hinge=False),
    "wbce_adaptive_dice": lambda px, c: wbce_adaptive(px, c) + overlap(px, c, 0.5, 0.5),
}


def test_every_loss_has_a_reference() -> None:
    assert {*REFERENCES, "surface"} == set(LOSSES)


def distances(ids: np.ndarray, k: int) -> np.ndarray:
    """Signed distance of each valid pixel to the other kind, by trying every pair of pixels."""
    signed = np.zeros(ids.shape)
    inside = [tuple(at) for at in np.argwhere(ids == k)]
    outside = [tuple(at) for at in np.argwhere((ids != k) & (ids != 255))]
    if inside and outside:
        for at in inside:
            signed[at] = 1 - min(math.dist(at, other) for other in outside)
        for at in outside:
            signed[at] = min(math.dist(at, other) for other in inside)
    return signed


@settings(max_examples=25, deadline=None)
@given(batch=batches(), alpha=st.sampled_from([0.0, 0.25, 1.0]))
def test_surface_equals_a_loop_over_pairs_of_pixels(
    batch: tuple[np.ndarray, np.ndarray], alpha: float
) -> None:
    ids, p = batch
    ks = [1] if p.shape[-1] == 1 else [0, 1, 2]
    signed = [[distances(ids[b, ..., 0], k) for k in ks] for b in range(len(ids))]
    product = np.moveaxis(np.array(signed), 1, -1) * p
    expected = product.mean(-1)[ids[..., 0] != 255].sum() / max((ids != 255).sum(), 1)
    region = overlap(valid_pixels(ids, p), p.shape[-1], 0.5, 0.5)
    loss = get_loss("surface", {"start": alpha, "end": 0.0, "reach_px": 6})
    value = alpha * region + (1 - alpha) * expected
    assert float(loss(ids, p)) == pytest.approx(value, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", sorted(REFERENCES))
@settings(max_examples=25, deadline=None)
@given(batch=batches())
def test_equals_a_loop_over_pixels(name: str, batch: tuple[np.ndarray, np.ndarray]) -> None:
    ids, p = batch
    expected = REFERENCES[name](valid_pixels(ids, p), p.shape[-1])
    assert float(get_loss(name)(ids, p)) == pytest.approx(expected, rel=2e-4, abs=2e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
@settings(max_examples=10, deadline=None)
@given(batch=batches(), level=st.floats(0, 1, width=32))
def test_ignored_pixels_count_for_nothing(
    name: str, batch: tuple[np.ndarray, np.ndarray], level: float
) -> None:
    ids, p = batch
    other = np.where(ids == 255, np.float32(level), p)
    loss = get_loss(name, SHORT.get(name))
    assert float(loss(ids, other)) == float(loss(ids, p))
    slope = gradient(lambda x: loss(ids, x), other)
    assert np.isfinite(slope).all()
    assert not np.where(ids == 255, slope, 0.0).any()


@settings(max_examples=25, deadline=None)
@given(batch=batches())
def test_tversky_of_halves_is_dice(batch: tuple[np.ndarray, np.ndarray]) -> None:
    half = get_loss("tversky", {"alpha": 0.5, "beta": 0.5})
    assert float(half(*batch)) == float(get_loss("dice")(*batch))


@pytest.mark.parametrize("name", sorted(LOSSES))
@settings(max_examples=10, deadline=None)
@given(ids=hnp.arrays("uint8", (*SHAPE, 1), elements=st.sampled_from([0, 1, 255])))
def test_the_truth_scores_no_worse_than_its_opposite(name: str, ids: np.ndarray) -> None:
    loss = get_loss(name, SHORT.get(name))
    if name == "surface":
        loss.on_epoch(50)
    truth = (ids == 1).astype("float32")
    assert float(loss(ids, truth)) <= float(loss(ids, 1 - truth)) + 1e-6
