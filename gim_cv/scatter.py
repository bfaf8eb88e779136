"""Pass one of combining: every row to its place in the spool, and what is learnt on the way."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gim_cv.atomic import atomic_file
from gim_cv.patches import SPLITS
from gim_cv.pooling import PatchSource, PatchTable
from gim_cv.shuffle import Spool, in_order
from gim_cv.statistics import BandSums, add_patches, band_sums
from gim_cv.store import read_block

STATE_SECONDS = 5.0
"""Least time between two states of a reading: what a kill can cost."""

Array = NDArray[Any]
Int = NDArray[np.int64]
Part = tuple[BandSums, dict[int, bytes]]
Bar = Callable[[Iterator[Any], str, int, int], Iterator[Any]]
"""Takes items, a label, their number in all and how many of these are done; yields the items."""


@dataclass
class Reading:
    """How far the sources are read, and what their pixels have told.

    Attributes
    ----------
    sums
        Over the train split.
    blocks
        Blocks that are read, in the order of `block_readers`.
    digests
        SHA-256 of each test patch, by its rank.
    """

    sums: BandSums
    blocks: int = 0
    digests: dict[int, bytes] = field(default_factory=dict)

    def take(self, part: Part) -> None:
        """Count one more block."""
        sums, digests = part
        self.sums.merge(sums)
        self.digests.update(digests)
        self.blocks += 1

    def save(self, path: Path) -> None:
        """Write it as one file, which is whole or absent."""
        arrays = {f"sums_{name}": array for name, array in self.sums.state().items()}
        arrays["blocks"] = np.array(self.blocks)
        arrays["ranks"] = np.fromiter(self.digests, np.int64, len(self.digests))
        arrays["digests"] = np.frombuffer(b"".join(self.digests.values()), np.uint8)
        with atomic_file(path) as part:
            np.savez(part, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path, sums: BandSums) -> Reading:
        """Return what `save` wrote; `sums` of its kind take those that it has."""
        with np.load(path) as saved:
            arrays = dict(saved)
        blocks = int(arrays.pop("blocks"))
        rows = arrays.pop("digests").reshape(-1, hashlib.sha256().digest_size)
        pairs = zip(arrays.pop("ranks").tolist(), rows, strict=True)
        sums.restore({name.removeprefix("sums_"): array for name, array in arrays.items()})
        return cls(sums, blocks, {rank: digest.tobytes() for rank, digest in pairs})


def block_readers(
    sources: Sequence[PatchSource], table: PatchTable, spool: Spool
) -> list[Callable[[], Part]]:
    """Return one call a block of the sources, by pair name, that brings its rows to the spool.

    To call one twice changes nothing.
    """
    return [
        partial(_scatter_block, source.arrays, index, places, table, spool)
        for source, places in sorted(zip(sources, table.places, strict=True), key=_first_name)
        for index in range(-(-len(places) // source.arrays["image"].chunks[0]))
    ]


def scatter(
    calls: Sequence[Callable[[], Part]], reading: Reading, state: Path, *, readers: int, bar: Bar
) -> None:
    """Write all rows that `reading` has not seen to the spool; it is kept in the file `state`."""
    parts = in_order(calls[reading.blocks :], threads=readers)
    saved = time.monotonic()
    for part in bar(parts, "read", len(calls), reading.blocks):
        reading.take(part)
        if time.monotonic() - saved >= STATE_SECONDS or reading.blocks == len(calls):
            reading.save(state)
            saved = time.monotonic()


def _first_name(item: tuple[PatchSource, Int]) -> list[str]:
    return item[0].names


def _scatter_block(
    arrays: dict[str, zarr.Array[Any]], index: int, places: Int, table: PatchTable, spool: Spool
) -> Part:
    image, mask = read_block(arrays, index)
    start = index * arrays["image"].chunks[0]
    mine = places[start : start + len(image)]
    spool.put(mine, {"image": image, "mask": mask})
    sums = band_sums(image.shape[-1], image.dtype)
    split = table.coords["split"][mine]
    train = split == 0
    whole = bool(train.all())
    add_patches(sums, image if whole else image[train], mask if whole else mask[train])
    tests = np.flatnonzero(split == SPLITS.index("test"))
    return sums, {int(table.rank[mine[k]]): _digest(image[k], mask[k]) for k in tests}


def _digest(image: Array, mask: Array) -> bytes:
    whole = hashlib.sha256(np.ascontiguousarray(image).data)
    whole.update(np.ascontiguousarray(mask).data)
    return whole.digest()
