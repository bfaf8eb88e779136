"""Libraries bound to themselves, whatever else the process has loaded.

TensorFlow makes its own versions of zstd and SQLite visible to all libraries that are loaded after
it, which would then call those: the same content, in other bytes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from importlib.machinery import PathFinder


@cache
def bind_to_itself(module: str) -> bool:
    """Load the library of an extension module; False: it had been loaded without being bound.

    Asked again, the answer is the same.

    Parameters
    ----------
    module
        Its name, ``package.module``; it is not imported.
    """
    deep = getattr(os, "RTLD_DEEPBIND", None)
    if deep is None:  # macOS and Windows bind by library, not by symbol
        return True
    if module in sys.modules:
        return False
    package = PathFinder.find_spec(module.partition(".")[0])
    spec = PathFinder.find_spec(module, package.submodule_search_locations) if package else None
    if spec is None or spec.origin is None:
        return False
    # Not by import: the package would load all its other libraries under the same flag.
    ctypes.CDLL(spec.origin, os.RTLD_NOW | deep)
    return True
