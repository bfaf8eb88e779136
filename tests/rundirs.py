"""Run directories without any training: on disk, and at tags of a small repository."""

import json
import subprocess
import sys

import numpy as np
import yaml

from gim_cv.results import write_counts
from gim_cv.rundir import run_digest
from gim_cv.tally import Tally

PIPELINE = {"artifacts": {"segmentalist": {"path": "data/models/Segmentalist", "type": "model"}}}
LOSSES = {"first": 0.9, "second": 10.2}


def evaluated_run(models, name, *, recall, parameters, blocks=30, seed=0, digest="aaaa"):
    """A run directory with its evaluation inside: blocks of 400 px, a quarter positive."""
    folder = models / f"Segmentalist_{name}"
    out = folder / "evaluate"
    out.mkdir(parents=True)
    (folder / "run.yml").write_text(yaml.safe_dump({"loss": name, "parameters": parameters}))
    (folder / "history.csv").write_text("epoch,loss,val_loss\n0,0.5,0.6\n")
    rng = np.random.default_rng(seed)
    tally = Tally(3)
    for index in range(blocks):
        hard = rng.normal(0, 0.05)
        tp = int(np.clip(round(100 * (recall + hard + rng.normal(0, 0.01))), 0, 100))
        counts = np.zeros((3, 3), np.int64)
        counts[:2, :2] = [[290, 10], [100 - tp, tp]]
        tally.add((0, index, 0), counts)
    write_counts(out / "counts.parquet", ["town"], {"val": tally, "test": tally}, 128)
    part = {"iou": recall, "f1": None, "precision": None, "recall": recall}
    metrics = {"val": part, "test": part, "test_digest": digest}
    (out / "metrics.json").write_text(json.dumps(metrics))
    (out / "scores.json").write_text(json.dumps({"run_sha256": run_digest(folder)}))
    return folder


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def dvc(folder, *arguments):
    return run(folder, sys.executable, "-m", "dvc", "-q", *arguments)


def start_repository(root):
    """Make a DVC repository without a commit."""
    run(root, "git", "init", "-q")
    run(root, "git", "config", "user.email", "a@b.c")
    run(root, "git", "config", "user.name", "A")
    dvc(root, "init")
    dvc(root, "config", "core.analytics", "false")
    return root


def add_and_tag(root, output, tag):
    """Commit an output under DVC, as a tag."""
    dvc(root, "add", output)
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-q", "-m", tag)
    run(root, "git", "tag", tag)


def make_repository(root):
    """Make two tags, each with another trained run under DVC; only the cache has the first."""
    start_repository(root)
    (root / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    for tag, loss in LOSSES.items():
        model = root / "data/models/Segmentalist"
        model.mkdir(parents=True, exist_ok=True)
        (model / "run.yml").write_text(yaml.safe_dump({"loss": tag, "parameters": 5}))
        (model / "history.csv").write_text(f"epoch,loss,val_loss\n0,1.0,{loss}\n")
        (model / "best.weights.h5").write_text(tag)
        (model / "samples").mkdir(exist_ok=True)
        (model / "samples/X0_val.npy").write_text(tag)
        add_and_tag(root, "data/models/Segmentalist", tag)
    return root
