"""One page about a run, in one file, and its pictures as PNG."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gim_cv.gallery import SPLIT_COLOURS, Figure, Gallery, Patch, choose
from gim_cv.page import data_uri, render
from gim_cv.pictures import PALETTE, Picture, side_by_side, write_png
from gim_cv.rundir import read_history, read_run, read_scores
from gim_cv.sections import curve_section, data_section, run_section, score_section
from gim_cv.store import open_store
from gim_cv.yamlfile import read_yaml

SEED = 0
PAIRS_SHOWN = 4
MAPS_SHOWN = 12
PANELS = {2: ("image", "outlines", "errors")}
MANY_PANELS = ("image", "truth", "prediction", "errors")


def write_report(
    store: Path,
    run_dir: Path,
    evaluate_dir: Path,
    *,
    out_dir: Path,
    patches_shown: int,
    lock: Path | None = None,
) -> Path:
    """Write ``index.html``, which needs no other file, and ``images/*.png``; return the page.

    Parameters
    ----------
    store
        The combined store that the run was evaluated on.
    run_dir
        The run directory.
    evaluate_dir
        What `gim_cv.evaluate.evaluate_run` wrote.
    out_dir
        Folder for the page; an older page and its ``images`` are replaced.
    patches_shown
        How many patches to show, in equal parts best, worst and random.
    lock
        ``dvc.lock``, whose hashes lead from the raw data to the weights, and to their commit.

    Raises
    ------
    MissingError
        The run has not been evaluated.
    """
    patches = open_store(store)
    found = read_scores(evaluate_dir)
    locked = read_yaml(lock) if lock and lock.is_file() else {}
    shown = "test" if found["splits"]["test"]["blocks"] else "val"
    gallery = Gallery(patches, evaluate_dir / "predictions.zarr", int(found["level"]))
    images = out_dir / "images"
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    context = {
        **score_section(found, evaluate_dir, shown),
        **curve_section(found, read_history(run_dir), shown),
        **data_section(patches),
        **run_section(patches, read_run(run_dir), run_dir, locked),
        **picture_section(gallery, patches, shown, patches_shown, images),
    }
    page = out_dir / "index.html"
    page.write_text(render("report.html.j2", context), encoding="utf-8")
    return page


def picture_section(
    gallery: Gallery, patches: xr.Dataset, shown: str, patches_shown: int, images: Path
) -> dict[str, Any]:
    """Return the page's pictures as data URIs, and write them as PNG into `images`."""
    scored = gallery.scored()
    each = max(1, patches_shown // 3)
    chosen = choose(scored, each, patch_px=patches.sizes["row"], seed=SEED)
    names = list(patches.attrs["classes"])
    grounds = list(gallery.ground(shown, most=PAIRS_SHOWN))
    maps = gallery.maps(most=MAPS_SHOWN)
    for figure in (*grounds, *maps):
        write_png(images / f"{figure.name}.png", figure.picture)
    return {
        "patches": {
            kind: _strips(gallery, some, names, images / f"patches_{kind}.png")
            for kind, some in chosen.items()
        },
        "grounds": [_embedded(figure) for figure in grounds],
        "maps": [_embedded(figure) for figure in maps],
        "class_colours": [(name, PALETTE[k % len(PALETTE)]) for k, name in enumerate(names)][1:],
        "split_colours": list(SPLIT_COLOURS.items()),
    }


def _strips(
    gallery: Gallery, chosen: Sequence[Patch], classes: Sequence[str], sheet: Path
) -> list[dict[str, Any]]:
    """Return what the page shows of each patch, and write all of them as one PNG."""
    kinds = PANELS.get(len(classes), MANY_PANELS)
    strips = [gallery.strip(patch) for patch in chosen]
    if strips:
        write_png(sheet, np.concatenate([_with_gap(side_by_side(strip)) for strip in strips]))
    return [
        {
            "uris": [data_uri(panel) for panel in strip],
            "alts": [f"{kind} of a patch of {patch.pair}" for kind in kinds],
            "place": f"{patch.pair} · {patch.split} · row {patch.row0}, column {patch.col0}",
            "score": patch.score,
        }
        for patch, strip in zip(chosen, strips, strict=True)
    ]


def _with_gap(picture: Picture, gap: int = 6) -> Picture:
    return np.concatenate([picture, np.zeros((gap, *picture.shape[1:]), np.uint8)])


def _embedded(figure: Figure) -> dict[str, str]:
    return {"uri": data_uri(figure.picture), "alt": figure.alt, "caption": figure.caption}
