"""The list of patch stores that a project has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gim_cv.patches import SPLITS
from gim_cv.store import open_group, store_digest


def write_manifest(patches_dir: Path, pairs: Iterable[str], out: Path) -> None:
    """Leave in `patches_dir` only the stores of `pairs`, and write what each holds to `out`.

    DVC hashes the folder, so a store left behind by a pair that the catalog no longer names
    would make every clone's copy differ from the one that was committed.

    Parameters
    ----------
    patches_dir
        Folder of ``<pair>.zarr`` stores.
    pairs
        Names of the pairs that the catalog defines.
    out
        JSON file: pair → recipe hash, content digest, patches by split, pixels by class.

    Raises
    ------
    MissingError
        A pair has no store.
    """
    wanted = {f"{name}.zarr": name for name in pairs}
    for path in sorted(patches_dir.iterdir()):
        if path.name not in wanted:
            shutil.rmtree(path)
    rows = {name: _describe(patches_dir / stem) for stem, name in sorted(wanted.items())}
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(rows, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(out)


def _describe(path: Path) -> dict[str, Any]:
    group = open_group(path)
    classes: Any = group.attrs["classes"]
    split = np.asarray(group["split"])
    pixels = np.asarray(group["class_pixels"]).sum(axis=0, dtype=np.int64)
    return {
        "recipe_sha256": group.attrs["recipe_sha256"],
        "digest": store_digest(path),
        "patches": {name: int((split == code).sum()) for code, name in enumerate(SPLITS)},
        "class_pixels": dict(zip(classes, pixels.tolist(), strict=True)),
    }
