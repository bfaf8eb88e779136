"""What the catalog's scenes are, before any work: whether they can be read and predicted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gim_cv.audit import PairAudit, unshared
from gim_cv.catalog import Scene
from gim_cv.errors import GimError
from gim_cv.raster import open_image
from gim_cv.schema import other_colour

ANY_M = 1.0
"""Resampled, as it is for a model where it has to be, a scene's own pixels need not be square."""


def audit_scenes(
    scenes: Iterable[Scene], raw_dir: Path, pairs: Iterable[PairAudit]
) -> list[PairAudit]:
    """Return an audit of each scene from its header, beside the pairs that a model will learn from.

    Parameters
    ----------
    scenes
        The catalog's entries.
    raw_dir
        Folder of the sources.
    pairs
        Audits of the pairs.
    """
    facts = [audit.facts for audit in pairs if audit.facts]
    return [_audit(scene, raw_dir, facts) for scene in scenes]


def _audit(scene: Scene, raw_dir: Path, pairs: list[dict[str, Any]]) -> PairAudit:
    try:
        image = open_image(
            scene.image_paths(raw_dir),
            **scene.image_options(),
            resolution_m=ANY_M,
            resampling="bilinear",
        )
    except GimError as err:
        return PairAudit(scene.name, errors=[str(err)])
    bands, dtype = list(image.band_names), image.dtype.name
    found = PairAudit(
        scene.name,
        {
            "height": image.native.height,
            "width": image.native.width,
            "resolution_m": [round(value, 4) for value in image.native.resolution_m],
            "bands": bands,
            "dtype": dtype,
        },
        warnings=unshared(scene.image_paths(raw_dir)),
    )
    chosen = scene.bands is not None
    if pairs and not any(_fits(bands, pair["bands"], chosen=chosen) for pair in pairs):
        expected = ", ".join(pairs[0]["bands"])
        found.warnings.append(f"has the bands {', '.join(bands)}, where pairs have {expected}")
    if pairs and dtype not in {pair["dtype"] for pair in pairs}:
        found.warnings.append(f"has pixels of {dtype}, where pairs have {pairs[0]['dtype']}")
    return found


def _fits(bands: list[str], trained: list[str], *, chosen: bool) -> bool:
    """Return whether a model of the bands `trained` can be shown `bands`, by name or number."""
    alike = chosen or not any(map(other_colour, bands, trained))
    by_name = not chosen and set(trained) <= set(bands)
    return by_name or (alike and len(bands) == len(trained))
