"""How well the defaults learn real roofs: IoU on Kampala and Zanzibar, beside a plain script.

    python3 benchmarks/learn.py --data DIR [--case NAME …] [--seeds N] [--cpu-seconds S] [--out DIR]

prints one JSON line a run (a case and a seed) and, at the end, one a case with mean and standard
deviation over the seeds: IoU on validation and test ground at the threshold that is best on
validation ground, and the test IoU of a colour classifier. Each case trains for as many epochs as
cost the same CPU time, its schedule ending with the last: ``floor_cpu_s`` is that time, and
``ratio`` says how well it was met. ``script`` is `plain_unet`, what one would write by hand, on
patches that lie side by side; ``default`` is params.yaml as it is, with patches that overlap;
``side_by_side`` is the same without. All are scored on the patches that lie side by side.

Other work on a machine adds to a program's CPU time, so the epochs are found on a quiet machine,
and the runs, which then depend on nothing but the seed, can follow beside other work:

    python3 benchmarks/learn.py --data DIR [--case NAME …] --calibrate > epochs.jsonl
    python3 benchmarks/learn.py --data DIR [--case NAME …] --epochs epochs.jsonl --seeds 3 --out DIR

``--out`` keeps the lines in ``runs.jsonl``, where those of an interrupted call are found again, and
each run in the folder CASE_SEED: ``overlays`` has what it found, invented and missed on the test
ground. The imagery (drone tiles with OpenStreetMap buildings) is not part of the project: DIR holds
hot_kampala and hot_zanzibar. Each run is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import xarray as xr
import yaml
from measuring import Meter, line, peak_rss_mib, run_step
from plain_unet import train as train_script

from gim_cv.catalog import Pair
from gim_cv.combine import combine_stores
from gim_cv.evaluate import choose_level, measure, measure_baselines, predictor
from gim_cv.fit import fit_model
from gim_cv.gallery import Gallery
from gim_cv.ground import GroundSplit
from gim_cv.pairs import stream_pair
from gim_cv.pictures import write_png
from gim_cv.scores import scores
from gim_cv.store import open_store, store_digest, write_store
from gim_cv.symmetry import Predict
from gim_cv.tally import Tally

ROOT = Path(__file__).resolve().parent.parent
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PAIRS = [(place, n) for place in ("kampala", "zanzibar") for n in (1, 2)]
PLAIN: dict[str, Any] = {"swa_share": 0.0}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "plain": {"train": PLAIN},
    "swa": {"train": {"swa_share": 0.25}},
    "sag": {"model": {"decoder_attention_gates": "SAG"}, "train": PLAIN},
    "deep_supervision": {"model": {"deep_supervision": True}, "train": PLAIN},
    "sag_deep_supervision": {
        "model": {"decoder_attention_gates": "SAG", "deep_supervision": True},
        "train": PLAIN,
    },
    "wbce_adaptive": {"loss": "wbce_adaptive"},
    "bce_dice": {"loss": "bce_dice"},
    "side_by_side": {},
    "script": {},
}
OVERLAPS: dict[str, float] = {"side_by_side": 0.0, "overlapping": PARAMS["prepare"]["overlap"]}
MEASURES = ("val_iou", "test_iou")
RUNS_FILE = "runs.jsonl"


def build_store(
    data: Path, out: Path, pairs: Iterable[tuple[str, int]], split_seed: int, overlap: float
) -> None:
    """Tile images at 0.3 m and shuffle them into one store, combined.zarr."""
    prepare = PARAMS["prepare"] | {"resolution_m": 0.3, "overlap": overlap}
    split = GroundSplit(**PARAMS["split"] | {"seed": split_seed})
    paths = []
    for place, n in pairs:
        name, image = f"{place}_{n}", f"images/{place}_{n}.tif"
        entry = {"name": name, "source": f"hot_{place}", "image": image}
        pair = Pair.model_validate(entry | {"labels": "buildings.geojson"})
        patches = stream_pair(pair, data, split=split, progress=name, **prepare)
        paths.append(out / "patches" / f"{name}.zarr")
        write_store(patches, paths[-1], recipe={}, attrs=patches.attrs, tmp_dir=out / "tmp")
    combine_stores(paths, out / "combined.zarr", seed=0, memory_mib=512, tmp_dir=out / "tmp")


def store_of(folder: Path, name: str = "side_by_side") -> Path:
    """Return the store that a case learns from; all are scored on that of ``side_by_side``."""
    plain = name in ("side_by_side", "script")
    return folder / ("side_by_side" if plain else "overlapping") / "combined.zarr"


def fit_case(name: str, folder: Path, out: Path, *, epochs: int, seed: int) -> tuple[Predict, int]:
    """Train a case; return what predicts, and its number of weights."""
    case, store = CASES[name], store_of(folder, name)
    if name == "script":
        return train_script(open_store(store), epochs=epochs, seed=seed)
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
    run, symmetries = {"run_dir": out / "models" / "Segmentalist"}, PARAMS["evaluate"]["symmetries"]
    return predictor(run, symmetries=symmetries), summary["parameters"]


def run_case(name: str, folder: Path, out: Path, *, epochs: int, seed: int) -> dict[str, Any]:
    """Train, score and draw one case; return what it cost and scored."""
    with Meter() as meter:
        predict, parameters = fit_case(name, folder, out, epochs=epochs, seed=seed)
    patches, kept = open_store(store_of(folder)), out / "predictions.zarr"
    tallies = measure(patches, predict, batch=16, keep=kept, progress=False)
    level = choose_level(tallies["val"], None)
    (out / "overlays").mkdir(exist_ok=True)
    for figure in Gallery(patches, kept, level).ground("test", most=len(PAIRS)):
        write_png(out / "overlays" / f"{figure.name}.png", figure.picture)
    return {
        "wall_s": meter.wall,
        "cpu_s": meter.cpu,
        "peak_rss_mib": peak_rss_mib(),
        "parameters": parameters,
        **ious(tallies, level),
    }


def ious(tallies: Mapping[str, Tally], level: int) -> dict[str, Any]:
    """Return the IoU of validation and test."""
    found: dict[str, Any] = {name: scores(part.total(level)) for name, part in tallies.items()}
    return {f"{name}_iou": round(float(measures["iou"]), 4) for name, measures in found.items()}


def colour_iou(patches: xr.Dataset) -> Any:
    """Return the test IoU of a classifier of single pixels by colour."""
    tallies = dict(measure_baselines(patches, batch=16, progress=False))["colour"]
    return ious(tallies, choose_level(tallies["val"], None))["test_iou"]


def calibrate(name: str, folder: Path, cpu_seconds: float) -> dict[str, Any]:
    """Return how many epochs of a case cost this much CPU time, start-up included."""
    passes = (("--passes", "1"), ("--passes", "4"))
    one, four = (run_step(__file__, "fit", folder, name, *more)["cpu_s"] for more in passes)
    epoch = (four - one) / 3
    epochs = max(1, round(1 + (cpu_seconds - one) / epoch))
    return {"case": name, "epochs": epochs, "cpu_seconds": cpu_seconds, "epoch_cpu_s": epoch}


def budgets(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the epochs of each case: one, as given, or as measured now."""
    if args.quick:
        return {name: {"epochs": 1, "cpu_seconds": args.cpu_seconds} for name in args.case}
    if args.epochs is None:
        return {name: calibrate(name, folder, args.cpu_seconds) for name in args.case}
    return {row["case"]: row for row in read_lines(args.epochs)}


