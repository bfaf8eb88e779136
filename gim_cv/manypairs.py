"""Many pairs at once: `prepare` side by side, and dvc.lock written once for a hundred pairs.

``dvc repro`` runs one stage after the other and writes dvc.lock anew after each. Here each stage
goes the way that it goes there (look for an earlier run, run, hash, link to the cache, lock), so
that the stores, the cache and dvc.lock are those that ``dvc repro`` makes.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dask.system import CPU_COUNT
from dvc.repo import Repo
from dvc.stage.cache import RunCacheNotFoundError

BATCH = 100
"""Pairs that enter dvc.lock together: the most that a killed run has to do again."""


class Outcome(NamedTuple):
    """What became of a pair: whether its store is there now, and what its stage said on stderr."""

    pair: str
    whole: bool
    said: str = ""


def prepare_pairs(root: Path, *, jobs: int) -> Iterator[Outcome]:
    """Bring every pair's store in `root` up to date, and yield each pair that was not.

    What `prepare` depends on (``fetch``, ``recipes``) is brought up to date first, by DVC. A pair
    that fails stops no other.

    Parameters
    ----------
    root
        A project under DVC.
    jobs
        Pairs under way at a time, each in a process of its own. They share the CPUs.
    """
    with Repo(str(root)) as repo:
        repo.reproduce([stage.addressing for stage in _stages(repo, "fetch", "recipes")])
    threads = os.environ.get("DASK_NUM_WORKERS") or str(max(1, CPU_COUNT // jobs))
    run = partial(_run, root=root, env=os.environ | {"DASK_NUM_WORKERS": threads})
    with (
        Repo(str(root)) as repo,
        repo.lock,
        repo.scm_context(quiet=True),
        ThreadPoolExecutor(jobs) as pool,
    ):
        todo = [stage for stage in _stages(repo, "prepare") if stage.changed()]
        for start in range(0, len(todo), BATCH):
            batch, whole = todo[start : start + BATCH], []
            known = [_restored(stage) for stage in batch]
            for stage, outcome in zip(batch, pool.map(run, batch, known), strict=True):
                whole += [stage] if outcome.whole else []
                yield outcome
            _enter(whole)


def _stages(repo: Any, *names: str) -> list[Any]:
    """Return the stages of these names, those among them that a ``foreach`` makes too."""
    return [s for s in repo.index.stages if getattr(s, "name", "").split("@")[0] in names]


def _restored(stage: Any) -> bool:
    """Return whether DVC had what an earlier run like this made; it is in place then."""
    try:
        stage.repo.stage_cache.restore(stage)
    except RunCacheNotFoundError:
        return False
    return True


def _run(stage: Any, known: bool, *, root: Path, env: dict[str, str]) -> Outcome:  # noqa: FBT001
    pair = stage.name.split("@")[1]
    if known:
        return Outcome(pair, whole=True)
    command = shlex.split(stage.cmd)
    done = subprocess.run(
        command, cwd=root, env=env, stderr=subprocess.PIPE, text=True, check=False
    )
    return Outcome(pair, whole=not done.returncode, said=done.stderr)


def _enter(stages: list[Any]) -> None:
    """Hash what the stages made, link it to the cache, and write it all into dvc.lock."""
    for stage in stages:
        stage.save()
        stage.commit()
    if stages:
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
