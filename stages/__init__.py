"""The pipeline's stages, one module each: read parameters, call one function, write one output.

DVC starts them as ``python3 -m stages.<name>``. Where the shell's Python is not the one that gim_cv
is installed for, the project's own `.venv` takes over: of this folder, or of one above, since
queued experiments run in a copy inside the project.
"""

import importlib.util
import os
import sys
from pathlib import Path

# TensorFlow reads it at its import: errors only, no notes about the machine.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if importlib.util.find_spec("zarr") is None:
    for folder in (Path.cwd(), *Path.cwd().parents):
        interpreter = folder / ".venv" / "bin" / "python"
        if interpreter.exists() and Path(sys.executable) != interpreter:
            os.execv(interpreter, [str(interpreter), *sys.orig_argv[1:]])  # noqa: S606
    sys.exit("gim_cv is not installed for this Python: activate the environment that has it")
