"""What changed between two versions of a project: scenes, labels, statistics, scores.

Scenes are compared by the digests in ``data/manifest.json``; only stores that differ are read, a
strip of ground at a time (`gim_cv.labelmaps`). Why a store differs is what its recipe and
``dvc.lock`` recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gim_cv.errors import MissingError
from gim_cv.labelmaps import Counts, Flips, LabelMap, count_changes, worst
from gim_cv.patches import SPLITS
from gim_cv.store import open_group
from gim_cv.template import CODE
from gim_cv.versions import METRICS, Version

GRID = ("crs", "transform", "height", "width")
Row = dict[str, Any]
Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Difference:
    """All that differs between two versions, and the squares of ground whose labels flip most.

    Attributes
    ----------
    content
        JSON values, for ``--json`` and the tables.
    flips
        Squares, worst first.
    """

    content: Row
    flips: list[Flips]


def compare_versions(before: Version, after: Version, *, squares: int) -> Difference:
    """Return what changed from one version to another.

    Parameters
    ----------
    before, after
        The two versions.
    squares
        How many squares of flipped labels to return.

    Raises
    ------
    MissingError
        A changed store of one version is neither in DVC's cache nor in a remote.
    """
    scenes, flips = [], list[Flips]()
    for row, found in _scenes(before, after, squares):
        scenes.append(row)
        flips = worst([*flips, *found], squares)
    statistics = [_statistics(version) for version in (before, after)]
    content = {
        "before": before.name,
        "after": after.name,
        "params": changed_values(before.data("params.yaml"), after.data("params.yaml")),
        "scenes": scenes,
        "patches": _totals(scenes),
        "statistics": compare_statistics(*statistics),
        "metrics": changed_metrics(before, after),
        "stale_scores": [
            version.name
            for version, found in zip((before, after), statistics, strict=True)
            if found and _test_digest(version) not in {None, str(found["test_digest"])[:12]}
        ],
        "same_test_ground": _test_digest(before) == _test_digest(after),
    }
    return Difference(content | {"summary": summary(content)}, flips)


def summary(content: Row) -> str:
    """Return one sentence or two about the scenes, the labels and the score."""
    scenes = content["scenes"]
    states = [row["state"] for row in scenes]
    parts = [
        f"{states.count(state)} {state}"
        for state in ("added", "removed", "changed")
        if state in states
    ]
    text = f"{len(scenes)} scenes: {', '.join(parts) or 'none differs'}."
    flipped = sum(row["flipped"]["pixels"] for row in scenes if "flipped" in row)
    if flipped:
        text += f" {flipped:,} pixels of ground have another class."
    score = {row["name"]: row for row in content["metrics"]}.get("test.iou")
    if score and score["change"] is not None:
        text += f" Test IoU {score['before']:.3f} → {score['after']:.3f}"
        text += "." if content["same_test_ground"] else ", each on its own test ground."
    return text


def changed_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    """Return name, before and after of each leaf in which two nested mappings differ."""
    was, now = dict(_leaves(before)), dict(_leaves(after))
    names = sorted(was.keys() | now.keys())
    rows = [{"name": name, "before": was.get(name), "after": now.get(name)} for name in names]
    return [row for row in rows if row["before"] != row["after"]]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# --- scenes -----------------------------------------------------------------------------------


def _scenes(before: Version, after: Version, squares: int) -> Iterator[tuple[Row, list[Flips]]]:
    was, now = (_manifest(version) for version in (before, after))
    locks = tuple(version.data("dvc.lock").get("stages", {}) for version in (before, after))
    for name in sorted(was.keys() | now.keys()):
        both = was.get(name), now.get(name)
        row: Row = {"name": name, "state": _state(*both)}
        row["patches"] = [one["patches"] if one else None for one in both]
        if row["state"] == "same":
            yield row, []
            continue
        paths = [f"data/patches/{name}.zarr" if one else None for one in both]
        maps = [
            LabelMap(version.store(path)) if path else None
            for version, path in zip((before, after), paths, strict=True)
        ]
        recipes = [one.recipe for one in maps if one]
        row["why"] = list(causes(name, recipes, locks, after)) if len(recipes) == 2 else []
        changes, flips = compare_labels(*maps, squares=squares)
        yield row | changes, flips


def _manifest(version: Version) -> Row:
    found = version.data("data/manifest.json")
    if not found:
        raise MissingError(
            f"nothing has been prepared at {version.name}",
            path="data/manifest.json",
            remedy="Run dvc repro there, and commit what it writes",
        )
    return found


def _state(before: Row | None, after: Row | None) -> str:
    if before is None or after is None:
        return "added" if before is None else "removed"
    return "same" if before["digest"] == after["digest"] else "changed"


def causes(
    name: str, recipes: Sequence[Row], locks: Sequence[Row], version: Version
) -> Iterator[str]:
    """Yield what made a pair's store another one: raw files, parameters, catalog entry, code.

    Parameters
    ----------
    name
        The pair.
    recipes
        The store's recipe, before and after.
    locks
        The stages of ``dvc.lock``, before and after.
    version
        Where the cache is that knows the files of a raw folder.
    """
    was, now = (_raw(lock.get(f"prepare@{name}", {})) for lock in locks)
    for path in sorted(was.keys() | now.keys()):
        if was.get(path) != now.get(path):
            files = changed_values(*(version.files_of(str(d.get(path))) for d in (was, now)))
            names = ", ".join(str(row["name"]) for row in files)
            yield f"raw data {path}" + (f" ({names})" if names else "")
    for row in changed_values(*recipes):
        key = re.sub(r"^pair\.", f"pairs.{name}.", str(row["name"]))
        yield f"{key}: {row['before']} → {row['after']}"
    before, after = (_code(lock.get("recipes", {})) for lock in locks)
    if before != after:
        yield "code"


def _raw(stage: Row) -> dict[str, str]:
    paths = {dep["path"]: dep["md5"] for dep in stage.get("deps", [])}
    return {path: md5 for path, md5 in paths.items() if path.startswith("data/raw/")}


def _code(stage: Row) -> list[object]:
    """Return the hashes of files that a stage depends on, or the digest of a project's code."""
    return [
        [(dep["path"], dep["md5"]) for dep in stage.get("deps", [])],
        stage.get("params", {}).get(CODE),
    ]


