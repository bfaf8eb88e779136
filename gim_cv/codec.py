"""zstd as numcodecs brings it, whatever else the process has loaded.

TensorFlow makes its own version of zstd visible to all libraries that are loaded after it, and
numcodecs' would then call that one: the same pixels, in other bytes. Importing `gim_cv` therefore
loads the library of numcodecs' zstd bound to itself, before or after TensorFlow.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache

from gim_cv.binding import bind_to_itself
from gim_cv.errors import StoreError

KNOWN_ANSWER = "e3b311e235a95325"
"""Start of the SHA-256 of what numcodecs 0.16 makes of `_probe`."""

BOUND = bind_to_itself("numcodecs.zstd")


@cache
def check_codec() -> None:
    """Return if zstd compresses as numcodecs' own version does.

    Raises
    ------
    StoreError
        numcodecs had been loaded before gim_cv, after a library that brings another zstd.
    """
    if BOUND or not hasattr(ctypes.CDLL(None), "ZSTD_compress2"):
        return
    from numcodecs.zstd import Zstd  # noqa: PLC0415 - only now may it be loaded

    found = hashlib.sha256(Zstd(level=1, checksum=True).encode(_probe())).hexdigest()
    if not found.startswith(KNOWN_ANSWER):
        raise StoreError(
            "zstd compresses into other bytes than those of a store",
            expected="zstd of numcodecs",
            found="that of a library loaded earlier, such as TensorFlow",
            remedy="Import gim_cv before zarr, xarray and TensorFlow",
        )


def _probe() -> bytes:
    """Return bytes that versions 1.5.6 and 1.5.7 of zstd compress differently."""
    return bytes(i * i % 65_521 % 64 for i in range(300_000)) + bytes(300_000)
