"""A process that combines stores and kills itself at one of its file operations."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path
from typing import Any

from dying import Operations
from patchsets import small_layout

from gim_cv import scatter
from gim_cv.combine import combine_stores
from gim_cv.store import write_store

# Forked off a process that has imported all and has no threads: a run takes no start-up time.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["gim_cv.combine"])
PATCH_BYTES = 8 * 8 * 3


def write_pairs(folder: Path, sets: dict[str, Any]) -> None:
    """Write one store per pair, in small blocks."""
    with layout_of(sets):
        for name, patches in sets.items():
            write_store(patches, folder / "pairs" / name, recipe={"px": 8})


def layout_of(sets: dict[str, Any]) -> Any:
    """Return the context of blocks of 4 patches and shards of 16."""
    return small_layout(PATCH_BYTES * next(iter(sets.values()))["image"].dtype.itemsize)


def run(folder: Path, itemsize: int, kill_at: int = 0) -> tuple[int, int, str]:
    """Combine ``folder/pairs`` into ``folder/out`` in a process of its own.

    Parameters
    ----------
    folder
        Has ``pairs``; unfinished work goes to ``tmp``.
    itemsize
        Bytes of a pixel's value.
    kill_at
        The file operation below ``tmp`` or upon ``out`` to die before, from 1; 0: none.

    Returns
    -------
    tuple
        Exit code (-9 when killed), number of operations, what it said on stderr.
    """
    process = PROCESSES.Process(target=_combine, args=(folder, itemsize, kill_at))
    process.start()
    process.join()
    ops = int((folder / "ops").read_text()) if process.exitcode == 0 else kill_at
    return process.exitcode, ops, (folder / "said").read_text()


def _combine(folder: Path, itemsize: int, kill_at: int) -> None:
    sys.stderr = (folder / "said").open("w", buffering=1)
    scatter.STATE_SECONDS = 0.0
    seen = Operations((folder / "tmp", folder / "out"), kill_at)
    paths = sorted((folder / "pairs").iterdir())
    with small_layout(PATCH_BYTES * itemsize):
        combine_stores(
            paths, folder / "out", seed=3, memory_mib=64, tmp_dir=folder / "tmp", progress=True
        )
    (folder / "ops").write_text(str(seen.count))