def compare_labels(
    before: LabelMap | None, after: LabelMap | None, *, squares: int
) -> tuple[Row, list[Flips]]:
    """Return area by class before and after, and where grids agree, the pixels that flipped.

    Each pixel of ground counts once, however many patches show it.
    """
    names = all_classes(before, after)
    moved = _moved(before, after)
    if moved is None:
        counts, flips = count_changes(before, after, names, keep=squares)
    else:
        counts, flips = count_changes(before, None, names, keep=0)
        counts = counts + count_changes(None, after, names, keep=0)[0]
    areas = [
        dict(zip(names, (pixels[:-1] * one.pixel_m2).tolist(), strict=True)) if one else None
        for one, pixels in ((before, counts.sum(1)), (after, counts.sum(0)))
    ]
    row: Row = {"area_m2": areas, "grid": moved}
    if before and after and moved is None:
        row["flipped"] = _flipped(counts, names)
    return row, flips


def all_classes(before: LabelMap | None, after: LabelMap | None) -> list[str]:
    """Return the classes of both, each once, those of `before` first."""
    return list(dict.fromkeys(name for one in (before, after) if one for name in one.classes))


def _moved(before: LabelMap | None, after: LabelMap | None) -> str | None:
    """Return how two grids differ, None where they agree or there is one alone."""
    if before is None or after is None:
        return None
    for key in GRID:
        if before.grid[key] != after.grid[key]:
            return f"{key}: {before.grid[key]} → {after.grid[key]}"
    return None


def _flipped(counts: Counts, names: list[str]) -> Row:
    seen = counts[:-1, :-1]
    total = int(seen.sum() - np.trace(seen))
    ways = [
        {"from": names[a], "to": names[b], "pixels": int(seen[a, b])}
        for a, b in np.argwhere(seen).tolist()
        if a != b
    ]
    return {
        "pixels": total,
        "share": total / int(seen.sum()) if seen.any() else None,
        "ways": sorted(ways, key=lambda way: -int(str(way["pixels"]))),
        "newly_labelled": int(counts[-1, :-1].sum()),
        "no_longer_labelled": int(counts[:-1, -1].sum()),
    }


def _totals(scenes: Iterable[Row]) -> Row:
    return {
        split: [sum(row["patches"][side][split] for row in scenes if row["patches"][side])
                for side in (0, 1)]
        for split in SPLITS
    }  # fmt: skip


# --- statistics and scores --------------------------------------------------------------------


def _statistics(version: Version) -> Row | None:
    """Return what the combined store says of its train pixels; None where it cannot be had."""
    try:
        attrs = open_group(version.store("data/combined.zarr")).attrs
    except MissingError:
        return None
    pairs: Any = attrs["pairs"]
    statistics: Any = attrs["statistics"]
    bands = next(iter(pairs.values()))["bands"]
    keys = ("classes", "test_digest")
    return {"bands": bands, **{key: attrs[key] for key in keys}, **statistics}


def compare_statistics(before: Row | None, after: Row | None) -> Row | None:
    """Return how bands and class frequencies drifted, None where a version has no store at hand.

    A band's drift is the change of its mean in standard deviations of the version before.
    """
    if before is None or after is None:
        return None
    bands = [
        {
            "name": name,
            "mean": [mean, after["mean"][k]],
            "std": [std, after["std"][k]],
            "drift": (after["mean"][k] - mean) / std if std else None,
        }
        for k, (name, mean, std) in enumerate(
            zip(before["bands"], before["mean"], before["std"], strict=True)
        )
        if k < len(after["mean"])
    ]
    shares = [_shares(one) for one in (before, after)]
    names = dict.fromkeys([*shares[0], *shares[1]])
    classes = [{"name": name, "share": [one.get(name) for one in shares]} for name in names]
    return {"bands": bands, "classes": classes, "pixels": [before["count"], after["count"]]}


def _shares(found: Row) -> dict[str, float]:
    total = sum(found["class_pixels"])
    return {n: px / total for n, px in zip(found["classes"], found["class_pixels"], strict=True)}


def changed_metrics(before: Version, after: Version) -> list[Row]:
    """Return every number of ``metrics.json`` at both versions, and the difference."""
    was, now = (dict(_leaves(version.data(METRICS))) for version in (before, after))
    rows = []
    for name in sorted(was.keys() | now.keys(), key=lambda key: (key.startswith("baseline"), key)):
        both = was.get(name), now.get(name)
        if any(isinstance(value, float | int) for value in both):
            change = None if None in both else both[1] - both[0]  # type: ignore[operator]
            rows.append({"name": name, "before": both[0], "after": both[1], "change": change})
    return rows


def _test_digest(version: Version) -> object:
    return version.data(METRICS).get("test_digest")
