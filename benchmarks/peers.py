"""The same patches from the same rasters: our feed beside torchgeo and xbatcher.

    python3 benchmarks/peers.py [--case NAME] [--quick]

prints one JSON line a case; a library that is not installed is left out, and said so:

================== =======================================================================
``case``           gim_cv: stream_pair → store → `Batches`, shuffled; torchgeo: GridGeoSampler
                   on RasterDatasets of images and masks, and a DataLoader in this process;
                   torchgeo_workers: the same with two worker processes; xbatcher:
                   BatchGenerator on rasters that rioxarray opened, a batch's patches stacked
``n``, ``unit``    patches of 256×256×3 uint8 with masks, one epoch in batches of `BATCH`
``wall_s``         time of the epoch, the first one, with a consumer that takes no time
``cpu_s``          its CPU time, all threads and processes, user and system
``floor_cpu_s``    CPU time of reading each patch from the rasters once with rasterio
``ratio``          cpu_s / floor_cpu_s; below 1 where the rasters are not read anymore
``per_cpu_s``      patches for each second of CPU
``per_s``          patches a second
``prepare_cpu_s``  CPU time of making the store, once for all epochs; 0 for the others
``prepare_wall_s`` its wall time
``peak_rss_mib``   most memory the process held, without its workers
================== =======================================================================

No augmentation. Images come as float32, masks as integers. Ours are scaled and whole in each batch;
the others' are neither shuffled nor scaled. Rasters are LZW GeoTIFFs of 4096×4096 px in tiles of
256 px, four of them, their files in the page cache. Each case runs in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rioxarray
import xarray as xr
from measuring import Meter, line, peak_rss_mib, run_step
from prepare import OPTIONS
from rasterio.windows import Window
from rasters import TILE, write_pair

from gim_cv.catalog import Pair
from gim_cv.combine import combine_stores
from gim_cv.ground import GroundSplit
from gim_cv.pairs import stream_pair
from gim_cv.store import write_store

PX, BATCH, WORKERS = 256, 32, 2
ALL_TRAIN = GroundSplit("blocks", 512.0, (1.0, 0.0), 1, 0.0, 0, 0)


def gim_cv(folder: Path) -> Iterable[Any]:
    """Return the batches, as (images, masks)."""
    from gim_cv.batches import Batches  # noqa: PLC0415 - Keras takes seconds and memory

    return Batches(folder / "combined.zarr", "train", batch=BATCH, seed=0, shuffle=True)


def torchgeo(folder: Path, workers: int = 0) -> Iterable[Any]:
    """Return the batches, with an "image" each."""
    import torch  # noqa: PLC0415 - may be missing
    from torch.utils.data import DataLoader  # noqa: PLC0415
    from torchgeo.datasets import RasterDataset, stack_samples  # noqa: PLC0415
    from torchgeo.samplers import GridGeoSampler  # noqa: PLC0415

    torch.set_num_threads(1)  # it copies small tensors in threads otherwise: four times as slow

    class Images(RasterDataset):  # type: ignore[misc]
        filename_glob = "?.tif"

    class Masks(RasterDataset):  # type: ignore[misc]
        filename_glob, is_image = "?.mask.tif", False

    both = Images(folder / "raw") & Masks(folder / "raw")
    sampler = GridGeoSampler(both, size=PX)
    batches: Iterable[Any] = DataLoader(
        both, BATCH, sampler=sampler, num_workers=workers, collate_fn=stack_samples
    )
    return batches


def torchgeo_workers(folder: Path) -> Iterable[Any]:
    """Return the batches, with an "image" each."""
    return torchgeo(folder, WORKERS)


def xbatcher(folder: Path) -> Iterable[Any]:
    """Return the batches, as (images, masks)."""
    from xbatcher import BatchGenerator  # noqa: PLC0415 - may be missing

    def batches() -> Iterator[Any]:
        held = []
        for path in sorted((folder / "raw").glob("?.tif")):
            image = rioxarray.open_rasterio(path)
            mask: Any = rioxarray.open_rasterio(path.with_suffix(".mask.tif"))
            pair = xr.Dataset({"image": image, "mask": mask.squeeze("band", drop=True)})
            for patch in BatchGenerator(pair, input_dims={"y": PX, "x": PX}):
                held.append((patch["image"].to_numpy(), patch["mask"].to_numpy()))
                if len(held) == BATCH:
                    yield _stacked(held)
                    held = []
        if held:
            yield _stacked(held)

    return batches()


def _stacked(patches: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    images, masks = zip(*patches, strict=True)
    return np.stack(images, dtype=np.float32, casting="unsafe"), np.stack(masks)


CASES: dict[str, tuple[str, Callable[[Path], Iterable[Any]]]] = {
    "gim_cv": ("gim_cv", gim_cv),
    "torchgeo": ("torchgeo", torchgeo),
    "torchgeo_workers": ("torchgeo", torchgeo_workers),
    "xbatcher": ("xbatcher", xbatcher),
}


def inputs(folder: Path, count: int) -> dict[str, Any]:
    """Write `count` rasters with masks, and read them once."""
    pairs = [write_pair(folder / "raw", number, TILE, None) for number in range(count)]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    return floor(folder)


def floor(folder: Path) -> dict[str, Any]:
    """Read each patch from the rasters once; return what it cost."""
    found = 0
    with Meter() as meter:
        for path in sorted((folder / "raw").glob("?.tif")):
            with rasterio.open(path) as image, rasterio.open(path.with_suffix(".mask.tif")) as mask:
                for row in range(0, image.height, PX):
                    for col in range(0, image.width, PX):
                        window = Window(col, row, PX, PX)
                        image.read(window=window), mask.read(1, window=window)
                        found += 1
    return {"cpu_s": meter.cpu, "n": found}


def prepare(folder: Path) -> dict[str, Any]:
    """Make the store that our feed reads; return what it cost."""
    options = OPTIONS | {"split": ALL_TRAIN, "min_valid": 0.0, "min_labelled": 0.0}
    stores = []
    with Meter() as meter:
        for entry in json.loads((folder / "pairs.json").read_text()):
            patches = stream_pair(Pair(source="raw", **entry), folder, **options)
            stores.append(folder / f"{entry['name']}.zarr")
            write_store(patches, stores[-1], recipe={}, attrs=patches.attrs)
        combine_stores(stores, folder / "combined.zarr", seed=0, memory_mib=512)
    return {"cpu_s": meter.cpu, "wall_s": meter.wall}


def epoch(folder: Path, case: str) -> dict[str, Any]:
    """Take one epoch as fast as it comes; return what it cost."""
    batches = CASES[case][1](folder)
    start, before = time.perf_counter(), _cpu()
    count = sum(len(batch["image"] if isinstance(batch, dict) else batch[0]) for batch in batches)
    wall, cpu = time.perf_counter() - start, _cpu() - before
    return {"n": count, "wall_s": wall, "cpu_s": cpu, "peak_rss_mib": peak_rss_mib()}


def _cpu() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def run_case(case: str, folder: Path, least: dict[str, Any]) -> dict[str, Any]:
    """Return the line of one case."""
    nothing = {"cpu_s": 0.0, "wall_s": 0.0}
    made = run_step(__file__, "prepare", folder, case) if case == "gim_cv" else nothing
    found = run_step(__file__, "epoch", folder, case)
    if found["n"] != least["n"]:
        raise SystemExit(f"{case} has {found['n']} patches, the rasters {least['n']}")
    return line(
        case,
        found["n"],
        "patches",
        wall_s=found["wall_s"],
        cpu_s=found["cpu_s"],
        floor_cpu_s=least["cpu_s"],
        per_s=round(found["n"] / found["wall_s"], 1),
        prepare_cpu_s=round(made["cpu_s"], 2),
        prepare_wall_s=round(made["wall_s"], 2),
        peak_rss_mib=found["peak_rss_mib"],
    )


def main() -> None:
    """Run the cases asked for, all on the same rasters."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--case", choices=CASES, action="append", help="one case (may repeat)")
    parser.add_argument("--quick", action="store_true", help="one raster: under a minute in all")
    parser.add_argument("--step", choices=("inputs", "prepare", "epoch"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rasters", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(_step(args)))
        return
    with tempfile.TemporaryDirectory(prefix="gim_cv-peers-") as name:
        folder, count = Path(name), "1" if args.quick else "4"
        least = run_step(__file__, "inputs", folder, "gim_cv", "--rasters", count)
        for case in args.case or CASES:
            library = CASES[case][0]
            if importlib.util.find_spec(library) is None:
                print(f"{case}: left out, {library} is not installed", file=sys.stderr)
                continue
            print(json.dumps(run_case(case, folder, least)), flush=True)


def _step(args: argparse.Namespace) -> dict[str, Any]:
    if args.step == "inputs":
        return inputs(args.folder, args.rasters)
    return prepare(args.folder) if args.step == "prepare" else epoch(args.folder, args.case[0])


if __name__ == "__main__":
    main()
