"""Pooling: many pair stores in, one store out, sorted by split and shuffled exactly within each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from gim_cv.atomic import scratch_folder
from gim_cv.certificate import certify
from gim_cv.errors import DataError
from gim_cv.patches import IGNORE, SPLITS
from gim_cv.pooling import PatchSource, PatchTable, check_alike, merged_pairs
from gim_cv.schema import ARRAYS, layout
from gim_cv.shuffle import Row, Spool, in_order, read_ahead, readers_within
from gim_cv.statistics import BandSums, add_patches, band_sums, summarise
from gim_cv.store import read_block, write_store

Array = NDArray[Any]
Int = NDArray[np.int64]


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
        the file system of `out`; None: next to it, hidden.
    progress
        Show bars on a terminal's stderr.

    Raises
    ------
    StoreError
        If stores differ, naming both sides, or a pair comes twice.
    DataError
        If no train patch has a labelled pixel, or one place is in two splits.
    ConfigError
        If `memory_mib` is less than one shard needs, or `seed` is negative.
    """
    sources = [PatchSource.open(path) for path in paths]
    if not sources:
        raise DataError("no stores to combine", remedy="Name at least one dataset")
    check_alike(sources)
    certificate = _certified(sources)
    table = PatchTable.of(sources, seed)
    bar = _bars() if progress else _plain
    with scratch_folder(out, tmp_dir=tmp_dir) as scratch:
        spool, readers = _spool(scratch, sources[0].patches, len(table), memory_mib)
        sums, digests = _scatter(sources, table, spool, readers, bar)
        attrs = _attrs(sources, table, sums, digests, seed) | certificate
        buckets = bar(_gathered(spool, table, sources[0].patches, attrs), "write", spool.buckets)
        write_store(buckets, out, recipe=_recipe(sources, seed), tmp_dir=tmp_dir)


def _certified(sources: Sequence[PatchSource]) -> dict[str, object]:
    """Return the proof that no place is in two splits, where the stores know their ground."""
    pairs = merged_pairs(sources)
    known = all("ground" in pair for pair in pairs.values())
    return {"split_certificate": certify(pairs)} if known else {}


# --- pass one ---------------------------------------------------------------------------------


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


def _scatter(
    sources: Sequence[PatchSource], table: PatchTable, spool: Spool, readers: int, bar: _Bar
) -> tuple[BandSums, dict[int, bytes]]:
    """Write all rows to the spool; return the train split's sums and the test patches' digests."""
    like = sources[0].patches["image"]
    sums, digests = band_sums(like.sizes["band"], like.dtype), {}
    calls = [
        partial(_scatter_block, source.arrays, index, places, table, spool)
        for source, places in sorted(zip(sources, table.places, strict=True), key=_first_name)
        for index in range(-(-len(places) // source.arrays["image"].chunks[0]))
    ]
    for part, hashes in bar(in_order(calls, threads=readers), "read", len(calls)):
        sums.merge(part)
        digests.update(hashes)
    return sums, digests


def _first_name(item: tuple[PatchSource, Int]) -> list[str]:
    return item[0].names


def _scatter_block(
    arrays: dict[str, zarr.Array[Any]], index: int, places: Int, table: PatchTable, spool: Spool
) -> tuple[BandSums, dict[int, bytes]]:
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


# --- pass two ---------------------------------------------------------------------------------


def _gathered(
    spool: Spool, table: PatchTable, like: xr.Dataset, attrs: dict[str, object]
) -> Iterator[xr.Dataset]:
    start = 0
    for arrays in read_ahead(spool):
        stop = start + len(arrays["image"])
        coords = table.variables(like, slice(start, stop))
        data = {name: (ARRAYS[name], arrays[name]) for name in ARRAYS}
        yield xr.Dataset(data, coords=coords, attrs=attrs)
        start = stop


def _attrs(
    sources: Sequence[PatchSource],
    table: PatchTable,
    sums: BandSums,
    digests: dict[int, bytes],
    seed: int,
) -> dict[str, object]:
    if sums.count == 0:
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
        "statistics": summarise(sums, pixels, sources[0].patches["image"].dtype),
        "test_digest": _test_digest(table, digests),
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

_Bar = Callable[[Iterator[Any], str, int], Iterator[Any]]


def _plain(items: Iterator[Any], _label: str, _total: int) -> Iterator[Any]:
    return items


def _bars() -> _Bar:
    console = Console(stderr=True)

    def bar(items: Iterator[Any], label: str, total: int) -> Iterator[Any]:
        text = f"combine: {label}"
        quiet = not console.is_terminal
        return iter(track(items, text, total=total, console=console, disable=quiet))

    return bar
