"""How well the defaults learn real roofs: test IoU on Kampala and Zanzibar, beside baselines.

One JSON line a case and seed: IoU on validation and test ground, seconds, the colour classifier's
test IoU. The imagery (drone tiles with OpenStreetMap buildings) is not part of the project: give
its folder with ``--data``. ``--out`` keeps runs and reports, to be looked at.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import yaml

from gim_cv.catalog import Pair
from gim_cv.combine import combine_stores
from gim_cv.evaluate import evaluate_run
from gim_cv.fit import fit_model
from gim_cv.ground import GroundSplit
from gim_cv.pairs import stream_pair
from gim_cv.report import write_report
from gim_cv.store import write_store

ROOT = Path(__file__).resolve().parent.parent
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PAIRS = [(place, n) for place in ("kampala", "zanzibar") for n in (1, 2)]
CASES = {
    "plain": {},
    "sag": {"model": {"decoder_attention_gates": "SAG"}},
    "deep_supervision": {"model": {"deep_supervision": True}},
    "swa": {"train": {"swa_start": -10}},
    "bce_dice": {"loss": "bce_dice"},
}


def build_store(data: Path, out: Path, prepare: dict, split: dict) -> Path:
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


def run_case(name: str, seed: int, store: Path, out: Path, epochs: int) -> dict:
    """Train, score and draw one case; return its line."""
    changes = CASES[name]
    train = PARAMS["train"] | {"epochs": epochs} | changes.get("train", {})
    if train["swa_start"] < 0:
        train["swa_start"] += epochs + 1
    run_dir, results = out / "models" / "Segmentalist", out / "results"
    began, cpu = time.monotonic(), time.process_time()
    summary = fit_model(
        store,
        run_dir,
        plots_dir=results / "train",
        loss=changes.get("loss", PARAMS["loss"]),
        loss_args=PARAMS["loss_args"],
        seed=seed,
        model=PARAMS["model"] | changes.get("model", {}),
        train=train,
        augment=PARAMS["augment"],
        metadata={"datasets": "kampala,zanzibar"},
        progress=True,
    )
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    scores = evaluate_run(
        store, run_dir, out_dir=results / "evaluate", progress=True, **PARAMS["evaluate"]
    )
    write_report(
        store, run_dir, results / "evaluate", out_dir=results / "report", **PARAMS["report"]
    )
    return {
        "case": name,
        "n": epochs,
        "unit": "epochs",
        "seed": seed,
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "parameters": summary["parameters"],
        "val_iou": scores["val"]["iou"],
        "test_iou": scores["test"]["iou"],
        "threshold": scores["threshold"],
        "colour_test_iou": scores["baseline"]["colour"]["test_iou"],
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Run the cases asked for and print one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of hot_kampala, hot_zanzibar"
    )
    parser.add_argument("--case", choices=CASES, action="append", help="default: plain")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--split-seed", type=int, default=PARAMS["split"]["seed"])
    parser.add_argument("--quick", action="store_true", help="one epoch: does it run?")
    parser.add_argument("--out", type=Path, help="keep everything here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        prepare = PARAMS["prepare"] | {"resolution_m": 0.3}
        split = PARAMS["split"] | {"seed": args.split_seed}
        store = build_store(args.data, out, prepare, split)
        for name in args.case or ["plain"]:
            for seed in range(args.seeds):
                here = out / f"{name}_{seed}"
                line = run_case(name, seed, store, here, 1 if args.quick else args.epochs)
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