def runs(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the line of each run, all cases of a seed before the next seed; keep what is new."""
    planned, path, store = budgets(args, folder), folder / RUNS_FILE, store_of(folder)
    digest = store_digest(store)[:12]
    kept = read_lines(path) if path.exists() else []
    done = {(run["case"], run["seed"], run["n"], run["store"]): run for run in kept}
    colour = colour_iou(open_store(store))
    for seed in range(args.seeds):
        for name in args.case:
            epochs, least = planned[name]["epochs"], planned[name]["cpu_seconds"]
            key = (name, seed, epochs, digest)
            if key not in done:
                more = ["--passes", str(epochs), "--seed", str(seed)]
                found = run_step(__file__, "run", folder, name, *more)
                found |= {"seed": seed, "colour_test_iou": colour, "store": digest}
                done[key] = line(name, epochs, "epochs", floor_cpu_s=least, **found)
                with path.open("a", encoding="utf-8") as handle:
                    handle.write(json.dumps(done[key]) + "\n")
            yield done[key]


def summary(name: str, found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation of a case's scores over its runs."""
    mine = [run for run in found if run["case"] == name]
    about: dict[str, Any] = {"case": name, "runs": len(mine)}
    for measured in MEASURES:
        values = [float(run[measured]) for run in mine]
        about[measured] = round(mean(values), 4)
        about[f"{measured}_sd"] = round(stdev(values), 4) if len(values) > 1 else None
    return about


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines."""
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Run the cases asked for and print their lines."""
    args = _arguments()
    if args.step:
        print(json.dumps(_step(args)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.out or Path(scratch)
        pairs = PAIRS[: 2 if args.quick else None]
        for name, overlap in OVERLAPS.items():
            build_store(args.data, folder / name, pairs, args.split_seed, overlap)
        if args.calibrate:
            for name in args.case:
                print(json.dumps(calibrate(name, folder, args.cpu_seconds)), flush=True)
            return
        found = []
        for run in runs(args, folder):
            print(json.dumps(run), flush=True)
            found.append(run)
        for name in args.case:
            print(json.dumps(summary(name, found)))


def _step(args: argparse.Namespace) -> dict[str, Any]:
    name, folder = args.case[0], args.folder
    if args.step == "run":
        out = folder / f"{name}_{args.seed}"
        shutil.rmtree(out, ignore_errors=True)  # a run of other epochs
        return run_case(name, folder, out, epochs=args.passes, seed=args.seed)
    with tempfile.TemporaryDirectory() as scratch, Meter() as meter:
        fit_case(name, folder, Path(scratch), epochs=args.passes, seed=args.seed)
    return {"cpu_s": meter.cpu}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="hot_kampala and hot_zanzibar")
    parser.add_argument("--case", choices=CASES, action="append", help="default: default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cpu-seconds", type=float, default=1200, help="of each training")
    parser.add_argument("--calibrate", action="store_true", help="print the epochs, no more")
    parser.add_argument("--epochs", type=Path, help="what --calibrate printed")
    parser.add_argument("--split-seed", type=int, default=PARAMS["split"]["seed"])
    parser.add_argument("--quick", action="store_true", help="one epoch, one place: does it run?")
    parser.add_argument("--out", type=Path, help="keep everything here")
    parser.add_argument("--step", choices=("fit", "run"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--passes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.data is None and args.step is None:
        parser.error("--data: where is the imagery?")
    args.case = args.case or ["default"]
    return args


if __name__ == "__main__":
    main()
