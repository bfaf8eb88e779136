"""Proof that what lies on disk is what was made: stores, manifest and DVC's cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from gim_cv.config import Project
from gim_cv.errors import GimError, StoreError
from gim_cv.store import open_store, store_digest


def verify_project(here: Project) -> Iterator[tuple[str, GimError | None]]:
    """Yield each thing that was looked at, with what is wrong with it, or None.

    Every pair's store is read whole and its digest compared with the manifest; the combined
    store must open; DVC must have every output in its cache (a full disk can lose one while
    ``dvc repro`` reports success).
    """
    rows = json.loads(here.manifest.read_text(encoding="utf-8")) if here.manifest.exists() else {}
    for name, row in sorted(rows.items()):
        path = here.patches / f"{name}.zarr"
        yield str(path), _fault_of_store(path, str(row["digest"]))
    if here.combined.exists():
        yield str(here.combined), _fault_of_store(here.combined)
    if (here.root / ".dvc").is_dir():
        yield "DVC's cache", _fault_of_cache(here.root)


def _fault_of_store(path: Path, digest: str | None = None) -> GimError | None:
    """Return why a store does not open or, given its digest, is not what it was."""
    remedy = f"Remove it and run `dvc checkout {path}`, or `dvc repro`"
    try:
        open_store(path)
        found = None if digest is None else store_digest(path)
    except StoreError as err:
        what, sides = f"damaged ({err.what})", {"expected": err.expected, "found": err.found}
        return StoreError(what, path=path, remedy=remedy, **sides)
    except GimError as err:
        return err
    except (RuntimeError, ValueError, OSError) as err:
        return StoreError(f"damaged ({err})", path=path, remedy=remedy)
    if found == digest:
        return None
    return StoreError(
        "content differs from data/manifest.json",
        path=path,
        expected=digest,
        found=found,
        remedy=remedy,
    )


def _fault_of_cache(root: Path) -> GimError | None:
    from dvc.repo import Repo  # noqa: PLC0415  DVC takes a second to load

    with Repo(str(root)) as repo:
        lost = sorted(repo.data_status().get("not_in_cache", []))
    if not lost:
        return None
    return StoreError(
        "outputs are missing from DVC's cache",
        path=", ".join(lost),
        remedy="Free disk space, then run `dvc commit`, or `dvc repro` if files are gone",
    )
