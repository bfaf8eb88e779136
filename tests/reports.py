"""An evaluated run without any training, and a reader of the pages made from it."""

from __future__ import annotations

import html.parser

import yaml
from towns import batches

from gim_cv.baseline import Constant
from gim_cv.curves import best_level
from gim_cv.footprints import Footprints, GroundBlocks
from gim_cv.inventory import count_objects
from gim_cv.results import write_results
from gim_cv.rundir import run_digest
from gim_cv.schema import split_slice
from gim_cv.store import open_store, write_store
from gim_cv.tally import PredictionWriter, tally


def measured(patches, predict, keep=None):
    found = {}
    for split in ("val", "test"):
        part = patches.isel(patch=split_slice(patches, split))
        shape = tuple(part["mask"].shape[:3])
        options = {"classes": patches.sizes["class"]}
        args = batches(patches, split, 8), predict, Footprints.of(part), GroundBlocks(part)
        if keep is None:
            found[split] = tally(*args, **options)
            continue
        with PredictionWriter(keep, split, shape) as writer:
            found[split] = tally(*args, keep=writer, **options)
    return found


def evaluated(folder, patches, predict):
    """A store, a run and its evaluation, as the pipeline leaves them, without any training."""
    write_store(patches, folder / "combined.zarr", recipe={"pairs": {"town_0": {"bands": None}}})
    patches, classes = open_store(folder / "combined.zarr"), patches.sizes["class"]
    out = folder / "evaluate"
    out.mkdir()
    model = measured(patches, predict, out / "predictions.zarr")
    baselines = {
        "colour": (measured(patches, lambda images: predict(images) * 0.8), 128),
        "all_foreground" if classes == 2 else "majority": (
            measured(patches, Constant(1, classes)),
            128,
        ),
    }
    level = best_level(model["val"].histogram)
    run = folder / "Segmentalist"
    run.mkdir()
    parameters = {"loss": "tversky", "seed": 3, "datasets": "town", "parameters": 1234}
    (run / "run.yml").write_text(yaml.safe_dump({**parameters, "model": {"act": "<b>relu"}}))
    lines = [f"{e},{1 / (e + 1)},{1.1 / (e + 1)},{e / 9},{e / 10}" for e in range(8)]
    (run / "history.csv").write_text("\n".join(["epoch,loss,val_loss,iou,val_iou", *lines]) + "\n")
    objects = {
        split: count_objects(patches, split, out / "predictions.zarr", level) for split in model
    }
    write_results(
        patches,
        model,
        level,
        baselines,
        objects,
        about={"run_sha256": run_digest(run)},
        out_dir=out,
    )
    return folder


class Page(html.parser.HTMLParser):
    """Collects what a browser would fetch, and checks that elements are closed."""

    VOID = frozenset({"meta", "link", "img", "line", "circle", "polyline", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.images, self.scripts = [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.scripts += tag == "script"
        if tag == "img":
            assert attrs["alt"]
            self.images.append(attrs["src"])
        self.links += [attrs[name] for name in ("href", "srcset", "action") if name in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag
