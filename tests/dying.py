"""A process that kills itself before one of its file operations."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Operations:
    """Counts this process's file operations below some folders, and dies before one of them.

    Parameters
    ----------
    roots
        The folders.
    kill_at
        The operation to die before, from 1; 0: none.
    """

    def __init__(self, roots: Iterable[Path], kill_at: int) -> None:
        self.roots, self.kill_at, self.count = tuple(map(str, roots)), kill_at, 0
        sys.addaudithook(self._see)

    def _see(self, _event: str, args: tuple[Any, ...]) -> None:
        if any(isinstance(arg, str | Path) and str(arg).startswith(self.roots) for arg in args):
            self.count += 1
            if self.count == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
