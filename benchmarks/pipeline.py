"""What `dvc repro` costs as pairs become many, against DVC alone on the same machine.

    python3 benchmarks/pipeline.py [--case NAME] [--quick]

prints one JSON line a case:

================ =========================================================================
``case``         name
``n``, ``unit``  pairs in the catalog
``wall_s``       time of ``dvc repro combine``, its start counted
``cpu_s``        its CPU time with its stages', user and system
``floor_cpu_s``  CPU time of the floor (below)
``ratio``        cpu_s / floor_cpu_s
``per_cpu_s``    pairs for each second of CPU
``peak_rss_mib`` most memory that it, or a stage, held
``ran``          stages that it ran
================ =========================================================================

``nothing_changed_N``: nothing is to do. The floor is the same command over stub stages: as many,
with the same outputs, one script as the code of all, and no parameters.
``init_N``: the same in a project of ``gim-cv init``, whose code is one digest a stage.
``one_changed_N``: one pair's catalog entry has changed. The floor is the idle run, and recipes, the
changed pair's own stage, manifest and combine, each run by itself.

A command and its floor take turns, and the least CPU time of each counts. Every pair is the same
small scene under another name. The first build is not timed: its outputs are made in one process
and entered into dvc.lock at once. Each project is a temporary folder (TMPDIR). 1,000 pairs take
some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from dvc.repo import Repo
from generated import line
from rasters import write_pair

from gim_cv.catalog import load_catalog
from gim_cv.combine import combine_stores
from gim_cv.config import Project, load_params
from gim_cv.ground import GroundSplit
from gim_cv.manifest import write_manifest
from gim_cv.pairs import stream_pair
from gim_cv.store import write_store
from gim_cv.template import CODE, code_file, pipeline_files, without_code

ROOT = Path(__file__).resolve().parent.parent
SIDE_PX = 256
COUNTS, MANY = (2, 100), 1_000
CHANGED = 100
ROUNDS = 3
SMALL = {"patch_px": 64, "overlap": 0.0, "min_valid": 0.1, "min_labelled": 0.1}
STUB = """\
vars:
  - data/catalog.yaml:pairs
stages:
  prepare:
    foreach: ${pairs}
    do:
      cmd: python3 stub.py ${key}
      deps: [stub.py, "data/raw/${item.source}"]
      outs: ["data/patches/${key}.zarr"]
  manifest:
    cmd: python3 stub.py
    deps: [stub.py, data/patches]
    outs: [{data/manifest.json: {cache: false}}]
  combine:
    cmd: python3 stub.py
    deps: [stub.py, data/manifest.json, data/patches]
    outs: [data/combined.zarr]
