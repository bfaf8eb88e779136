"""One pass over predictions: counts per ground block, and the predictions kept for pictures.

The model runs once. For a binary model each block keeps a histogram of probability by truth, so
that any threshold can be applied afterwards; for more classes, a confusion matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from gim_cv.curves import LEVELS, as_levels, counts_at, histogram
from gim_cv.errors import DataError, MissingError
from gim_cv.footprints import Footprints, Ownership
from gim_cv.scores import IGNORE, Counts, confusion
from gim_cv.symmetry import Image, Predict

SHARD = 256
CHUNK = 16

Ids = NDArray[np.uint8]
Block = tuple[int, int, int]
Blocks = Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass
class Tally:
    """Counts of one split.

    Attributes
    ----------
    classes
        Number of classes K.
    blocks
        (pair, block row, block column) → ``(2, 256)`` histogram where K is 2, else ``(K, K)``
        confusion counts; int64.
    by_class
        ``(K, 2, 256)`` int64: each class against the rest, over the whole split.
    """

    classes: int
    blocks: dict[Block, Counts] = field(default_factory=dict)
    by_class: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.by_class = np.zeros((self.classes, 2, LEVELS), np.int64)

    @property
    def histogram(self) -> Counts:
        """``(2, 256)`` int64: pixels of the split by truth and level of the foreground."""
        return np.asarray(self.by_class[1])

    def add(self, block: Block, counts: Counts) -> None:
        """Add counts to a block; a block without a pixel is left out."""
        if not counts.any():
            return
        self.blocks[block] = self.blocks[block] + counts if block in self.blocks else counts

    def counts(self, level: int) -> dict[Block, Counts]:
        """Return ``(K, K)`` confusion counts per block, sorted; `level` cuts a binary model."""
        blocks = sorted(self.blocks.items())
        if self.classes == 2:
            return {block: counts_at(counts, level) for block, counts in blocks}
        return dict(blocks)

    def total(self, level: int) -> Counts:
        """Return ``(K, K)`` confusion counts of the whole split."""
        zero = np.zeros((self.classes, self.classes), np.int64)
        return sum(self.counts(level).values(), start=zero)


def decide(probability: NDArray[np.floating], classes: int) -> Ids:
    """Return what is kept of a prediction: levels where K is 2, else the likeliest class ids.

    Parameters
    ----------
    probability
        ``(B, h, w, K)``; or ``(B, h, w, 1)``, the probability of class 1, where K is 2.
    classes
        Number of classes K.

    Returns
    -------
    numpy.ndarray
        ``(B, h, w)`` uint8.
    """
    channels = (1, 2) if classes == 2 else (classes,)
    if probability.ndim != 4 or probability.shape[-1] not in channels:
        raise DataError(
            "the model predicts another number of classes than the store holds",
            expected=f"(batch, row, col, {channels[-1]}) for {classes} classes",
            found=probability.shape,
            remedy="Train on this store, or evaluate on the store that the run was trained on",
        )
    if classes == 2:
        return as_levels(probability[..., -1])
    return np.asarray(probability.argmax(-1), dtype=np.uint8)


def tally(
    batches: Iterable[tuple[Image, Ids]],
    predict: Predict,
    places: Footprints,
    blocks: Blocks,
    *,
    classes: int,
    keep: Callable[[Ids], None] | None = None,
) -> Tally:
    """Return the counts of every patch of a split, each ground pixel counted once.

    Parameters
    ----------
    batches
        ``(B, h, w, C)`` float32 images and ``(B, h, w, 1)`` uint8 class ids (255 ignored), in
        the order of `places`.
    predict
        Images to probabilities, ``(B, h, w, 1)`` where K is 2, else ``(B, h, w, K)``.
    places
        Where the patches lie.
    blocks
        Says which blocks of ground a patch covers, as `gim_cv.footprints.GroundBlocks` does.
    classes
        Number of classes K.
    keep
        Called with each batch's ``(B, h, w)`` uint8 decisions (see `decide`).
    """
    result, owns = Tally(classes), Ownership(places)
    index = 0
    for images, labels in batches:
        probability = np.asarray(predict(images))
        kept = decide(probability, classes)
        if keep is not None:
            keep(kept)
        for offset in range(len(kept)):
            truth = np.where(owns(index), labels[offset, ..., 0], IGNORE)
            _count(result, blocks(index), truth, kept[offset], probability[offset])
            index += 1
    if index != len(places):
        raise DataError("the batches miss patches", expected=len(places), found=index)
    return result


def _count(
    result: Tally,
    blocks: tuple[NDArray[np.int64], NDArray[np.int64]],
    truth: NDArray[np.integer],
    kept: Ids,
    probability: NDArray[np.floating],
) -> None:
    names, which = blocks
    for number, (pair, row, col) in enumerate(names.tolist()):
        here = np.where(which == number, truth, IGNORE)
        if result.classes == 2:
            result.add((pair, row, col), histogram(here, kept))
        else:
            result.add((pair, row, col), confusion(here, kept, result.classes))
    if result.classes == 2:
        counts = histogram(truth, kept)
        result.by_class += np.stack([counts[::-1, ::-1], counts])
        return
    for index in range(result.classes):
        one = np.where(truth == IGNORE, IGNORE, truth == index)
        result.by_class[index] += histogram(one, as_levels(probability[..., index]))


class PredictionWriter:
    """Writes decisions, batch by batch, into one array of a zarr group; use as a context.

    Parameters
    ----------
    path
        The zarr group.
    split
        Name of the array.
    shape
        Patches, height, width.
    """

    def __init__(self, path: Path, split: str, shape: tuple[int, int, int]) -> None:
        group = zarr.open_group(path, mode="a", zarr_format=3)
        tile = shape[1:]
        self._array = group.create_array(
            split,
            shape=shape,
            dtype="uint8",
            chunks=(CHUNK, *tile),
            shards=(SHARD, *tile),
            compressors=ZstdCodec(level=1),
            fill_value=0,
        )
        self._waiting: list[Ids] = []
        self._written = 0

    def __call__(self, batch: Ids) -> None:
        """Take ``(B, h, w)`` uint8; whole shards go to disk, so memory stays at one shard."""
        self._waiting.append(batch)
        if sum(map(len, self._waiting)) >= SHARD:
            self._flush(whole=True)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left, unless an error is on its way."""
        if kind is None:
            self._flush(whole=False)

    def _flush(self, *, whole: bool) -> None:
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting)
        ready = len(rows) // SHARD * SHARD if whole else len(rows)
        self._array[self._written : self._written + ready] = rows[:ready]
        self._waiting = [rows[ready:]]
        self._written += ready


def read_predictions(path: Path, split: str, wanted: Iterable[int]) -> Iterator[Ids]:
    """Yield ``(h, w)`` uint8 decisions of chosen patches of a split, in the order asked.

    Raises
    ------
    MissingError
        There are no predictions for that split.
    """
    if not (path / split).is_dir():
        raise MissingError(
            f"no predictions for {split}", path=path, remedy="Run the evaluate stage first"
        )
    array = zarr.open_array(path, path=split, mode="r")
    for index in wanted:
        yield np.asarray(array[int(index)])
