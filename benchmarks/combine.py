"""What the stage `combine` costs, against copying the same stores block by block.

    python3 benchmarks/combine.py [--case NAME] [--quick]

prints one JSON line a case:

================ =========================================================================
``case``         name: patches of 256×256×3 uint8 in 8 pair stores
``n``, ``unit``  patches
``wall_s``       time of `combine_stores`, imports not counted
``cpu_s``        its CPU time, all threads, user and system
``floor_cpu_s``  CPU time of the floor: every block read, decoded, and written with the same
                 codec to stores of the same layout
``ratio``        cpu_s / floor_cpu_s
``per_cpu_s``    patches for each second of CPU
``peak_rss_mib`` most memory the process held, imports counted; `memory_mib` is 512
================ =========================================================================

Each step runs in a process of its own, in a temporary folder (TMPDIR): 20,000 patches need 15 GB.
Both sides run `REPEATS` times in turn, and of each the run with the least CPU time counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr
from generated import write_pairs
from measuring import REPEATS, Meter, best_of, line, peak_rss_mib, run_step

from gim_cv.combine import combine_stores
from gim_cv.store import open_arrays, open_store, read_block, write_store

CASES = {"combine_5000": 5_000, "combine_20000": 20_000}
QUICK = {"combine_5000": 1_000, "combine_20000": 2_000}


def combine(folder: Path) -> dict[str, Any]:
    """Combine the pair stores; return what it cost."""
    paths = sorted((folder / "pairs").glob("*.zarr"))
    with Meter() as meter:
        combine_stores(paths, folder / "combined.zarr", seed=0, memory_mib=512)
    return {"wall_s": meter.wall, "cpu_s": meter.cpu, "peak_rss_mib": peak_rss_mib()}


def copy(folder: Path) -> dict[str, Any]:
    """Copy the pair stores block by block; return what it cost."""
    with Meter() as meter:
        for path in sorted((folder / "pairs").glob("*.zarr")):
            write_store(_blocks(path), folder / "copies" / path.name, recipe={})
    return {"cpu_s": meter.cpu}


def _blocks(path: Path) -> Iterator[xr.Dataset]:
    store, arrays = open_store(path), open_arrays(path)
    step = arrays["image"].chunks[0]
    for index, start in enumerate(range(0, store.sizes["patch"], step)):
        image, mask = read_block(arrays, index)
        part = store.isel(patch=slice(start, start + step))
        yield part.assign(image=(part["image"].dims, image), mask=(part["mask"].dims, mask))


def run_case(case: str, *, quick: bool) -> dict[str, Any]:
    """Return the line of one case."""
    count = (QUICK if quick else CASES)[case]
    with tempfile.TemporaryDirectory(prefix="gim_cv-combine-") as name:
        folder = Path(name)
        run_step(__file__, "inputs", folder, case, "--patches", str(count))
        both = best_of(1 if quick else REPEATS, __file__, ("copy", "combine"), folder, case)
    floor, found = both
    return line(
        case,
        count,
        "patches",
        wall_s=found["wall_s"],
        cpu_s=found["cpu_s"],
        floor_cpu_s=floor["cpu_s"],
        peak_rss_mib=found["peak_rss_mib"],
    )


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--case", choices=CASES, action="append", help="one case (may repeat)")
    parser.add_argument("--quick", action="store_true", help="fewer patches: under 50 s in all")
    parser.add_argument("--step", choices=("inputs", "copy", "combine"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--patches", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step == "inputs":
        write_pairs(args.folder / "pairs", args.patches)
        print("{}")
    elif args.step:
        print(json.dumps((copy if args.step == "copy" else combine)(args.folder)))
    else:
        for case in args.case or CASES:
            print(json.dumps(run_case(case, quick=args.quick)), flush=True)


if __name__ == "__main__":
    main()