"""


class Cost(NamedTuple):
    """What a command cost, and what it said."""

    wall_s: float
    cpu_s: float
    text: str


def cost(folder: Path, *command: str) -> Cost:
    """Run a command in a project, and return what it and its children cost.

    Compiled modules are kept, as they are wherever Python has not been told otherwise.
    """
    site = str(folder / ".dvc" / "site")
    env = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": site, "PATH": _path()}
    env |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - began, cpu, done.stdout)


def _path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def prepare(folder: Path, count: int) -> None:
    """Write a scene, a catalog with `count` pairs of it, and all outputs up to the combined store.

    The stages' functions are called in this process.
    """
    entry = write_pair(folder / "data/raw/scenes", 0, SIDE_PX, None)
    pair = {"source": "scenes", "image": entry["image"], "labels": entry["labels"]}
    names = [f"pair_{number:04d}" for number in range(count)]
    catalog = {
        "sources": {"scenes": {"url": "file:scenes", "licence": "CC0"}},
        "pairs": {name: dict(pair) for name in names},
        "datasets": {"all": {"pairs": names, "resolution_m": 0.5}},
    }
    (folder / "data/catalog.yaml").write_text(yaml.safe_dump(catalog))
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values |= {"datasets": "all", "prepare": values["prepare"] | SMALL}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    here = Project(folder)
    params, found = load_params(here.params), load_catalog(here.catalog)
    options, split = params.prepare.model_dump(), params.split.model_dump()
    for name in names:
        one = found.pair(name)
        patches = stream_pair(one, here.raw, split=GroundSplit(**split), **options)
        recipe = {"pair": one.model_dump(mode="json"), "prepare": options, "split": split}
        out = here.patches / f"{name}.zarr"
        write_store(patches, out, recipe=recipe, attrs=patches.attrs, tmp_dir=here.tmp)
    write_manifest(here.patches, names, here.manifest)
    stores = [here.patches / f"{name}.zarr" for name in names]
    combine = params.combine
    combine_stores(
        stores,
        here.combined,
        seed=combine.shuffle_seed,
        memory_mib=combine.memory_mib,
        tmp_dir=here.tmp,
        progress=False,
    )


def as_checkout(folder: Path) -> None:
    """Make the folder a checkout of this repository: its pipeline and its code."""
    for part in ("gim_cv", "stages"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, folder / part, ignore=ignore)
    _without_fetch(folder, (ROOT / "dvc.yaml").read_text())
    cost(folder, "python3", "-m", "stages.recipes")


def as_init(folder: Path) -> None:
    """Make the folder a project of ``gim-cv init``."""
    files = pipeline_files()
    (folder / CODE).write_text(code_file(files))
    shutil.copytree(ROOT / "stages", folder / "stages")
    _without_fetch(folder, without_code((ROOT / "dvc.yaml").read_text()))
    cost(folder, "python3", "-m", "stages.recipes")


def as_stub(folder: Path) -> None:
    """Make the folder a pipeline of as many stages that would do nothing."""
    (folder / "stub.py").write_text("# does nothing\n")
    (folder / "dvc.yaml").write_text(STUB)


def _without_fetch(folder: Path, text: str) -> None:
    """Write dvc.yaml up to combine; the scene is there, and is not to be fetched."""
    content = yaml.safe_load(text)
    wanted = ("recipes", "prepare", "manifest", "combine")
    stages = {name: body for name, body in content["stages"].items() if name in wanted}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"vars": content["vars"], "stages": stages}))


def enter(folder: Path) -> None:
    """Put the folder under git and DVC, and enter its outputs into dvc.lock at once."""
    for name in (".gitignore", ".dvcignore"):
        shutil.copyfile(ROOT / name, folder / name)
    cost(folder, "git", "init", "-q")
    cost(folder, "dvc", "init", "-q", "-f")
    shutil.copyfile(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    os.environ["DVC_SITE_CACHE_DIR"] = str(folder / ".dvc" / "site")
    with Repo(str(folder)) as repo, repo.lock:
        stages = repo.index.stages
        for stage in stages:
            stage.save(run_cache=False)
            stage.commit()
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
    settled = cost(folder, "dvc", "repro", "combine").text
    if "up to date" not in settled:
        raise SystemExit(f"the outputs that were entered are not what DVC expects:\n{settled}")


def made(kind: Callable[[Path], None], base: Path, folder: Path) -> Path:
    """Return a project of one kind over the outputs in `base`."""
    shutil.copytree(base, folder)
    kind(folder)
    enter(folder)
    return folder


def least(costs: Sequence[Cost]) -> Cost:
    """Return the cost with the least CPU time."""
    return min(costs, key=lambda found: found.cpu_s)


def idle(folders: Sequence[Path]) -> list[Cost]:
    """Return what an idle run costs in each project: the least of some, taken in turns."""
    turns = [[cost(folder, "dvc", "repro", "combine") for folder in folders] for _ in range(ROUNDS)]
    return [least(costs) for costs in zip(*turns, strict=True)]


def pipeline_line(case: str, count: int, found: Cost, floor_cpu_s: float) -> dict[str, Any]:
    """Return the line of a case, with the stages that ran."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    ran = [text.split("'")[1] for text in found.text.splitlines() if text.startswith("Running")]
    return line(
        case,
        count,
        "pairs",
        wall_s=found.wall_s,
        cpu_s=found.cpu_s,
        floor_cpu_s=floor_cpu_s,
        peak_rss_mib=peak,
        ran=ran,
    )


def changed(folder: Path, count: int, idle_cpu_s: float) -> dict[str, Any]:
    """Change one pair's entry, each time another's; return what the pipeline then costs."""
    path, found, alone = folder / "data/catalog.yaml", [], []
    for name in [f"pair_{number:04d}" for number in range(ROUNDS)]:
        catalog = yaml.safe_load(path.read_text())
        catalog["pairs"][name] = catalog["pairs"][name] | {"buffer_m": 0.5}
        path.write_text(yaml.safe_dump(catalog))
        found.append(cost(folder, "dvc", "repro", "combine"))
        commands = (["recipes"], ["prepare", name], ["manifest"], ["combine"])
        parts = [cost(folder, "python3", "-m", f"stages.{c[0]}", *c[1:]).cpu_s for c in commands]
        alone.append(sum(parts))
    return pipeline_line(f"one_changed_{count}", count, least(found), idle_cpu_s + min(alone))


def run(count: int, wanted: set[str]) -> None:
    """Print the lines of the cases with `count` pairs, all where none is wanted."""
    edit = f"one_changed_{count}"
    edits = edit in wanted or (not wanted and count == CHANGED)
    kinds = {f"nothing_changed_{count}": as_checkout, f"init_{count}": as_init}
    cases = [name for name in kinds if name in wanted or not wanted]
    if edits and f"nothing_changed_{count}" not in cases:
        cases = [f"nothing_changed_{count}", *cases]
    if not cases:
        return
    with tempfile.TemporaryDirectory(prefix="gim_cv-pipeline-") as temporary:
        base = Path(temporary) / "base"
        prepare(base, count)
        stub = made(as_stub, base, Path(temporary) / "stub")
        folders = [made(kinds[case], base, Path(temporary) / case) for case in cases]
        floor, *costs = idle([stub, *folders])
        for case, found in zip(cases, costs, strict=True):
            print(json.dumps(pipeline_line(case, count, found, floor.cpu_s)), flush=True)
        if edits:
            print(json.dumps(changed(folders[0], count, costs[0].cpu_s)), flush=True)


def main() -> None:
    """Run the cases asked for."""
    logging.getLogger("dvc").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--case", action="append", help="one case, as its line names it; may repeat"
    )
    parser.add_argument("--quick", action="store_true", help="2 and 100 pairs: some minutes")
    args = parser.parse_args()
    for count in COUNTS if args.quick else (*COUNTS, MANY):
        run(count, set(args.case or ()))


if __name__ == "__main__":
    main()
