"""Blocks of a patch store on disk, decoded straight from its shards.

zarr copies a block twice after decoding it, into fresh memory, and takes turns of an event loop
for it: together nearly as much work as the decoding.
"""

from __future__ import annotations

import sys
import threading
from io import FileIO
from typing import Any

import numpy as np
import zarr
from numcodecs.checksum32 import CRC32C
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from gim_cv.errors import StoreError
from gim_cv.recycler import Recycler
from gim_cv.standing import StandingStore

Array = NDArray[Any]
ZSTD, CRC32 = Zstd(), CRC32C(location="end")
NO_CHUNK = 2**64 - 1
"""Offset in a shard's index of a chunk that holds the fill value only."""


class ShardedBlocks:
    """The blocks of one array of a store on disk, by number; safe for threads.

    Parameters
    ----------
    array
        One that `is_plain`.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self._store: StandingStore = array.store  # type: ignore[assignment]
        self._folder = self._store.root / array.path
        self._per_shard = array.shards[0] // array.chunks[0]  # type: ignore[index]
        self._indices: dict[int, list[list[int]]] = {}
        self._blocks = Recycler(array.chunks, array.dtype, keep=array.nchunks)
        self._here = threading.local()

    @staticmethod
    def is_plain(array: zarr.Array[Any]) -> bool:
        """Return whether `array` lies on disk as `gim_cv.writer` lays it."""
        sharding = array.metadata.codecs[0]  # type: ignore[union-attr]
        if not isinstance(array.store, StandingStore) or not isinstance(sharding, ShardingCodec):
            return False
        order = getattr(sharding.codecs[0], "endian", None)
        return (
            [type(codec) for codec in sharding.codecs] == [BytesCodec, ZstdCodec]
            and [type(codec) for codec in sharding.index_codecs] == [BytesCodec, Crc32cCodec]
            and sharding.index_location.value == "start"
            and (order is None or order.value == sys.byteorder)
            and array.chunks[1:] == array.shape[1:]
        )

    def read(self, number: int) -> Array:
        """Return the patches of one block, fewer in the array's last one.

        Raises
        ------
        StoreError
            If the shard is broken, or the store was written anew since it was opened.
        """
        step = self.array.chunks[0]
        block = self._blocks.take(step)
        shard, place = divmod(number, self._per_shard)
        key = self.array.metadata.encode_chunk_key((shard, 0, 0, 0))
        path = self._folder / key
        try:
            with path.open("rb", buffering=0) as file:
                start, length = self._index(file, shard)[place]
                if start == NO_CHUNK:
                    block[...] = self.array.fill_value
                else:
                    ZSTD.decode(self._bytes(file, start, length), block)
        except (RuntimeError, ValueError, FileNotFoundError) as err:
            self._store.check()
            remedy = "Delete the store and write it again"
            raise StoreError(f"broken block {number}", path=path, remedy=remedy) from err
        self._store.check()
        return block[: self.array.shape[0] - number * step]

    def _index(self, file: FileIO, shard: int) -> list[list[int]]:
        """Return (offset, length) of the shard's blocks."""
        if shard not in self._indices:
            raw = CRC32.decode(file.read(16 * self._per_shard + 4))
            self._indices[shard] = np.frombuffer(raw, "<u8").reshape(-1, 2).tolist()
        return self._indices[shard]

    def _bytes(self, file: FileIO, start: int, length: int) -> memoryview:
        """Read into memory of this thread, which its next read takes again."""
        held: bytearray = self._here.__dict__.setdefault("held", bytearray())
        if len(held) < length:
            held.extend(bytes(length - len(held)))
        part = memoryview(held)[:length]
        file.seek(start)
        return part[: file.readinto(part)]
