"""Every kind of input that a team may have, good and bad, made small; docs/inputs.md runs it."""

from varieties import refused, taken
from varieties.making import BAD, GOOD, GRID, Scene, mask, pixels, plain, write_tif
from varieties.preparing import PREPARE, SPLIT, outcome

__all__ = [
    "BAD",
    "GOOD",
    "GRID",
    "PREPARE",
    "SPLIT",
    "Scene",
    "mask",
    "outcome",
    "pixels",
    "plain",
    "refused",
    "taken",
    "write_tif",
]
