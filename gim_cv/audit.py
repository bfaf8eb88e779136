"""What the catalog's data are, before any work: facts, doubts and errors of every pair."""

from __future__ import annotations

import filecmp
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import shapely
from numpy.typing import NDArray

from gim_cv.catalog import DatasetSpec, Pair
from gim_cv.errors import GimError
from gim_cv.pairs import PatchOptions, open_scene
from gim_cv.patches import IGNORE, SPLITS, Window
from gim_cv.scene import Scene
from gim_cv.scheduling import ordered_map
from gim_cv.shift import label_shift
from gim_cv.territory import footprint

Array = NDArray[Any]
SAMPLES = 16
SAMPLE_PX = 256
THUMBNAIL = 16
SAME_IMAGE = 0.98
"""Correlation of two thumbnails from which two scenes are taken for one."""
SPREAD_PERCENT = 50
"""Share of the image, below which the bounding box of all polygons makes one wonder."""
SAME_RESOLUTION = 1.25
"""Largest ratio of two ground resolutions that are taken for the same."""


@dataclass
class PairAudit:
    """What was found of one pair.

    Attributes
    ----------
    name
        Name of the pair.
    facts
        JSON-able: crs, resolution_m, dtype, bands, height, width, features, repaired,
        cover_percent, class_percent, ignored_percent, shift_px, patches, mib, seconds.
    errors
        Why it cannot be prepared.
    warnings
        What a person should look at.
    """

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outline: shapely.Polygon | None = None
    thumbnail: Array | None = None
    files: tuple[Path, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return name, facts, errors and warnings, as for JSON."""
        return {
            "name": self.name,
            **self.facts,
            "errors": list(self.errors),
            "warnings": list(self.warnings),
        }


def audit_pairs(
    pairs: Sequence[Pair],
    raw_dir: Path,
    *,
    progress: str | None = None,
    **options: Unpack[PatchOptions],
) -> list[PairAudit]:
    """Return an audit of each pair, and of what the pairs share; little of each image is read.

    Parameters
    ----------
    pairs
        The catalog's entries.
    raw_dir
        Folder of the sources.
    progress
        Title of a progress bar on stderr, or None.
    options
        How they would be cut; see `gim_cv.pairs.PatchOptions`.
    """

    def audit(pair: Pair) -> PairAudit:
        return audit_pair(pair, raw_dir, **options)

    found = list(ordered_map(audit, pairs, progress=progress))
    _compare(found)
    return found


def audit_pair(pair: Pair, raw_dir: Path, **options: Unpack[PatchOptions]) -> PairAudit:
    """Return what can be told of a pair from its headers and a few windows of pixels."""
    try:
        audit = audit_scene(pair, open_scene(pair, raw_dir, **options))
    except GimError as err:
        return PairAudit(pair.name, errors=[str(err)])
    audit.warnings += unshared(pair.image_paths(raw_dir))
    audit.files = tuple(pair.image_paths(raw_dir)) if pair.bounds is None else ()
    return audit


def unshared(rasters: Iterable[Path]) -> list[str]:
    """Return a warning of each raster that has its place from a file which .dvcignore leaves out.

    GDAL keeps statistics in such files too, which may well be left out.
    """
    found = []
    for path in rasters:
        beside = path.with_name(f"{path.name}.aux.xml")
        text = beside.read_text(encoding="utf-8", errors="replace") if beside.is_file() else ""
        if "<SRS" in text or "<GeoTransform" in text:
            found.append(
                f"{beside.name} says where {path.name} lies, and DVC does not keep it: "
                "a clone lacks it. Write it into the raster, with gdal_translate -of GTiff"
            )
    return found


def audit_scene(pair: Pair, scene: Scene) -> PairAudit:
    """Return what can be told of an opened pair by reading a few windows of its pixels.

    Raises
    ------
    DataError
        A window cannot be read, or a label has no class.
    """
    audit = PairAudit(pair.name, describe(scene), outline=footprint(scene.image.grid))
    _sample(scene, pair, audit)
    _judge(audit)
    return audit


def describe(scene: Scene) -> dict[str, Any]:
    """Return what headers, labels and the split say of a scene, without reading pixels."""
    image, grid = scene.image, scene.image.grid
    table = np.concatenate([np.empty((0, 3), np.int64), *scene.tasks()])
    counts = np.bincount(table[:, 2].astype(np.int64), minlength=len(SPLITS))
    patch_bytes = scene.patches.patch_px**2 * len(image.band_names) * image.dtype.itemsize
    return {
        "crs": grid.crs.to_string() if grid.crs.to_epsg() else grid.crs.name,
        "resolution_m": [round(value, 4) for value in grid.resolution_m],
        "dtype": image.dtype.name,
        "bands": list(image.band_names),
        "height": grid.height,
        "width": grid.width,
        **scene.labels.report,
        "patches": dict(zip(SPLITS, counts.tolist(), strict=True)),
        "mib": round(len(table) * patch_bytes / 2**20, 1),
    }


def _windows(scene: Scene) -> list[Window]:
    """Return up to `SAMPLES` windows, spread evenly over the raster."""
    grid = scene.image.grid
    side = round(SAMPLES**0.5)
    tops = np.unique(np.linspace(0, max(grid.height - SAMPLE_PX, 0), side).astype(int))
    lefts = np.unique(np.linspace(0, max(grid.width - SAMPLE_PX, 0), side).astype(int))
    height, width = min(SAMPLE_PX, grid.height), min(SAMPLE_PX, grid.width)
    return [Window(int(top), int(left), height, width) for top in tops for left in lefts]


def _sample(scene: Scene, pair: Pair, audit: PairAudit) -> None:
    """Read the sample windows, and note classes, shift, thumbnail and the time it took."""
    began, pixels = time.perf_counter(), 0
    counts = np.zeros(IGNORE + 1, np.int64)
    samples, thumbnails = [], []
    for window in _windows(scene):
        image, mask, valid = scene.read(window)
        counts += np.bincount(mask.ravel(), minlength=IGNORE + 1)
        pixels += mask.size
        thumbnails.append(_thumbnail(image))
        if valid.mean() > 0.5:
            samples.append((image, mask))
    known = max(int(counts[:IGNORE].sum()), 1)
    shares = (100 * counts[: len(pair.class_names)] / known).round(1).tolist()
    shift = label_shift(samples)
    per_pixel = (time.perf_counter() - began) / pixels
    audit.facts |= {
        "class_percent": dict(zip(pair.class_names, shares, strict=True)),
        "ignored_percent": round(100 * float(counts[IGNORE] / pixels), 1),
        "shift_px": None if shift is None else list(shift),
        "seconds": round(per_pixel * scene.image.grid.height * scene.image.grid.width, 1),
    }
    audit.thumbnail = np.concatenate(thumbnails)


def _thumbnail(image: Array) -> Array:
    grey = image.mean(axis=-1, dtype=np.float64)
    rows = np.array_split(grey, min(THUMBNAIL, len(grey)), axis=0)
    means = [part.mean(axis=0) for part in rows]
    return np.array([[c.mean() for c in np.array_split(row, THUMBNAIL)] for row in means]).ravel()


def _judge(audit: PairAudit) -> None:
    """Turn facts that look wrong into warnings."""
    facts = audit.facts
    share, vector = facts["cover_percent"], "features" in facts
    if vector and share < SPREAD_PERCENT:
        audit.warnings.append(
            f"all labels lie within {share:g} % of the image: set aoi if the rest is not labelled"
        )
    if not vector and share < 99:
        audit.warnings.append(f"the label raster covers {share:g} % of the image")
    if facts.get("repaired"):
        audit.warnings.append(f"{facts['repaired']} invalid polygons were repaired")
    if facts["shift_px"] and max(map(abs, facts["shift_px"])) >= 2:
        down, right = facts["shift_px"]
        audit.warnings.append(
            f"labels look shifted: edges lie {down:+d} px down and {right:+d} px right of them"
        )
    absent = [name for name, share in facts["class_percent"].items() if share == 0]
    if absent:
        audit.warnings.append(f"no pixel of class {', '.join(absent)} in the sample")
    if not sum(facts["patches"].values()):
        audit.errors.append("no patch would be cut")


def _compare(audits: Iterable[PairAudit]) -> None:
    """Warn of pairs that show the same ground, or the same picture under two names."""
    whole = [audit for audit in audits if audit.outline is not None]
    for one, other in combinations(whole, 2):
        share = _overlap(one, other)
        if share >= 1:
            other.warnings.append(f"{share:.0f} % of the ground is also in {one.name}")
        elif _same_picture(one, other):
            other.warnings.append(f"looks like the image of {one.name}, elsewhere on the ground")
        if _same_file(one, other):
            other.warnings.append(f"the image is the same file as that of {one.name}")


def compare_resolutions(audits: Iterable[PairAudit], datasets: Mapping[str, DatasetSpec]) -> None:
    """Warn of pairs that are cut at another resolution than their dataset says it has."""
    for audit in (one for one in audits if one.facts):
        own = max(audit.facts["resolution_m"])
        for tag, spec in datasets.items():
            said = spec.resolution_m
            if audit.name in spec.pairs and max(own / said, said / own) > SAME_RESOLUTION:
                audit.warnings.append(
                    f"cut at {own:.3g} m per px, while dataset {tag} says {said:g}: set "
                    "prepare.resolution_m to bring pairs together"
                )


def _overlap(one: PairAudit, other: PairAudit) -> float:
    """Return how much of the smaller of two scenes lies in the other, %."""
    if one.outline is None or other.outline is None:
        return 0.0
    common = shapely.intersection(one.outline, other.outline).area
    return float(100 * common / min(one.outline.area, other.outline.area))


def _same_picture(one: PairAudit, other: PairAudit) -> bool:
    a, b = one.thumbnail, other.thumbnail
    if a is None or b is None or a.shape != b.shape or not (np.ptp(a) and np.ptp(b)):
        return False
    return bool(np.corrcoef(a, b)[0, 1] > SAME_IMAGE)


def _same_file(one: PairAudit, other: PairAudit) -> bool:
    return any(filecmp.cmp(a, b, shallow=False) for a in one.files for b in other.files)


def totals(audits: Iterable[PairAudit], scenes: Sequence[PairAudit] = ()) -> Mapping[str, float]:
    """Return patches, MiB and seconds of all pairs; errors and warnings, those of scenes too."""
    rows = list(audits)
    good = [audit.facts for audit in rows if not audit.errors]
    return {
        "patches": sum(sum(facts["patches"].values()) for facts in good),
        "mib": round(sum(facts["mib"] for facts in good), 1),
        "seconds": round(sum(facts["seconds"] for facts in good), 1),
        "errors": sum(len(audit.errors) for audit in (*rows, *scenes)),
        "warnings": sum(len(audit.warnings) for audit in (*rows, *scenes)),
    }
