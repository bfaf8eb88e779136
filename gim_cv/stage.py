"""What every stage's process does first and last."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from gim_cv.config import project
from gim_cv.errors import GimError
from gim_cv.template import check_code

PR_SET_PDEATHSIG = 1


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`; a GimError becomes one line on stderr and exit status 1."""
    die_with_parent()
    try:
        check_code(project().root, Path(sys.argv[0]).stem)
        main()
    except GimError as err:
        sys.stderr.write(f"error: {err}\n")
        raise SystemExit(1) from err


def die_with_parent() -> None:
    """Have the kernel kill this process when DVC dies.

    A killed ``dvc repro`` leaves its stage running otherwise, and the next one starts a second
    writer beside it.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
