"""The order of an epoch's patches, and the blocks of a store behind them, read ahead."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
import zarr
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph
from dask.local import get_sync
from dask.optimization import cull
from numpy.typing import NDArray

from gim_cv.schema import ARRAYS, layout, pair_names
from gim_cv.shards import ShardedBlocks

WINDOW_BYTES = 16 * 2**20
"""Raw bytes of the blocks among which patches are shuffled; two windows are held at most."""

Array = NDArray[Any]
Int = NDArray[np.int64]
Block = tuple[Array, Array]


class BlockReader:
    """Blocks of images and masks of a patch dataset, by number.

    Parameters
    ----------
    patches
        Its dask chunks are the blocks; in memory, the blocks that a store would have.
    arrays
        The arrays of the same patches in a store, where there is one: read without dask, and if
        they lie on disk as we write them, without zarr.
    """

    def __init__(
        self, patches: xr.Dataset, arrays: Mapping[str, zarr.Array[Any]] | None = None
    ) -> None:
        image = patches["image"]
        self.ends = _block_ends(image)
        patch_bytes = sum(patches[name].nbytes for name in ARRAYS) // max(image.shape[0], 1)
        self._starts = np.concatenate([[0], self.ends[:-1]])
        self.longest = int((self.ends - self._starts).max(initial=1))
        self.window = max(1, WINDOW_BYTES // max(self.longest * patch_bytes, 1))
        self._read: Callable[[int], Sequence[Any]]
        if arrays is not None and all(map(ShardedBlocks.is_plain, arrays.values())):
            blocks = [ShardedBlocks(arrays[name]) for name in ARRAYS]
            self._read = lambda number: [part.read(number) for part in blocks]
        elif arrays is None and image.chunks:
            self._read = _dask_blocks([patches[name].data for name in ARRAYS], self.ends)
        else:
            held: Any = arrays
            if arrays is None:
                held = {name: patches[name].to_numpy() for name in ARRAYS}
            self._read = lambda number: [held[name][self._slice(number)] for name in ARRAYS]

    def blocks_in(self, patches: int) -> int:
        """Return how many blocks that many patches fill, rounded up and one more."""
        return patches // self.longest + 2

    def number(self, positions: Int) -> Int:
        """Return the block of each position."""
        return np.searchsorted(self.ends, positions, side="right")

    def find(self, positions: Int) -> tuple[Int, Int]:
        """Return the block of each position, and its row there."""
        numbers = self.number(positions)
        return numbers, positions - self._starts[numbers]

    def read(self, number: int) -> Block:
        """Return images (patch, row, col, band) and masks (patch, row, col, label) of a block."""
        image, mask = (np.asarray(part) for part in self._read(number))
        return image, mask

    def _slice(self, number: int) -> slice:
        return slice(int(self._starts[number]), int(self.ends[number]))


def _block_ends(image: xr.DataArray) -> Int:
    """Return the past-last patch of each block."""
    count, step = image.shape[0], layout(image.shape[1:], image.dtype).block
    ends = np.cumsum(image.chunks[0]) if image.chunks else np.arange(step, count + step, step)
    return np.minimum(ends, count).astype(np.int64)


def _dask_blocks(arrays: Sequence[Any], ends: Int) -> Callable[[int], Sequence[Any]]:
    """Return a reader of dask chunks that runs just their tasks, in the calling thread.

    Slicing and computing would rebuild and search the whole graph for every block.
    """
    chunks = (tuple(np.diff(ends, prepend=0).tolist()), -1, -1, -1)
    whole = [array.rechunk(chunks) for array in arrays]
    graph = dict(HighLevelGraph.merge(*(array.dask for array in whole)))
    keys = [list(flatten(array.__dask_keys__())) for array in whole]  # type: ignore[no-untyped-call]

    def read(number: int) -> Sequence[Any]:
        wanted = [part[number] for part in keys]
        tasks, _ = cull(graph, wanted)  # type: ignore[no-untyped-call]
        found: Sequence[Any] = get_sync(tasks, wanted)
        return found

    return read


@dataclass(frozen=True)
class EpochPlan:
    """What an epoch takes, in which order.

    Parameters
    ----------
    positions
        (step,) patch of the dataset.
    repeats
        (step,) how often the epoch had this patch before.
    window
        (step,) number of the window, ascending from 0.
    blocks
        Per window, its blocks.
    """

    positions: Int
    repeats: Int
    window: Int
    blocks: list[list[int]]


def plan_epoch(
    index: Int,
    reader: BlockReader,
    *,
    blocks: tuple[int, ...] | None,
    within: tuple[int, ...] | None,
) -> EpochPlan:
    """Return the order of an epoch: blocks in some order, patches mixed within windows of blocks.

    Where blocks are shuffled, a patch that comes several times comes in as many passes over its
    block, so that its repeats are far apart. Pure in its arguments.

    Parameters
    ----------
    index
        Positions to take, ascending, repeats allowed.
    reader
        Knows blocks and window.
    blocks
        Seed of the order of blocks; None: as they stand.
    within
        Seed of the order within windows; None: block after block, as patches stand in them.
    """
    repeats = np.arange(len(index)) - np.searchsorted(index, index, side="left")
    block = reader.number(index)
    unit = block if blocks is None else repeats * len(reader.ends) + block
    units, unit = np.unique(unit, return_inverse=True)
    turn = np.arange(len(units)) if blocks is None else np.argsort(_draws(blocks, len(units)))
    rank = np.empty(len(units), np.int64)
    rank[turn] = np.arange(len(units))
    window = rank[unit] // reader.window
    if within is None:
        order = np.argsort(rank[unit], kind="stable")
    else:
        order = np.lexsort((_draws(within, len(index)), window))
    _, window = np.unique(window[order], return_inverse=True)
    starts = np.searchsorted(window, np.arange(int(window[-1]) + 2 if len(window) else 1))
    parts = [list(dict.fromkeys(block[order[a:b]].tolist())) for a, b in pairwise(starts.tolist())]
    return EpochPlan(index[order], repeats[order], window, parts)


def _draws(seed: tuple[int, ...], count: int) -> NDArray[np.uint64]:
    """Return raw 64-bit draws: numpy promises that they never change."""
    return np.random.PCG64(seed).random_raw(count)


def patch_ids(patches: xr.Dataset) -> Int:
    """Return (patch, 3) numbers made from the pair's name, row0 and col0, 0 to 2³² - 1."""
    names = np.array([zlib.crc32(name.encode()) for name in pair_names(patches)], np.int64)
    parts = [names[patches["pair"].to_numpy()], patches["row0"], patches["col0"]]
    return np.stack([np.asarray(part, np.int64) % 2**32 for part in parts], axis=1)


class BlockCache:
    """The last blocks that were asked for, and those that will be; safe for threads.

    Parameters
    ----------
    read
        Reads a block by number.
    capacity
        Blocks to hold.
    pool
        Runs the reads.
    """

    def __init__(
        self, read: Callable[[int], Block], *, capacity: int, pool: ThreadPoolExecutor
    ) -> None:
        self.read, self.capacity, self.pool = read, capacity, pool
        self.held: OrderedDict[int, Future[Block]] = OrderedDict()
        self.lock = threading.Lock()

    def want(self, numbers: Iterable[int]) -> None:
        """Begin to read what is not there."""
        for number in numbers:
            self._future(number)

    def get(self, number: int) -> Block:
        """Return a block, after its read has ended."""
        return self._future(number).result()

    def _future(self, number: int) -> Future[Block]:
        with self.lock:
            if number not in self.held:
                self.held[number] = self.pool.submit(self.read, number)
            self.held.move_to_end(number)
            while len(self.held) > self.capacity:
                self.held.popitem(last=False)
            return self.held[number]
