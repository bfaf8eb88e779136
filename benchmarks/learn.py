"""How well the defaults learn real roofs: test IoU on Kampala and Zanzibar, beside baselines.

    python3 benchmarks/learn.py --data DIR [--case NAME …] [--seeds N] [--cpu-seconds S] [--out DIR]

prints one JSON line a case and seed: IoU on validation and test ground, and the test IoU of a
colour classifier. Each case trains for as many epochs as fit into the same CPU time, its schedule
ending with the last, so that ``floor_cpu_s`` is that time and ``ratio`` says how well it was met.
``script`` is `plain_unet`, what one would write by hand; ``default`` is params.yaml as it is. The
imagery (drone tiles with OpenStreetMap buildings) is not part of the project: DIR holds hot_kampala
and hot_zanzibar. ``--out`` keeps runs and reports, to be looked at.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import xarray as xr
import yaml
from generated import Meter, line, peak_rss_mib
from plain_unet import train as train_script

from gim_cv.catalog import Pair
from gim_cv.combine import combine_stores
from gim_cv.evaluate import choose_level, evaluate_run, measure, measure_baselines, predictor
from gim_cv.fit import fit_model
from gim_cv.ground import GroundSplit
from gim_cv.pairs import stream_pair
from gim_cv.report import write_report
from gim_cv.scores import scores
from gim_cv.store import open_store, write_store
from gim_cv.tally import Predict, Tally

ROOT = Path(__file__).resolve().parent.parent
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PAIRS = [(place, n) for place in ("kampala", "zanzibar") for n in (1, 2)]
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "plain": {"train": {"swa_share": 0.0}},
    "swa": {"train": {"swa_share": 0.25}},
    "sag": {"model": {"decoder_attention_gates": "SAG"}, "train": {"swa_share": 0.0}},
    "deep_supervision": {"model": {"deep_supervision": True}, "train": {"swa_share": 0.0}},
    "wbce_adaptive": {"loss": "wbce_adaptive"},
    "bce_dice": {"loss": "bce_dice"},
    "script": {},
}


def build_store(data: Path, out: Path, prepare: dict[str, Any], split: dict[str, Any]) -> Path:
    """Tile the four images at 0.3 m and shuffle them into one store."""
    paths = []
    for place, n in PAIRS:
        pair = Pair(
            name=f"{place}_{n}",
            source=f"hot_{place}",
            image=f"images/{place}_{n}.tif",
            labels="buildings.geojson",
        )
        patches = stream_pair(pair, data, split=GroundSplit(**split), progress=pair.name, **prepare)
        paths.append(out / "patches" / f"{pair.name}.zarr")
        write_store(patches, paths[-1], recipe={}, attrs=patches.attrs, tmp_dir=out / "tmp")
    combined = out / "combined.zarr"
    combine_stores(paths, combined, seed=0, memory_mib=512, tmp_dir=out / "tmp")
    return combined


def fit_case(name: str, store: Path, out: Path, *, epochs: int, seed: int) -> tuple[Predict, int]:
    """Train a case; return what predicts, and its number of weights."""
    if name == "script":
        return train_script(open_store(store), epochs=epochs, seed=seed)
    case = CASES[name]
    summary = fit_model(
        store,
        out / "models" / "Segmentalist",
        plots_dir=out / "results" / "train",
        loss=case.get("loss", PARAMS["loss"]),
        loss_args=PARAMS["loss_args"],
        seed=seed,
        model=PARAMS["model"] | case.get("model", {}),
        train=PARAMS["train"] | case.get("train", {}) | {"epochs": epochs},
        augment=PARAMS["augment"],
        metadata={"datasets": "kampala,zanzibar"},
        progress=False,
    )
    return predictor({"run_dir": out / "models" / "Segmentalist"}), summary["parameters"]


def epochs_for(name: str, store: Path, cpu_seconds: float) -> int:
    """Return how many epochs of a case cost this much CPU time, start-up included."""
    costs = []
    for epochs in (1, 4):
        with tempfile.TemporaryDirectory() as scratch, Meter() as meter:
            fit_case(name, store, Path(scratch), epochs=epochs, seed=0)
        costs.append(meter.cpu)
    return max(1, round(1 + (cpu_seconds - costs[0]) * 3 / (costs[1] - costs[0])))


def iou(tallies: dict[str, Tally]) -> dict[str, Any]:
    """Return the IoU of validation and test at the threshold that is best for validation."""
    level = choose_level(tallies["val"], None)
    return {f"{split}_iou": scores(part.total(level))["iou"] for split, part in tallies.items()}


def run_case(
    name: str, seed: int, store: Path, out: Path, *, epochs: int, cpu_seconds: float
) -> dict[str, Any]:
    """Train and score one case; return its line."""
    with Meter() as meter:
        predict, parameters = fit_case(name, store, out, epochs=epochs, seed=seed)
    found = iou(measure(open_store(store), predict, batch=16, keep=None, progress=False))
    return line(
        name,
        epochs,
        "epochs",
        wall_s=meter.wall,
        cpu_s=meter.cpu,
        floor_cpu_s=cpu_seconds,
        seed=seed,
        parameters=parameters,
        **found,
        peak_rss_mib=peak_rss_mib(),
    )


def colour_iou(patches: xr.Dataset) -> Any:
    """Return the test IoU of a classifier of single pixels by colour."""
    found = dict(measure_baselines(patches, batch=16, progress=False))
    return iou(found["colour"])["test_iou"]


def write_pages(store: Path, out: Path) -> None:
    """Write the report of a run."""
    run_dir, results = out / "models" / "Segmentalist", out / "results"
    evaluate_run(store, run_dir, out_dir=results / "evaluate", progress=False, **PARAMS["evaluate"])
    write_report(
        store, run_dir, results / "evaluate", out_dir=results / "report", **PARAMS["report"]
    )


def main() -> None:
    """Run the cases asked for and print one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="hot_kampala and hot_zanzibar")
    parser.add_argument("--case", choices=CASES, action="append", help="default: default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cpu-seconds", type=float, default=1200, help="of each training")
    parser.add_argument("--split-seed", type=int, default=PARAMS["split"]["seed"])
    parser.add_argument("--quick", action="store_true", help="one epoch: does it run?")
    parser.add_argument("--out", type=Path, help="keep everything here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        prepare = PARAMS["prepare"] | {"resolution_m": 0.3, "overlap": 0.0}
        split = PARAMS["split"] | {"seed": args.split_seed}
        store = build_store(args.data, out, prepare, split)
        colour = colour_iou(open_store(store))
        for name in args.case or ["default"]:
            epochs = 1 if args.quick else epochs_for(name, store, args.cpu_seconds)
            for seed in range(args.seeds):
                here = out / f"{name}_{seed}"
                line = run_case(name, seed, store, here, epochs) | {"colour_test_iou": colour}
                line |= {"floor_cpu_s": args.cpu_seconds}
                print(
                    json.dumps(line | {"ratio": round(line["cpu_s"] / args.cpu_seconds, 2)}),
                    flush=True,
                )
                if args.out and name != "script":
                    write_pages(store, here)


if __name__ == "__main__":
    main()
