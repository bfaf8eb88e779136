"""What batches cost, against the least that their augmentation or their reading costs.

    python3 benchmarks/batches.py [--case NAME] [--quick]

prints one JSON line a case:

===================== ====================================================================
``case``              batch size and augmentation: strong_aug with FancyPCA, flips, none; uint8 is
                      none, handed over as it is stored instead of as scaled float32
``n``, ``unit``       patches of 256×256×3 uint8, one epoch
``wall_s``            time of the second epoch with a consumer that takes no time
``cpu_s``             its CPU time, all threads, user and system
``floor_cpu_s``       CPU time of the floor, in one thread: strong: the same augmentation of as
                      many patches in memory; flips: the same, and decoding the blocks once;
                      none, uint8: decoding the blocks once, as the feed does
``library_cpu_s``     the same with albumentations alone for strong, and with zarr's decoding
``ratio``             cpu_s / floor_cpu_s
``per_cpu_s``         patches for each second of CPU
``latency_ms``        median time from one batch to the next, with a consumer that takes
                      `CONSUMER_MS` for each patch or waits for the next batch
``latency_p99_ratio`` 99th percentile of that time / its median, the first batch left out
``peak_rss_mib``      most memory the process held, Keras and its backend counted
``imports_rss_mib``   of which they had before the first batch
===================== ====================================================================

Each step runs in a process of its own, in a temporary folder (TMPDIR) that needs 2 GB. Feed and
floor run `REPEATS` times in turn, and of each the run with the least CPU time counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from generated import write_pairs
from measuring import REPEATS, Meter, best_of, line, peak_rss_mib, run_step
from plain_augmentation import plain_strong

from gim_cv.augment import FancyPCA, get_aug_datagen, strong_aug
from gim_cv.combine import combine_stores
from gim_cv.feed import BlockReader
from gim_cv.sampling import epoch_index
from gim_cv.store import open_arrays, open_store, read_block

CASES = {
    f"batch{size}_{kind}": (size, kind)
    for kind in ("strong", "flips", "none", "uint8")
    for size in (4, 32)
}
PATCHES, QUICK_PATCHES = 4_000, 1_000
CONSUMER_MS = 2.0
ALPHA_STD = 0.1


def augmenter(kind: str, store: Path) -> Any:
    """Return the augmenter of a case."""
    if kind in {"none", "uint8"}:
        return None
    if kind == "flips":
        return get_aug_datagen()
    statistics = open_store(store).attrs["statistics"]
    return strong_aug(p=0.8, fancy_pca=FancyPCA.from_statistics(statistics, alpha_std=ALPHA_STD))


def feed(folder: Path, size: int, kind: str) -> dict[str, Any]:
    """Take one epoch as fast as it comes and one at the consumer's pace; return what it cost."""
    from gim_cv.batches import Batches  # noqa: PLC0415 - Keras takes seconds and memory

    store = folder / "combined.zarr"
    augment = augmenter(kind, store)
    before = peak_rss_mib()
    batches = Batches(
        store,
        "train",
        batch=size,
        seed=0,
        shuffle=True,
        augmenter=augment,
        float32=kind != "uint8",
    )
    for _ in batches:
        pass
    with Meter() as meter:
        count = sum(len(x) for x, _ in batches)
    times, last = [], time.perf_counter()
    for x, _ in batches:
        pause = last + len(x) * CONSUMER_MS / 1000 - time.perf_counter()
        time.sleep(max(pause, 0))
        now = time.perf_counter()
        times.append(now - last)
        last = now
    middle = float(np.median(times[1:]))
    return {
        "n": count,
        "wall_s": meter.wall,
        "cpu_s": meter.cpu,
        "latency_ms": middle * 1000,
        "latency_p99_ratio": float(np.percentile(times[1:], 99)) / middle,
        "imports_rss_mib": before,
        "peak_rss_mib": peak_rss_mib(),
    }


def floor(folder: Path, kind: str) -> dict[str, Any]:
    """Return the CPU seconds of the floor and of the libraries for as many patches."""
    store = folder / "combined.zarr"
    patches, arrays, augment = open_store(store), open_arrays(store), augmenter(kind, store)
    reader, count = BlockReader(patches, arrays), len(epoch_index(patches, "train", None))
    images, masks = reader.read(0)
    found = {"cpu_s": 0.0, "library_cpu_s": 0.0}
    if kind != "strong":
        blocks = range(-(-count // len(images)))
        found["cpu_s"] = _cpu_of(reader.read, blocks)
        found["library_cpu_s"] = _cpu_of(partial(read_block, arrays), blocks)
    if augment is not None:
        own = _cpu_of(
            lambda k: augment(images[k % len(images)], masks[k % len(images)], k), range(count)
        )
        found["cpu_s"] += own
        strong = kind == "strong"
        found["library_cpu_s"] += plain_cpu_s(store, images, masks, count) if strong else own
    return found


def plain_cpu_s(store: Path, images: Any, masks: Any, count: int) -> float:
    """Return the CPU seconds of the strong augmentations of `count` patches by albumentations."""
    covariance = np.array(open_store(store).attrs["statistics"]["covariance"])
    augment = plain_strong(covariance, ALPHA_STD)
    return _cpu_of(lambda k: augment(images[k % len(images)], masks[k % len(images)]), range(count))


def _cpu_of(call: Callable[[int], Any], numbers: range) -> float:
    call(numbers[0])
    with Meter() as meter:
        for number in numbers:
            call(number)
    return meter.cpu


def run_case(case: str, folder: Path, *, repeats: int) -> dict[str, Any]:
    """Return the line of one case."""
    found, least = best_of(repeats, __file__, ("feed", "floor"), folder, case)
    return line(
        case,
        found["n"],
        "patches",
        wall_s=found["wall_s"],
        cpu_s=found["cpu_s"],
        floor_cpu_s=least["cpu_s"],
        library_cpu_s=round(least["library_cpu_s"], 2),
        **{key: round(found[key], 2) for key in ("latency_ms", "latency_p99_ratio")},
        **{key: found[key] for key in ("peak_rss_mib", "imports_rss_mib")},
    )


def main() -> None:
    """Run the cases asked for, all on one store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--case", choices=CASES, action="append", help="one case (may repeat)")
    parser.add_argument("--quick", action="store_true", help="fewer patches: under a minute")
    parser.add_argument("--step", choices=("inputs", "feed", "floor"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--patches", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(_step(args)))
        return
    with tempfile.TemporaryDirectory(prefix="gim_cv-batches-") as name:
        folder, count = Path(name), QUICK_PATCHES if args.quick else PATCHES
        repeats = 1 if args.quick else REPEATS
        cases = args.case or (["batch4_strong", "batch32_none"] if args.quick else list(CASES))
        run_step(__file__, "inputs", folder, cases[0], "--patches", str(count))
        for case in cases:
            print(json.dumps(run_case(case, folder, repeats=repeats)), flush=True)


def _step(args: argparse.Namespace) -> dict[str, Any]:
    size, kind = CASES[args.case[0]]
    if args.step == "feed":
        return feed(args.folder, size, kind)
    if args.step == "floor":
        return floor(args.folder, kind)
    write_pairs(args.folder / "pairs", args.patches)
    paths = sorted((args.folder / "pairs").glob("*.zarr"))
    combine_stores(paths, args.folder / "combined.zarr", seed=0, memory_mib=512)
    return {}


if __name__ == "__main__":
    main()
