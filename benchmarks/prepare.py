"""What the stage `prepare` costs, against the least it could cost on the same machine.

    python3 benchmarks/prepare.py [--case NAME] [--quick]

prints one JSON line a case:

================ =========================================================================
``case``         name
``n``, ``unit``  patches made: 256×256×3 uint8 and their masks
``wall_s``       time of cutting and writing all pairs, imports not counted
``cpu_s``        its CPU time, all threads, user and system
``floor_cpu_s``  CPU time of the floor: the same rasters read once with rasterio, block by
                 block, and as many patches written with the same codec, in one thread
``ratio``        cpu_s / floor_cpu_s
``threads``      as many as processors; 1 under ``DASK_SCHEDULER=synchronous``
``shared_cpu_s`` CPU time of the floor in as many threads
``per_cpu_s``    patches for each second of CPU
``peak_rss_mib`` most memory the process held, imports and GDAL's cache counted
``bytes``        raw bytes of the patches, images and masks
================ =========================================================================

Images are LZW GeoTIFFs in tiles of 256 px: four of 4096×4096 px, in `big` one of 20,000×20,000.
Each step runs in a process of its own, in a temporary folder (TMPDIR) of up to 4 GB. All sides run
`REPEATS` times in turn, and of each the run with the least CPU time counts. Threads side by side
share caches and memory, and take more CPU time for the same work than one does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dask
import dask.array  # xarray imports it at its first array; imports are not counted
import numpy as np
import rasterio
import xarray as xr
from dask.system import CPU_COUNT
from measuring import REPEATS, Meter, best_of, line, peak_rss_mib, run_step
from rasters import METRES, write_pair

from gim_cv.catalog import Pair
from gim_cv.ground import GroundSplit
from gim_cv.pairs import PatchOptions, stream_pair
from gim_cv.store import open_store, write_store

STEPS = ("inputs", "prepare", "floor", "shared")
PX = 256
RULE = GroundSplit("blocks", 512.0, (0.7, 0.2, 0.1), 1, 0.0, 0, 0)
OPTIONS: PatchOptions = {
    "patch_px": PX,
    "overlap": 0.0,
    "resolution_m": 0.0,
    "resampling": "bilinear",
    "mask_fraction": 0.1,
    "all_touched": True,
    "min_valid": 0.1,
    "min_labelled": 0.1,
    "split": RULE,
}


class Case(NamedTuple):
    """Inputs of a case, and of its quick form; and how it differs from `OPTIONS`."""

    options: dict[str, float]
    images: tuple[int, int] = (4, 1)
    side: tuple[int, int] = (4096, 4096)
    polygons: tuple[int, int] | None = None


CASES = {
    "no_overlap": Case({}),
    "half_overlap": Case({"overlap": 0.5}),
    "resample_0.8": Case({"resolution_m": METRES / 0.8}),
    "polygons": Case({}, polygons=(20_000, 20_000)),
    "big": Case({}, images=(1, 1), side=(20_000, 6_000)),
}


def threads() -> int:
    """Return the number of threads that cut patches: all processors, or as dask is told."""
    return 1 if dask.config.get("scheduler", None) == "synchronous" else CPU_COUNT


def inputs(case: Case, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Write the images and labels of a case, and the list of pairs."""
    polygons = case.polygons and case.polygons[quick]
    raw = folder / "raw" / "bench"
    pairs = [write_pair(raw, k, case.side[quick], polygons) for k in range(case.images[quick])]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    return {}


def pairs_in(folder: Path) -> list[Pair]:
    """Return the catalog entries of the inputs."""
    return [Pair(source="bench", **p) for p in json.loads((folder / "pairs.json").read_text())]


def prepare(case: Case, folder: Path) -> dict[str, Any]:
    """Prepare all pairs; return what it cost and made."""
    pairs, options = pairs_in(folder), dict[str, Any]({**OPTIONS, **case.options})
    with Meter() as meter:
        for pair in pairs:
            patches = stream_pair(pair, folder / "raw", **options)
            write_store(patches, folder / f"{pair.name}.zarr", recipe={}, attrs=patches.attrs)
    found = {"wall_s": meter.wall, "cpu_s": meter.cpu, "peak_rss_mib": peak_rss_mib()}
    stores = [open_store(folder / f"{pair.name}.zarr") for pair in pairs]
    found["n"] = sum(store.sizes["patch"] for store in stores)
    return found | {"bytes": sum(s["image"].nbytes + s["mask"].nbytes for s in stores)}


def floor(folder: Path, threads: int) -> dict[str, Any]:
    """Read all rasters once and write as many patches as `prepare` did; return what it cost."""
    pairs = pairs_in(folder)
    names = [name for pair in pairs for name in (*pair.image, pair.labels)]
    rasters = [folder / "raw" / "bench" / name for name in names if name.endswith(".tif")]
    stores = [open_store(folder / f"{pair.name}.zarr") for pair in pairs]
    counts = np.diff(np.linspace(0, sum(s.sizes["patch"] for s in stores), threads + 1).astype(int))
    source = stores[0].isel(patch=slice(0, 256)).load()
    with Meter() as meter, ThreadPoolExecutor(threads) as pool:
        for path in rasters:
            _wait(pool.map(partial(_read, path, threads), range(threads)))
        targets = [folder / f"floor{part}.zarr" for part in range(threads)]
        _wait(pool.map(partial(_write, source), counts.tolist(), targets))
    return {"cpu_s": meter.cpu}


def _wait(done: Iterable[None]) -> None:
    for _ in done:
        pass


def _read(path: Path, parts: int, part: int) -> None:
    """Read the blocks of one of `parts` equal parts of a raster."""
    with rasterio.open(path) as raster:
        windows = [window for _, window in raster.block_windows(1)]
        for number in np.array_split(np.arange(len(windows)), parts)[part].tolist():
            raster.read(window=windows[number])


def _write(source: xr.Dataset, count: int, path: Path) -> None:
    write_store(_repeat(source, count), path, recipe={})


def _repeat(source: xr.Dataset, left: int) -> Iterator[xr.Dataset]:
    while left > 0:
        yield source.isel(patch=slice(0, left))
        left -= source.sizes["patch"]


def run_case(name: str, *, quick: bool) -> dict[str, Any]:
    """Return the line of one case."""
    with tempfile.TemporaryDirectory(prefix="gim_cv-prepare-") as temporary:
        folder = Path(temporary)
        run_step(__file__, "inputs", folder, name, *["--quick"] * quick)
        found, least, shared = best_of(1 if quick else REPEATS, __file__, STEPS[1:], folder, name)
    return line(
        name,
        found["n"],
        "patches",
        wall_s=found["wall_s"],
        cpu_s=found["cpu_s"],
        floor_cpu_s=least["cpu_s"],
        peak_rss_mib=found["peak_rss_mib"],
        threads=threads(),
        shared_cpu_s=round(shared["cpu_s"], 2),
        bytes=found["bytes"],
    )


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--case", choices=CASES, action="append", help="one case (may repeat)")
    parser.add_argument("--quick", action="store_true", help="smaller inputs: under 50 s in all")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        case = CASES[args.case[0]]
        steps = {
            "inputs": lambda: inputs(case, args.folder, quick=args.quick),
            "prepare": lambda: prepare(case, args.folder),
            "floor": lambda: floor(args.folder, 1),
            "shared": lambda: floor(args.folder, threads()),
        }
        print(json.dumps(steps[args.step]()))
        return
    for name in args.case or CASES:
        print(json.dumps(run_case(name, quick=args.quick)), flush=True)


if __name__ == "__main__":
    main()
