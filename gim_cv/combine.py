"""Pooling: many pair stores in, one store out, sorted by split and shuffled exactly within each."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.atomic import put_in_place
from gim_cv.errors import DataError
from gim_cv.ownership import check_replaceable
from gim_cv.patches import IGNORE
from gim_cv.pooling import (
    PatchSource,
    PatchTable,
    check_alike,
    merged_pairs,
    split_certificate,
)
from gim_cv.scatter import Bar, Reading, block_readers, scatter
from gim_cv.scheduling import tracked
from gim_cv.schema import ARRAYS, layout
from gim_cv.shuffle import Row, Spool, read_ahead, readers_within
from gim_cv.statistics import band_sums, summarise
from gim_cv.unfinished import boot, files_seen, unfinished_folder, work_key
from gim_cv.writer import StoreWriter, keep_shards, shard_files

Array = NDArray[Any]
Seen = list[list[tuple[str, int, int, int]]]


def combine_stores(
    paths: Sequence[Path],
    out: Path,
    *,
    seed: int,
    memory_mib: int,
    tmp_dir: Path | None = None,
    progress: bool = False,
) -> None:
    """Write one store with the patches of all `paths`: train, val, test, each an exact permutation.

    Called again after a kill, with the same stores and values, it goes on: blocks that are read and
    buckets that are written are not done again, and the store has the same bytes.

    The result is a pure function of the patches and `seed`: neither the order of `paths`, nor
    memory, nor the number of processors changes a byte. Attributes gain ``splits``,
    ``statistics`` (of the train split), ``shuffle_seed``, ``test_digest`` and, where the stores say
    how their ground was split, ``split_certificate``.

    Parameters
    ----------
    paths
        Patch stores with equal bands, patch size, type and classes, and no pair in common.
    out
        Store to write.
    seed
        Of the permutation; not negative.
    memory_mib
        MiB that the shuffle may take besides the interpreter.
    tmp_dir
        Folder for the unfinished store and the raw rows (as large as the patches uncompressed), on
        the file system of `out`; None: next to it, hidden. There they stay after a kill, until
        `out` is written.
    progress
        Show bars on a terminal's stderr, and say there how much a killed process had done.

    Raises
    ------
    StoreError
        If stores differ, naming both sides, or a pair comes twice; or if something that is no patch
        store stands at `out`.
    DataError
        If no train patch has a labelled pixel, or one place is in two splits.
    ConfigError
        If `memory_mib` is less than one shard needs, or `seed` is negative.
    RunError
        If the disk has no room, or another process combines the same.
    """
    check_replaceable(out)
    seen = sorted(files_seen(path) for path in paths)  # before they are opened: see `_key`
    sources = [PatchSource.open(path) for path in paths]
    if not sources:
        raise DataError("no stores to combine", remedy="Name at least one dataset")
    check_alike(sources)
    certificate = split_certificate(sources)
    table = PatchTable.of(sources, seed)
    recipe = _recipe(sources, seed)
    key = _key(recipe, seen, sources[0].patches, memory_mib)
    bar = _shown if progress else _plain
    with unfinished_folder(out, key, tmp_dir=tmp_dir) as folder:
        spool, readers = _spool(folder / "spool", sources[0].patches, len(table), memory_mib)
        calls = block_readers(sources, table, spool)
        reading = _taken_up(folder, spool, sources[0].patches, len(calls), progress=progress)
        scatter(calls, reading, folder / READ_FILE, readers=readers, bar=bar)
        attrs = _attrs(sources, table, reading, seed) | certificate
        writer = _gathered(folder / "store", spool, table, sources[0].patches, attrs, bar)
        writer.close(recipe, {})
        put_in_place(folder / "store", out, tmp_dir=tmp_dir)


def _spool(folder: Path, like: xr.Dataset, total: int, memory_mib: int) -> tuple[Spool, int]:
    rows = {name: Row(like[name].shape[1:], like[name].dtype) for name in ARRAYS}
    unit = layout(like["image"].shape[1:], like["image"].dtype)
    bucket = min(unit.shard, total)
    spool = Spool(folder, rows, total=total, bucket=bucket)
    readers = readers_within(
        memory_mib,
        block_bytes=min(unit.block, total) * spool.row_bytes,
        shard_bytes=bucket * spool.row_bytes,
    )
    return spool, readers


# --- going on after a kill --------------------------------------------------------------------

READ_FILE = "read.npz"


def _key(recipe: dict[str, object], seen: Seen, like: xr.Dataset, memory_mib: int) -> str:
    """Name the unfinished work by all that it comes from.

    Recipes say what the pair stores should hold, and `seen` that nobody wrote them again: as it was
    before they were opened, so that a store written meanwhile is not taken for the one read.
    """
    unit = layout(like["image"].shape[1:], like["image"].dtype)
    settings = {"recipe": recipe, "memory_mib": memory_mib, "layout": unit}
    return work_key({**settings, "files": seen, "boot": boot()})


def _taken_up(
    folder: Path, spool: Spool, like: xr.Dataset, blocks: int, *, progress: bool
) -> Reading:
    """Return how far a killed process had read; begin the spool if there is nothing to go on."""
    image, state = like["image"], folder / READ_FILE
    if state.is_file():
        reading = Reading.load(state, band_sums(image.sizes["band"], image.dtype))
        if _is_sound(folder / "store", spool, all_read=reading.blocks == blocks):
            if progress:
                _say_resuming(spool, reading.blocks, blocks)
            return reading
        state.unlink()
    spool.begin()
    return Reading(band_sums(image.sizes["band"], image.dtype))


def _is_sound(store: Path, spool: Spool, *, all_read: bool) -> bool:
    """Return whether all files are there: someone may have tidied up since the kill."""
    done = spool.done
    left = all(spool.holds(number) for number in range(done, spool.buckets))
    shards = [store / name for number in range(done) for name in shard_files(number)]
    return left and (all_read or done == 0) and all(path.is_file() for path in shards)


def _say_resuming(spool: Spool, read: int, blocks: int) -> None:
    behind = f", {read} of {blocks} blocks are read" if read < blocks else ""
    text = f"resuming: {spool.done} of {spool.buckets} buckets are done{behind}"
    sys.stderr.write(f"combine: {text}\n")


# --- pass two ---------------------------------------------------------------------------------


def _gathered(
    folder: Path,
    spool: Spool,
    table: PatchTable,
    like: xr.Dataset,
    attrs: dict[str, object],
    bar: Bar,
) -> StoreWriter:
    """Return the writer of the store in `folder` when it has written all buckets.

    A bucket leaves the spool when its shard is whole: until then it is not done.
    """
    done = spool.done
    keep_shards(folder, done)
    writer = StoreWriter(folder)
    writer.keep(_part(table, like, attrs, 0, _blank(spool, done)))
    for arrays in bar(read_ahead(spool, done), "write", spool.buckets, done):
        writer.append(_part(table, like, attrs, done * spool.bucket, arrays))
        del arrays  # or it would be in memory beside the next two
        writer.flush()
        spool.drop(done)
        done += 1
    return writer


def _blank(spool: Spool, buckets: int) -> dict[str, Array]:
    """Return as many zeros as the first buckets have rows, without their memory."""
    count = min(buckets * spool.bucket, spool.total)
    return {
        name: np.broadcast_to(np.zeros((), row.dtype), (count, *row.shape))
        for name, row in spool.rows.items()
    }


def _part(
    table: PatchTable,
    like: xr.Dataset,
    attrs: dict[str, object],
    start: int,
    arrays: dict[str, Array],
) -> xr.Dataset:
    """Return the patches from `start` on that have these pixels."""
    coords = table.variables(like, slice(start, start + len(arrays["image"])))
    data = {name: (ARRAYS[name], array) for name, array in arrays.items()}
    return xr.Dataset(data, coords=coords, attrs=attrs)


def _attrs(
    sources: Sequence[PatchSource],
    table: PatchTable,
    reading: Reading,
    seed: int,
) -> dict[str, object]:
    if reading.sums.count == 0:
        raise DataError(
            "no labelled pixel in the train split",
            found=f"patches {table.splits()}",
            remedy="Change the split's seed or block size, or add a pair",
        )
    train = table.coords["split"] == 0
    pixels = table.coords["class_pixels"][train].sum(axis=0, dtype=np.int64)
    return {
        "classes": sources[0].patches.attrs["classes"],
        "ignore": IGNORE,
        "pairs": merged_pairs(sources),
        "splits": table.splits(),
        "shuffle_seed": seed,
        "statistics": summarise(reading.sums, pixels, sources[0].patches["image"].dtype),
        "test_digest": _test_digest(table, reading.digests),
    }


def _test_digest(table: PatchTable, digests: dict[int, bytes]) -> str | None:
    """Name the test split's content: equal digests, comparable scores; None without a test split.

    Over ids and pixels in the order of ids, so that neither the seed nor another split counts.
    """
    start, stop = table.splits()["test"]
    whole = hashlib.sha256()
    for place in start + np.argsort(table.rank[start:stop]):
        pair, row0, col0 = (int(table.coords[key][place]) for key in ("pair", "row0", "col0"))
        whole.update(f"{table.names[pair]} {row0} {col0} ".encode())
        whole.update(digests[int(table.rank[place])])
    return whole.hexdigest() if stop > start else None


def _recipe(sources: Sequence[PatchSource], seed: int) -> dict[str, object]:
    """Return what the store is made from; stores combined before count as their pairs."""
    pairs: dict[str, object] = {}
    for source in sources:
        recipe = json.loads(source.patches.attrs["recipe"])
        inner = recipe.get("pairs", {}) if "shuffle_seed" in source.patches.attrs else {}
        pairs.update({name: inner.get(name, recipe) for name in source.names})
    return {"combine": {"shuffle_seed": seed}, "pairs": pairs}


# --- progress ---------------------------------------------------------------------------------


def _plain(items: Iterator[Any], _label: str, _total: int, _done: int) -> Iterator[Any]:
    return items


def _shown(items: Iterator[Any], label: str, total: int, done: int) -> Iterator[Any]:
    return iter(tracked(items, f"combine: {label}", total=total, done=done))
