"""What a training step costs, and how much of it is waiting for batches.

    python3 benchmarks/train.py [--backend jax|tensorflow] [--batch B] [--feed store|resident]
                                [--augment strong|flips|none] [--compare torch]
                                [--model small|full] [--precision float32|mixed_bfloat16] [--quick]

prints one JSON line a case:

=================== ======================================================================
``case``            ``store``: `Batches` of a combined store, augmented; ``resident``: one batch
                    over and over, under JAX from the device; ``torch``: so in PyTorch, compiled
``n``, ``unit``     patches of 256×256×3 uint8 in the measured epochs, tracing left out
``wall_s``          their time
``cpu_s``           their CPU time, all threads, user and system
``floor_cpu_s``     CPU time of as many resident steps of the same backend
``ratio``           cpu_s / floor_cpu_s
``per_cpu_s``       patches for each second of CPU
``per_s``           patches for each second
``of_resident``     per_s / per_s of the resident batch
``ms_per_step``     wall time of a step
``device_wait_pct`` share of the wall time in which the device waits for batches: what the step
                    takes longer than a resident one
``first_step_s``    time of the first epoch: tracing, compilation and all
``peak_rss_mib``    most memory the process held
``parameters``      weights of the model, equal for Keras and PyTorch
=================== ======================================================================

Each case runs in a process of its own, in a temporary folder (TMPDIR) that needs 1 MB a patch. On
a GPU:

    python3 benchmarks/train.py --backend jax --model full --precision mixed_bfloat16 --batch 32
                                --augment flips --compare torch --patches 8000

There, of this package's dependencies only some are needed: keras, pyyaml and the backend for the
resident batch, for the store also zarr, xarray, dask, scipy, rich and shapely, and albumentations
for strong augmentation.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Meter, line, peak_rss_mib, run_step

DESIGNS: dict[str, dict[str, Any]] = {
    "small": {
        "block": "basic",
        "layer_blocks": 1,
        "last_decoder_layer_blocks": 1,
        "initial_filters": 16,
        "residual_filters": (32, 64, 128),
        "initial_kernel_size": 3,
    },
    "full": {"block": "basic"},
}
PRECISIONS = ("float32", "mixed_bfloat16")
PATCHES, QUICK_PATCHES = 480, 96


def compiled(model: str, policy: str) -> Any:
    """Return a compiled Segmentalist."""
    import keras  # noqa: PLC0415 - the backend must be chosen before

    from gim_cv.backend import precision  # noqa: PLC0415
    from gim_cv.losses import get_loss  # noqa: PLC0415
    from gim_cv.models import Segmentalist  # noqa: PLC0415

    with precision(policy):
        network = Segmentalist(**DESIGNS[model])
    network.compile(optimizer=keras.optimizers.SGD(0.01), loss=get_loss("bce_dice"))
    return network


def augmented(folder: Path, size: int, augment: str) -> Any:
    """Return the batches of the store, augmented."""
    from gim_cv.batches import Batches  # noqa: PLC0415

    store = folder / "combined.zarr"
    augmenter = {"none": None, "flips": flips, "strong": strong}[augment]
    return Batches(
        store, "train", batch=size, seed=0, shuffle=True, augmenter=augmenter and augmenter(store)
    )


def flips(_: Path) -> Any:
    """Return the augmenter that flips."""
    from gim_cv.datagen import get_aug_datagen  # noqa: PLC0415

    return get_aug_datagen()


def strong(store: Path) -> Any:
    """Return the strong augmenter, with the store's colours."""
    from gim_cv.augment import FancyPCA, strong_aug  # noqa: PLC0415
    from gim_cv.store import open_store  # noqa: PLC0415

    pca = FancyPCA.from_statistics(open_store(store).attrs["statistics"], alpha_std=0.1)
    return strong_aug(p=0.8, fancy_pca=pca)


def resident(size: int, steps: int) -> Any:
    """Return `steps` times the same batch."""
    import keras  # noqa: PLC0415

    x, y = (keras.ops.convert_to_tensor(part) for part in one_batch(size))

    class Same(keras.utils.PyDataset):
        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return x, y

    return Same()


