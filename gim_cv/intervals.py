"""Error bars from counts per ground block: the block bootstrap.

Neighbouring pixels are not independent, and neighbouring patches hardly; blocks of ground are
drawn instead, with replacement, and the pooled score of each draw is computed from counts, so
that the model is not run again.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from gim_cv.errors import DataError, MissingError
from gim_cv.scores import vectorised

MIN_BLOCKS = 8
"""Below this many blocks no interval is given: it would be too narrow to be honest."""

Key = tuple[int, ...]
Blocks = Mapping[Key, NDArray[np.int64]]


@dataclass(frozen=True)
class Interval:
    """A score with its percentile interval.

    Attributes
    ----------
    value
        The score of all blocks.
    low, high
        Ends of the interval.
    blocks
        How many blocks were drawn from.
    """

    value: float
    low: float
    high: float
    blocks: int


def read_counts(path: Path, split: str) -> dict[Key, NDArray[np.int64]]:
    """Return the confusion counts of each ground block of a split from ``counts.parquet``.

    Two pairs over one block add up: their pixels show the same ground.
    """
    if not path.is_file():
        raise MissingError("no counts", path=path, remedy="Run the evaluate stage")
    table = parquet.read_table(path, filters=[("split", "=", split)])
    classes = int(table.schema.metadata[b"classes"])
    found: dict[Key, NDArray[np.int64]] = {}
    columns = ("block_row", "block_col", "true", "predicted", "pixels")
    for row, col, true, predicted, pixels in zip(
        *(table[name].to_pylist() for name in columns), strict=True
    ):
        counts = found.setdefault((row, col), np.zeros((classes, classes), np.int64))
        counts[true, predicted] += pixels
    return found


def interval(
    blocks: Blocks, *, measure: str, seed: int, repeats: int = 2000, level: float = 0.95
) -> Interval | None:
    """Return a score's percentile bootstrap interval over blocks, None for fewer than 8 blocks.

    Parameters
    ----------
    blocks
        Block → ``(K, K)`` confusion counts.
    measure
        One of ``gim_cv.scores.MEASURES``: of class 1 where K is 2, else the macro mean.
    seed
        Seed of the draws.
    repeats
        Number of draws.
    level
        Nominal coverage.
    """
    if len(blocks) < MIN_BLOCKS:
        return None
    counts = np.stack([blocks[key] for key in sorted(blocks)]).astype(np.float64)
    score = vectorised(measure, counts.shape[-1])
    drawn = score(resampled(counts, seed=seed, repeats=repeats))
    value = float(score(counts.sum(0)))
    return _interval(value, drawn, level, len(blocks))


def paired_difference(
    first: Blocks,
    second: Blocks,
    *,
    measure: str,
    seed: int,
    repeats: int = 2000,
    level: float = 0.95,
) -> Interval | None:
    """Return the interval of (first - second), both scored on the same draws of blocks.

    Parameters
    ----------
    first, second
        Counts of two runs on the same ground.
    measure, seed, repeats, level
        As in `interval`.

    Raises
    ------
    DataError
        The runs were not scored on the same labelled pixels.
    """
    check_same_ground(first, second)
    if len(first) < MIN_BLOCKS:
        return None
    keys = sorted(first)
    one, other = (
        np.stack([run[key] for key in keys]).astype(np.float64) for run in (first, second)
    )
    score = vectorised(measure, one.shape[-1])
    draws = [score(resampled(run, seed=seed, repeats=repeats)) for run in (one, other)]
    value = float(score(one.sum(0)) - score(other.sum(0)))
    return _interval(value, draws[0] - draws[1], level, len(keys))


def behind_best(
    runs: Sequence[Blocks], *, measure: str, seed: int, repeats: int = 2000, level: float = 0.95
) -> list[Interval | None]:
    """Return how far each run is behind the best, with intervals that hold for all pairs at once.

    The best of many equal runs is best by luck. An interval for each pair alone would leave 0 out
    for one of twelve such runs nearly always; these do so in few of a hundred cases.

    Parameters
    ----------
    runs
        Counts of each run on the same ground.
    measure, seed, repeats
        As in `interval`.
    level
        Nominal probability that every interval between two runs holds its true difference.

    Returns
    -------
    list
        One interval a run (of 0 for the best itself); None for a run without a score, and for all
        where there are fewer than 8 blocks.

    Raises
    ------
    DataError
        The runs were not scored on the same labelled pixels.

    Notes
    -----
    Source: Romano and Wolf, Exact and approximate stepdown methods for multiple hypothesis testing,
    2005: the largest studentised difference of all pairs, its distribution from the bootstrap.
    """
    for run in runs[1:]:
        check_same_ground(runs[0], run)
    if len(runs[0]) < MIN_BLOCKS:
        return [None] * len(runs)
    keys = sorted(runs[0])
    counts = [np.stack([run[key] for key in keys]).astype(np.float64) for run in runs]
    score = vectorised(measure, counts[0].shape[-1])
    values = np.array([score(run.sum(0)) for run in counts])
    known = np.flatnonzero(np.isfinite(values))
    found: list[Interval | None] = [None] * len(runs)
    if not len(known):
        return found
    drawn = np.array([score(resampled(counts[k], seed=seed, repeats=repeats)) for k in known])
    drawn = drawn[:, np.isfinite(drawn).all(0)]
    times = _critical(values[known], drawn, level)
    best = int(values[known].argmax())
    spread = (drawn[best] - drawn).std(1)
    for index, width in zip(known, times * spread, strict=True):
        behind = float(values[known[best]] - values[index])
        found[index] = Interval(behind, behind - float(width), behind + float(width), len(keys))
    return found


def _critical(values: NDArray[np.float64], drawn: NDArray[np.float64], level: float) -> float:
    """How many standard deviations hold all pairs' differences in `level` of the draws."""
    largest = np.zeros(drawn.shape[1])
    centred = drawn - values[:, None]
    for index in range(len(values) - 1):
        apart = centred[index] - centred[index + 1 :]
        spread = apart.std(1, keepdims=True)
        ratio = np.divide(np.abs(apart), spread, out=np.zeros_like(apart), where=spread > 0)
        np.maximum(largest, ratio.max(0), out=largest)
    return float(np.quantile(largest, level)) if largest.size else 0.0


def check_same_ground(first: Blocks, second: Blocks) -> None:
    """Return if two runs were scored on the same pixels of the same blocks.

    Raises
    ------
    DataError
        They were not.
    """
    same = first.keys() == second.keys() and all(
        first[key].sum(1).tolist() == second[key].sum(1).tolist() for key in first
    )
    if not same:
        raise DataError(
            "the runs were scored on different ground",
            expected=f"{len(first)} blocks with equal labels",
            found=f"{len(second)} blocks, or other labels in them",
            remedy="Evaluate both runs on the same combined store",
        )


def resampled(counts: NDArray[np.float64], *, seed: int, repeats: int) -> NDArray[np.float64]:
    """Return ``(repeats, K, K)`` sums of as many blocks as there are, drawn with replacement.

    Parameters
    ----------
    counts
        ``(n, K, K)`` counts of n blocks.
    seed
        The same seed draws the same blocks.
    repeats
        Number of draws.
    """
    blocks = len(counts)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=repeats)
    return np.tensordot(weights.astype(np.float64), counts, axes=1)


def _interval(
    value: float, drawn: NDArray[np.float64], level: float, blocks: int
) -> Interval | None:
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(known):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), blocks)
