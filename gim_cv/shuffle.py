"""An exact permutation of patches in two passes, with bounded memory.

Pass one reads the sources block by block and writes every row, raw, to its final place in one of
many spool files, one per output shard; pass two reads the spool files back, each already in order.
Memory is a few blocks, then a few shards, whatever the number of patches; the spool takes the raw
size of the data on disk and shrinks as the shards are written.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gim_cv.errors import ConfigError, RunError
from gim_cv.patches import SPLITS

Array = NDArray[Any]
Int = NDArray[np.int64]
T = TypeVar("T")


class Row(NamedTuple):
    """Shape and type of one patch's part of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


def shuffled_order(split: Array, seed: int) -> Int:
    """Return which row comes first, second, …: train, then val, then test, each permuted.

    The order of a split depends on `seed` and on the number of its rows, on nothing else. It is
    the sort order of one raw 64-bit draw per row, which numpy promises never to change.

    Parameters
    ----------
    split
        (row,) int8: split code of each row, the rows being in the order of their ids.
    seed
        Not negative.

    Raises
    ------
    ConfigError
        `seed` is negative.
    """
    if seed < 0:
        raise ConfigError("seed of the order", expected="at least 0", found=seed)
    parts = []
    for code in range(len(SPLITS)):
        rows = np.flatnonzero(np.asarray(split) == code)
        draws = np.random.PCG64([seed, code]).random_raw(rows.size)
        parts.append(rows[np.argsort(draws, kind="stable")])
    return np.concatenate(parts).astype(np.int64)


class Spool:
    """Rows on disk at their final places, in one file per bucket of `bucket` rows.

    Which buckets still have their file says how far a killed process has come.

    Parameters
    ----------
    folder
        Folder for the files.
    rows
        The arrays of a patch, e.g. image and mask.
    total
        Number of patches.
    bucket
        Patches a file; the last one has fewer.
    """

    def __init__(self, folder: Path, rows: Mapping[str, Row], *, total: int, bucket: int) -> None:
        self.folder, self.rows, self.total, self.bucket = folder, dict(rows), total, bucket

    def begin(self) -> None:
        """Make the files, empty.

        Raises
        ------
        RunError
            If the disk has no room for the raw rows.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        need, free = self.total * self.row_bytes, shutil.disk_usage(self.folder).free
        if need > free:
            raise RunError(
                "no room to shuffle",
                path=self.folder,
                expected=f"{need / 2**20:.0f} MiB free",
                found=f"{free / 2**20:.0f} MiB",
                remedy="Free some disk space",
            )
        for number in range(self.buckets):
            self._path(number).touch()

    @property
    def row_bytes(self) -> int:
        """Bytes of one patch, raw."""
        return sum(row.nbytes for row in self.rows.values())

    @property
    def buckets(self) -> int:
        """Number of files."""
        return -(-self.total // self.bucket)

    @property
    def done(self) -> int:
        """Number of leading buckets whose files are gone."""
        held = (number for number in range(self.buckets) if self.holds(number))
        return next(held, self.buckets)

    def put(self, places: Int, arrays: Mapping[str, Array]) -> None:
        """Write rows to the places given; threads may put at once.

        Parameters
        ----------
        places
            (row,) final position of each row, 0 to total - 1.
        arrays
            For each name of `rows`, an array (row, …).
        """
        numbers = places // self.bucket
        data = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            self._put_bucket(number, mine.tolist(), places % self.bucket, data)

    def holds(self, number: int) -> bool:
        """Return whether the bucket's file is there: since `begin`, and until it is dropped."""
        return self._path(number).is_file()

    def drop(self, number: int) -> None:
        """Give the disk space of one bucket back."""
        self._path(number).unlink()

    def take(self, number: int) -> dict[str, Array]:
        """Return the rows of one bucket in their final order."""
        path, count = self._path(number), self._count(number)
        arrays = {}
        for name, offset in self._offsets(number).items():
            row = self.rows[name]
            items = count * int(np.prod(row.shape))
            flat = np.fromfile(path, row.dtype, items, offset=offset)
            arrays[name] = flat.reshape(count, *row.shape)
        return arrays

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.raw"

    def _count(self, number: int) -> int:
        return min(self.bucket, self.total - number * self.bucket)

    def _offsets(self, number: int) -> dict[str, int]:
        """Each array has its own part of the file."""
        offsets, end = {}, 0
        for name, row in self.rows.items():
            offsets[name] = end
            end += self._count(number) * row.nbytes
        return offsets

    def _put_bucket(
        self, number: int, rows: list[int], within: Int, arrays: Mapping[str, Array]
    ) -> None:
        handle = os.open(self._path(number), os.O_WRONLY)
        try:
            for name, offset in self._offsets(number).items():
                step, array = self.rows[name].nbytes, arrays[name]
                for row in rows:
                    _write_at(handle, array[row].data.cast("B"), offset + int(within[row]) * step)
        finally:
            os.close(handle)


def _write_at(handle: int, data: memoryview, offset: int) -> None:
    """Write all of `data`: one call may write less, as on a disk that fills up."""
    while data:
        count = os.pwrite(handle, data, offset)
        data, offset = data[count:], offset + count


def read_ahead(spool: Spool, first: int = 0) -> Iterator[dict[str, Array]]:
    """Yield the buckets from number `first` on, each read while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        coming: Future[dict[str, Array]] | None = None
        for number in range(first, spool.buckets):
            arrays = coming.result() if coming else spool.take(number)
            following = number + 1
            coming = pool.submit(spool.take, following) if following < spool.buckets else None
            yield arrays


def readers_within(memory_mib: int, *, block_bytes: int, shard_bytes: int) -> int:
    """Return how many blocks may be read at once, so that the shuffle stays within `memory_mib`.

    Parameters
    ----------
    memory_mib
        MiB that the shuffle may take, besides the interpreter and its libraries.
    block_bytes, shard_bytes
        Raw bytes of the largest block to read and of the largest shard to write.

    Raises
    ------
    ConfigError
        If writing one shard needs more.
    """
    # A block is held compressed, raw and while it is measured; a shard twice raw (the next one is
    # read ahead) and twice compressed (chunks, then the file).
    budget, least = memory_mib * 2**20, 4 * max(shard_bytes, block_bytes)
    if budget < least:
        raise ConfigError(
            "too little memory to shuffle patches of this kind",
            path="params.yaml: combine.memory_mib",
            expected=f"at least {-(-least // 2**20)}",
            found=memory_mib,
        )
    return max(1, min(budget // (4 * block_bytes), os.cpu_count() or 1))


def in_order(calls: Iterable[Callable[[], T]], *, threads: int) -> Iterator[T]:
    """Yield the results of `calls` in their order, `threads` of them running at once."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[T]] = deque()
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
