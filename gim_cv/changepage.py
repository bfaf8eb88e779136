"""One page about what changed between two versions of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gim_cv.areas import area_text
from gim_cv.differences import Difference, all_classes
from gim_cv.gallery import PANEL_PX
from gim_cv.labelmaps import Flips, LabelMap, named_labels
from gim_cv.page import data_uri, render
from gim_cv.pictures import (
    PALETTE,
    Picture,
    display_bands,
    is_blank,
    limits,
    panels,
    stretched,
)
from gim_cv.scores import IGNORE
from gim_cv.versions import Version

KINDS = {3: ("image", "outlines", "what changed"), 4: ("image", "before", "after", "what changed")}


def write_changes(difference: Difference, before: Version, after: Version, out: Path) -> None:
    """Write the page `out`, which needs no other file."""
    content = difference.content
    classes = list(dict.fromkeys(name for row in content["scenes"] for name in _classes(row)))
    context = {
        **content,
        "attribution": content.get("attribution"),
        "title": f"{before.name} → {after.name}",
        "classes": classes,
        "class_colours": [(n, PALETTE[k % len(PALETTE)]) for k, n in enumerate(classes)][1:],
        "strips": [_strip(one, before, after) for one in difference.flips],
        "area": area_text,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render("changes.html.j2", context), encoding="utf-8")


def _classes(row: dict[str, Any]) -> list[str]:
    return [name for one in row.get("area_m2", ()) if one for name in one]


def _strip(flips: Flips, before: Version, after: Version) -> dict[str, Any]:
    path = f"data/patches/{flips.pair}.zarr"
    was, now = (LabelMap(version.store(path)) for version in (before, after))
    place = f"{flips.pair} · row {flips.window.row0}, column {flips.window.col0}"
    pictures = draw_flips(was, now, flips)
    alts = [f"{kind} of ground of {flips.pair}" for kind in KINDS[len(pictures)]]
    uris = [data_uri(picture) for picture in pictures]
    return {"uris": uris, "alts": alts, "place": place, "pixels": flips.pixels}


def draw_flips(before: LabelMap, after: LabelMap, flips: Flips) -> list[Picture]:
    """Return the pictures of a square of ground: its image, and its labels before and after.

    Ground that one version does not label is hatched.
    """
    names, window = all_classes(before, after), flips.window
    image = after.image(window)[..., display_bands(after.grid["bands"])]
    ids = [named_labels(one, window, names) for one in (before, after)]
    known = (ids[0] < len(names)) & (ids[1] < len(names))
    was, now = (np.where(known, one, IGNORE).astype(np.uint8) for one in ids)
    shown = limits(image[None], ~is_blank(image)[None])
    times = max(1, -(-PANEL_PX // len(image)))
    return panels(stretched(image, shown), was, now, classes=len(names), times=times)
