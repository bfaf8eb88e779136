"""Which patches a combined store has, from which stores, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gim_cv.certificate import certify
from gim_cv.errors import StoreError
from gim_cv.patches import SPLITS
from gim_cv.schema import ARRAYS, COLOURS, COORDS
from gim_cv.shuffle import shuffled_order
from gim_cv.store import open_arrays, open_store, pair_names

Array = NDArray[Any]
Int = NDArray[np.int64]
da: Any = dask.array  # its functions have no types


@dataclass(frozen=True)
class PatchSource:
    """One store to pool: its lazy dataset and its arrays."""

    path: Path
    patches: xr.Dataset
    arrays: dict[str, zarr.Array[Any]]

    @classmethod
    def open(cls, path: Path) -> PatchSource:
        """Return the store at `path`."""
        return cls(path, open_store(path), open_arrays(path))

    @property
    def names(self) -> list[str]:
        """Names of its pairs, in the order of their codes."""
        return pair_names(self.patches)

    def kind(self) -> dict[str, object]:
        """Return what must be equal for patches to be pooled."""
        image = self.patches["image"]
        return {
            "number of bands": image.sizes["band"],
            "patch size": f"{image.sizes['row']}×{image.sizes['col']} px",
            "type": image.dtype.name,
            "classes": self.patches.attrs["classes"],
        }

    def colours(self) -> Iterator[tuple[str, int, str]]:
        """Yield the pair, the number (from 1) and the name of each band that is named a colour."""
        for name in self.names:
            bands = self.patches.attrs["pairs"][name].get("bands", [])
            for number, band in enumerate(bands, start=1):
                if band.lower() in COLOURS:
                    yield name, number, band.lower()


def check_alike(sources: Sequence[PatchSource]) -> None:
    """Return if the patches of all sources can stand in one array, and no pair comes twice.

    Raises
    ------
    StoreError
        Naming both sides: which pair has what.
    """
    first, seen = sources[0], dict.fromkeys(sources[0].names, sources[0].path)
    for other in sources[1:]:
        for what, wanted in first.kind().items():
            _check_equal(what, wanted, other.kind()[what], first.names, other.names)
        for name in other.names:
            if name in seen:
                raise StoreError(
                    f"pair {name!r} is in {seen[name]} too",
                    path=other.path,
                    remedy="Leave one out, or prepare it under another name",
                )
            seen[name] = other.path
    _check_colours(sources)


def _check_colours(sources: Sequence[PatchSource]) -> None:
    """Raise StoreError if a band is one colour in one pair and another in any other pair."""
    known: dict[int, tuple[str, str]] = {}
    for source in sources:
        for pair, number, colour in source.colours():
            wanted, namer = known.setdefault(number, (colour, pair))
            _check_equal(f"the colour of band {number}", wanted, colour, [namer], [pair])


def _check_equal(
    what: str, wanted: object, found: object, first: Sequence[str], other: Sequence[str]
) -> None:
    if wanted != found:
        raise StoreError(
            f"{what} differs between stores to combine",
            expected=f"{wanted} as in {', '.join(first)}",
            found=f"{found} in {', '.join(other)}",
            remedy="Prepare them alike, or leave one side out",
        )


PATCH_ID = ("pair", "row0", "col0", "split")
"""What tells one patch from another: where splits meet, each has its own view of a window."""


@dataclass(frozen=True)
class PatchTable:
    """The coordinates of all patches in their final order, and where each source row goes.

    Parameters
    ----------
    coords
        Per coordinate, (patch, …) in final order; pair codes point into `names`.
    names
        Pair names, sorted.
    places
        Per source, (row,) final place of each of its patches.
    rank
        (patch,) place of each patch if all were sorted by `PATCH_ID`.
    """

    coords: dict[str, Array]
    names: list[str]
    places: list[Int]
    rank: Int

    def __len__(self) -> int:
        return len(self.rank)

    @classmethod
    def of(cls, sources: Sequence[PatchSource], seed: int) -> PatchTable:
        """Return the table of all patches: train, val, test, each permuted by `seed`."""
        names = sorted(name for source in sources for name in source.names)
        parts = [_renamed(source, names) for source in sources]
        coords = {name: np.concatenate([part[name] for part in parts]) for name in COORDS}
        by_id = np.lexsort([coords[key] for key in reversed(PATCH_ID)])
        _check_unique({key: coords[key][by_id] for key in PATCH_ID}, names)
        rank = shuffled_order(coords["split"][by_id], seed)
        order = by_id[rank]
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        ends = np.cumsum([len(part["pair"]) for part in parts])[:-1]
        ordered = {name: values[order] for name, values in coords.items()}
        return cls(ordered, names, np.split(place, ends), rank)

    def variables(self, like: xr.Dataset, where: slice = slice(None)) -> dict[str, Any]:
        """Return the coordinates of a slice of patches, with the attributes of `like`."""
        found = {
            name: (dims, self.coords[name][where], like[name].attrs)
            for name, (dims, _) in COORDS.items()
        }
        flags = {"flag_values": list(range(len(self.names)))}
        pair = (*found["pair"][:2], flags | {"flag_meanings": " ".join(self.names)})
        return found | {"pair": pair}

    def splits(self) -> dict[str, list[int]]:
        """Return the first and past-last patch of each split."""
        ends = np.searchsorted(self.coords["split"], range(len(SPLITS) + 1)).tolist()
        return {name: ends[code : code + 2] for code, name in enumerate(SPLITS)}


def _renamed(source: PatchSource, names: list[str]) -> dict[str, Array]:
    """Coordinates of a source, its pair codes pointing into `names`."""
    coords = {name: source.patches[name].to_numpy() for name in COORDS}
    code = np.array([names.index(name) for name in source.names], np.int16)
    return coords | {"pair": code[coords["pair"]]}


def _check_unique(ids: dict[str, Array], names: list[str]) -> None:
    rows = np.stack([values.astype(np.int64) for values in ids.values()], axis=1)
    twice = np.flatnonzero((rows[1:] == rows[:-1]).all(axis=1))
    if twice.size:
        pair, row0, col0, split = rows[twice[0]].tolist()
        raise StoreError(
            f"the {SPLITS[split]} patch at row {row0}, column {col0} of pair {names[pair]!r} "
            "comes twice",
            remedy="Prepare the pair again",
        )


def pool_lazily(parts: Sequence[xr.Dataset], seed: int) -> xr.Dataset:
    """Return what `combine_stores` would write of these patch datasets, with lazy pixels.

    Parameters
    ----------
    parts
        Patch datasets with dask arrays, no pair in common.
    seed
        Of the permutation.

    Raises
    ------
    StoreError
        If they differ, naming both sides, or a pair comes twice.
    DataError
        If one place is in two splits.
    """
    sources = [PatchSource(Path("+".join(pair_names(part))), part, {}) for part in parts]
    check_alike(sources)
    certificate = split_certificate(sources)
    table = PatchTable.of(sources, seed)
    order = np.argsort(np.concatenate(table.places))
    arrays = {
        name: (dims, da.concatenate([part[name].data for part in parts])[order])
        for name, dims in ARRAYS.items()
    }
    attrs = {**parts[0].attrs, "pairs": merged_pairs(sources)} | certificate
    attrs |= {"splits": table.splits(), "shuffle_seed": seed}
    return xr.Dataset(arrays, coords=table.variables(parts[0]), attrs=attrs)


def merged_pairs(sources: Sequence[PatchSource]) -> dict[str, Any]:
    """Return the attributes of all pairs, sorted by name."""
    found: dict[str, Any] = {}
    for source in sources:
        found.update(source.patches.attrs["pairs"])
    return dict(sorted(found.items()))


def split_certificate(sources: Sequence[PatchSource]) -> dict[str, object]:
    """Return the attribute that proves that no place is in two splits, if all know their ground.

    Raises
    ------
    DataError
        Two pairs put the same place into different splits.
    """
    pairs = merged_pairs(sources)
    known = all("ground" in pair for pair in pairs.values())
    return {"split_certificate": certify(pairs)} if known else {}
