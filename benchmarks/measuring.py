"""What measures a block of code or a process, and the line that every benchmark prints."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

REPEATS = 3


class Meter:
    """Wall and CPU seconds of a block."""

    def __enter__(self) -> Self:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = time.process_time() - self._cpu


def peak_rss_mib() -> int:
    """Return the most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def line(
    case: str, n: int, unit: str, *, wall_s: float, cpu_s: float, floor_cpu_s: float, **more: Any
) -> dict[str, Any]:
    """Return what every benchmark says of a case, and `more`."""
    return {
        "case": case,
        "n": n,
        "unit": unit,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "floor_cpu_s": round(floor_cpu_s, 2),
        "ratio": round(cpu_s / floor_cpu_s, 2),
        "per_cpu_s": round(n / cpu_s, 3),
        **more,
    }


def run_step(script: str, step: str, folder: Path, case: str, *more: str) -> dict[str, Any]:
    """Run one step of a benchmark in a process of its own; return what it printed last."""
    command = [sys.executable, script, "--step", step, "--folder", str(folder), "--case", case]
    done = subprocess.run([*command, *more], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def best_of(
    repeats: int, script: str, steps: Sequence[str], folder: Path, case: str, *more: str
) -> list[dict[str, Any]]:
    """Run steps in turn, `repeats` times; return of each the run that took the least CPU time.

    Other work on a machine only ever adds to a program's CPU time. Of memory the most is returned.
    """
    rounds = [
        [run_step(script, step, folder, case, *more) for step in steps] for _ in range(repeats)
    ]
    found = [min(runs, key=lambda run: run["cpu_s"]) for runs in zip(*rounds, strict=True)]
    most = [max(run.get("peak_rss_mib", 0) for run in runs) for runs in zip(*rounds, strict=True)]
    return [best | {"peak_rss_mib": rss} for best, rss in zip(found, most, strict=True)]
