"""The list of patch stores that a project has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gim_cv.atomic import write_text
from gim_cv.errors import StoreError
from gim_cv.ownership import foreign_content
from gim_cv.patches import SPLITS
from gim_cv.store import open_group, store_digest


def write_manifest(patches_dir: Path, pairs: Iterable[str], out: Path) -> list[str]:
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

    Returns
    -------
    list of str
        Names of the stores that were dropped.

    Raises
    ------
    MissingError
        A pair has no store.
    StoreError
        A store is torn, or a folder is no store of a pair. Nothing has been dropped.
    """
    wanted = {f"{name}.zarr": name for name in pairs}
    stale = _stale_stores(patches_dir, wanted)
    rows = {name: _describe(patches_dir / stem) for stem, name in sorted(wanted.items())}
    for path in stale:
        shutil.rmtree(path)
    write_text(out, json.dumps(rows, indent=2, sort_keys=True) + "\n")
    return [path.name for path in stale]


def _stale_stores(patches_dir: Path, wanted: Container[str]) -> list[Path]:
    """Return the stores of other pairs than those wanted; plain files do not count."""
    others = [path for path in sorted(patches_dir.iterdir()) if path.name not in wanted]
    stale = [path for path in others if not path.is_file()]
    for path in stale:
        if not _is_pair_store(path):
            raise StoreError(
                "not the store of a pair, and DVC would hash it with them",
                path=path,
                remedy="Move it elsewhere, for instance to data/prepared",
            )
    return stale


def _is_pair_store(path: Path) -> bool:
    """Return whether this is a pair's store under the pair's name, or what is left of one."""
    if path.suffix != ".zarr" or foreign_content(path) is not None:
        return False
    try:
        attrs = open_group(path).attrs.asdict()
    except StoreError:
        return True
    pairs: Any = attrs["pairs"]
    return list(pairs) == [path.stem] and "shuffle_seed" not in attrs


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
