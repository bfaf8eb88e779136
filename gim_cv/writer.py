"""The making of a store: patches in, whole shards out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from dask.system import CPU_COUNT
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import ZstdCodec

from gim_cv.codec import check_codec
from gim_cv.errors import DataError
from gim_cv.recipe import canonical_json, sha256_text
from gim_cv.schema import ARRAYS, COORDS, SCHEMA, check_patches, layout

Array = NDArray[Any]


def keep_shards(folder: Path, count: int) -> None:
    """Remove all files of an unfinished store but the first `count` shards of each array."""
    whole = {folder / name for number in range(count) for name in shard_files(number)}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in whole:
            path.unlink()


def shard_files(number: int) -> list[str]:
    """Return the files of the shards `number`, relative to the store."""
    return [f"{name}/c/{number}/0/0/0" for name in ARRAYS]


class StoreWriter:
    """One store in the making: shards are written as they fill, the rest on `close`.

    Parameters
    ----------
    folder
        Empty folder that becomes the zarr group; or one with nothing but whole shards, see `keep`.

    Raises
    ------
    StoreError
        The codec would give other bytes: see `check_codec`.
    """

    def __init__(self, folder: Path) -> None:
        check_codec()
        self.group = zarr.create_group(folder, zarr_format=3)
        # Kept, not opened again: only the created array knows its write_empty_chunks.
        self.arrays: dict[str, zarr.Array[Any]] = {}
        self.first: xr.Dataset | None = None
        self.coords: list[dict[str, Array]] = []
        self.held: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.filled = 0
        self.written = 0

    def keep(self, block: xr.Dataset) -> None:
        """Take in, first of all, the patches whose shards are in the folder.

        Parameters
        ----------
        block
            Its pixels are not looked at.
        """
        self._admit(block)
        self._grow(block.sizes["patch"])

    def append(self, block: xr.Dataset) -> None:
        """Take in the patches of `block`: at most one shard of them is kept in memory."""
        self._admit(block)
        arrays = {name: block.variables[name].to_numpy() for name in ARRAYS}
        start, stop = 0, block.sizes["patch"]
        while start < stop:
            if self.filled == 0 and stop - start >= self.shard:
                self._write({name: arrays[name][start : start + self.shard] for name in ARRAYS})
                start += self.shard
            else:
                start += self._hold(arrays, start, stop)

    def flush(self) -> None:
        """Write what is left as the last shard."""
        if self.filled:
            self._write({name: self.held[name][: self.filled] for name in ARRAYS})
            self.held, self.filled = {}, 0

    def close(self, recipe: Mapping[str, object], extra: Mapping[str, object]) -> None:
        """Write what is left, the coordinates and the attributes, and mark the store whole."""
        if self.first is None or self.filled + self.written == 0:
            raise DataError(
                "no patches to write",
                remedy="Check min_valid, min_labelled and the extent of image and labels",
            )
        self.flush()
        for name, (dims, kind) in COORDS.items():
            data = np.concatenate([part[name] for part in self.coords])
            self._create(name, data.shape, kind, dims, chunks=data.shape)
            self.arrays[name][...] = data
        text = canonical_json(recipe)
        attrs = {**self.first.attrs, **extra, "schema": SCHEMA, "recipe": text}
        attrs |= {"recipe_sha256": sha256_text(text), "coordinates": " ".join(COORDS)}
        # Written last: a store without it is torn.
        self.group.update_attributes(json.loads(canonical_json(attrs | {"complete": True})))

    def _admit(self, block: xr.Dataset) -> None:
        """Take the coordinates of `block`."""
        if self.first is None:
            self._start(block)
        self._check_like_first(block)
        self.coords.append({name: block.variables[name].to_numpy() for name in COORDS})

    def _start(self, block: xr.Dataset) -> None:
        check_patches(block)
        # Data are dropped, so that the first block does not stay in memory.
        self.first = block.isel(patch=slice(0)).copy(deep=True)
        image = block["image"]
        per_block, self.shard = layout(image.shape[1:], image.dtype)
        for name, dims in ARRAYS.items():
            shape, kind = (0, *block[name].shape[1:]), block[name].dtype
            self._create(name, shape, kind, dims, chunks=(per_block, *shape[1:]), shard=self.shard)

    def _check_like_first(self, block: xr.Dataset) -> None:
        check_patches(block)
        first = self.first
        for name in (*ARRAYS, *COORDS):
            mine, other = block.variables[name], first.variables[name]  # type: ignore[union-attr]
            if (mine.shape[1:], mine.dtype) != (other.shape[1:], other.dtype):
                raise DataError(
                    f"datasets differ in {name!r}",
                    expected=f"{other.dtype} {other.shape[1:]} as in the first",
                    found=f"{mine.dtype} {mine.shape[1:]}",
                )

    def _hold(self, arrays: Mapping[str, Array], start: int, stop: int) -> int:
        """Keep what fits into the shard that is filling; write it when it is full."""
        count = min(stop - start, self.shard - self.filled)
        part = {name: data[start : start + count] for name, data in arrays.items()}
        # Most often nothing follows a part shorter than a shard: it is copied when something does.
        self.held = self._joined(part) if self.filled else part
        self.filled += count
        if self.filled == self.shard:
            self._write(self.held)
            self.held, self.filled = {}, 0
        return count

    def _joined(self, part: Mapping[str, Array]) -> dict[str, Array]:
        """Return buffers of one shard that begin with what is held, then `part`."""
        for name, data in part.items():
            if name not in self.buffers:
                self.buffers[name] = np.empty((self.shard, *data.shape[1:]), data.dtype)
            buffer = self.buffers[name]
            if self.held is not self.buffers:
                buffer[: self.filled] = self.held[name]
            buffer[self.filled : self.filled + len(data)] = data
        return self.buffers

    def _write(self, arrays: Mapping[str, Array]) -> None:
        start = self.written
        self._grow(len(arrays["image"]))
        for name, data in arrays.items():
            with zarr.config.set({"async.concurrency": CPU_COUNT}):  # more only take memory
                self.arrays[name][start:] = data

    def _grow(self, count: int) -> None:
        """Make the arrays longer by so many patches."""
        self.written += count
        for name in ARRAYS:
            target = self.arrays[name]
            target.resize((self.written, *target.shape[1:]))

    def _create(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: DTypeLike,
        dims: tuple[str, ...],
        *,
        chunks: tuple[int, ...],
        shard: int | None = None,
    ) -> None:
        shards: Any = None
        if shard is not None:
            shards = {"shape": (shard, *chunks[1:]), "index_location": "start"}
        self.arrays[name] = self.group.create_array(
            name,
            shape=shape,
            dtype=np.dtype(kind),
            chunks=chunks,
            shards=shards,
            compressors=ZstdCodec(level=1, checksum=True),
            filters=None,
            fill_value=0,
            dimension_names=dims,
            attributes=json.loads(canonical_json(self.first[name].attrs)),  # type: ignore[index]
            # Without it a shard of background would be no file: absence could not mean damage.
            config={"write_empty_chunks": True},
        )
