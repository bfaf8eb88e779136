"""Ground that each class covers, each place counted once."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.footprints import Footprints, Ownership
from gim_cv.patches import SPLITS
from gim_cv.schema import pair_names, split_slice

READ_AT_ONCE = 64


def class_areas(patches: xr.Dataset) -> NDArray[np.float64]:
    """Return ``(pair, class)`` areas in m²: labelled ground, however many patches show it.

    Masks are read once, in the store's order, 64 at a time.

    Parameters
    ----------
    patches
        The combined store.
    """
    names, classes = pair_names(patches), patches.sizes["class"]
    pixels = np.zeros((len(names), classes), np.int64)
    for split in SPLITS:
        part = patches.isel(patch=split_slice(patches, split))
        places = Footprints.of(part)
        owns = Ownership(places)
        for start in range(0, len(places), READ_AT_ONCE):
            masks = part["mask"].isel(patch=slice(start, start + READ_AT_ONCE)).to_numpy()[..., 0]
            for index, mask in enumerate(masks, start=start):
                found = np.bincount(mask[owns(index)], minlength=256)
                pixels[places.pair[index]] += found[:classes]
    grids = [patches.attrs["pairs"][name] for name in names]
    pixel_m2 = np.array([[np.prod(grid["resolution_m"])] for grid in grids], np.float64)
    return np.asarray(pixels * pixel_m2)


def area_text(m2: float) -> str:
    """Return an area in m², ha or km², whichever reads best."""
    for unit, size in (("km²", 1e6), ("ha", 1e4)):
        if m2 >= size:
            return f"{m2 / size:.3g} {unit}"
    return f"{m2:,.0f} m²"