def one_batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch of noise with a square to find."""
    rng = np.random.default_rng(0)
    x = rng.random((size, 256, 256, 3), dtype=np.float32)
    y = np.zeros((size, 256, 256, 1), np.uint8)
    y[:, 64:160, 64:160] = 1
    return x, y


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train one epoch to warm up and one to be measured; return what it cost."""
    size, steps = args.batch, args.steps
    if args.case == "torch":
        from torch_segmentalist import train  # noqa: PLC0415

        return train(DESIGNS[args.model], *one_batch(size), steps, args.precision)
    network, stored = compiled(args.model, args.precision), args.case == "store"
    data = augmented(args.folder, size, args.augment) if stored else resident(size, steps)
    with Meter() as first:
        network.fit(data, epochs=1, shuffle=False, verbose=0)
    with Meter() as meter:
        network.fit(data, initial_epoch=1, epochs=2, shuffle=False, verbose=0)
    return {
        "n": len(data.index) if stored else size * steps,
        "steps": len(data),
        "wall_s": meter.wall,
        "cpu_s": meter.cpu,
        "first_epoch_s": first.wall,
        "peak_rss_mib": peak_rss_mib(),
        "parameters": network.count_params(),
    }


def case_line(case: str, found: dict[str, Any], least: dict[str, Any]) -> dict[str, Any]:
    """Return a case's line from its costs and those of the resident batch."""
    own, other = (cost["wall_s"] / cost["steps"] for cost in (found, least))
    rate, best = (cost["n"] / cost["wall_s"] for cost in (found, least))
    floor = least["cpu_s"] * found["n"] / least["n"]
    first = found["first_epoch_s"] - found["wall_s"] + own
    return line(
        case,
        found["n"],
        "patches",
        wall_s=found["wall_s"],
        cpu_s=found["cpu_s"],
        floor_cpu_s=floor,
        per_s=round(rate, 2),
        of_resident=round(rate / best, 3),
        ms_per_step=round(1000 * own, 1),
        device_wait_pct=round(max(0.0, 100 * (1 - other / own)), 1),
        first_step_s=round(first, 1),
        peak_rss_mib=found["peak_rss_mib"],
        parameters=found["parameters"],
    )


def main() -> None:
    """Run the cases asked for."""
    args = _arguments()
    os.environ["KERAS_BACKEND"] = args.backend
    if args.step == "inputs":
        print(json.dumps(_write_store(args.folder, args.patches)))
        return
    if args.step:
        print(json.dumps(measure(args)))
        return
    cases = [args.feed] if args.feed else ["store", "resident"]
    cases += [args.compare] if args.compare else []
    patches = args.patches or (QUICK_PATCHES if args.quick else PATCHES)
    with tempfile.TemporaryDirectory(prefix="gim_cv-train-") as name:
        folder = Path(name)
        more = ["--backend", args.backend, "--batch", str(args.batch), "--model", args.model]
        more += ["--precision", args.precision, "--augment", args.augment]
        more += ["--patches", str(patches), "--steps", str(max(2, patches * 7 // 10 // args.batch))]
        if "store" in cases:
            run_step(__file__, "inputs", folder, "store", *more)
        least = run_step(__file__, "fit", folder, "resident", *more)
        for case in cases:
            same = case == "resident"
            found = least if same else run_step(__file__, "fit", folder, case, *more)
            shown = {"backend": "torch" if case == "torch" else args.backend, "batch": args.batch}
            shown |= {"model": args.model, "precision": args.precision, "augment": args.augment}
            print(json.dumps(case_line(case, found, least) | shown), flush=True)


def _write_store(folder: Path, count: int) -> dict[str, Any]:
    from generated import write_pairs  # noqa: PLC0415 - a resident batch needs no store

    from gim_cv.combine import combine_stores  # noqa: PLC0415

    write_pairs(folder, count)
    stores = sorted(folder.glob("pair_*.zarr"))
    combine_stores(stores, folder / "combined.zarr", seed=0, memory_mib=512)
    return {"patches": count}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax"), default="tensorflow")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--feed", choices=("store", "resident"), help="default: both")
    parser.add_argument("--augment", choices=("strong", "flips", "none"), default="strong")
    parser.add_argument("--compare", choices=("torch",), help="needs torch, not a dependency")
    parser.add_argument("--model", choices=DESIGNS, default="small")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--quick", action="store_true", help="fewer patches")
    parser.add_argument("--patches", type=int, help="patches in the store, all splits")
    parser.add_argument("--step", choices=("inputs", "fit"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
