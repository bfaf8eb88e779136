"""Recipes: what a store was made from, as canonical JSON that two makers can compare."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gim_cv.atomic import atomic_folder
from gim_cv.errors import MissingError


def canonical_json(value: object) -> str:
    """Return `value` as JSON with sorted keys and no spaces: equal values, equal text.

    Parameters
    ----------
    value
        Mappings, sequences, strings, numbers, None. Non-finite numbers become the strings
        ``"NaN"``, ``"Infinity"``, ``"-Infinity"``, as in zarr metadata.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_text(text: str) -> str:
    """Return the SHA-256 of `text` in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def recipe_difference(
    here: Mapping[str, object], stored: Mapping[str, object], where: str = "in the store"
) -> str | None:
    """Name the first key, in sorted order, on which two recipes differ; None if they agree.

    Examples
    --------
    >>> recipe_difference({"prepare": {"patch_px": 256}}, {"prepare": {"patch_px": 128}})
    'prepare.patch_px: 256 here, 128 in the store'
    >>> recipe_difference({"seed": 1}, {"seed": 1}) is None
    True
    """
    ours, theirs = dict(_leaves(_plain(here))), dict(_leaves(_plain(stored)))
    for key in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(key, "absent"), theirs.get(key, "absent")
        if mine != other:
            return f"{key}: {mine} here, {other} {where}"
    return None


def write_recipes(
    recipes: Mapping[str, Mapping[str, object]], folder: Path, *, tmp_dir: Path | None = None
) -> None:
    """Leave in `folder` one JSON file a recipe, under its name, and nothing else."""
    with atomic_folder(folder, tmp_dir=tmp_dir) as unfinished:
        for name, recipe in recipes.items():
            text = json.dumps(recipe, indent=2, sort_keys=True) + "\n"
            (unfinished / f"{name}.json").write_text(text, encoding="utf-8")


def read_recipe(folder: Path, name: str) -> dict[str, Any]:
    """Return one recipe that `write_recipes` left in `folder`.

    Raises
    ------
    MissingError
        It has none of that name.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise MissingError(
            "no recipe of that name",
            path=path,
            remedy="Name the pair in data/catalog.yaml, and run `dvc repro recipes`",
        )
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def recipe_names(folder: Path) -> list[str]:
    """Return the sorted names of the recipes in `folder`."""
    return sorted(path.stem for path in folder.glob("*.json"))


def _plain(value: object) -> object:
    """Return `value` in the types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    return value


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted keys with their values as JSON text; empty containers are leaves."""
    items: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        items = [(f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(f"{prefix}[{index}]", item) for index, item in enumerate(value)]
    if prefix and not items:
        yield prefix, json.dumps(value)
    for key, item in items:
        yield from _leaves(item, key)
