"""The objects on a split's ground, counted after its patches are put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from gim_cv.footprints import Footprints, Ownership, owned_pixels, paste, windows_of
from gim_cv.objects import ObjectCounts, edge_width
from gim_cv.patches import IGNORE
from gim_cv.schema import pair_names, split_slice
from gim_cv.tally import read_predictions

WINDOW_PX = 4_096


def count_objects(
    patches: xr.Dataset, split: str, predictions: Path, level: int
) -> list[ObjectCounts]:
    """Return the objects of each class but background on a split's ground, put together.

    Patches are laid side by side first, so that a building across two of them is one. Ground is
    seen in windows of up to 4096 px; an object across two windows counts in both.
    """
    part = patches.isel(patch=split_slice(patches, split))
    places, binary = Footprints.of(part), patches.sizes["class"] == 2
    owns, found = Ownership(places), [ObjectCounts() for _ in range(patches.sizes["class"] - 1)]
    for code, name in enumerate(pair_names(patches)):
        pixel_m2 = float(np.prod(patches.attrs["pairs"][name]["resolution_m"]))
        for window, members in windows_of(places, code, WINDOW_PX):
            masks = part["mask"].isel(patch=members).to_numpy()[..., 0]
            kept = np.stack(list(read_predictions(predictions, split, members)))
            truth = paste(masks, members, places, window, fill=IGNORE)
            said = paste(kept, members, places, window, fill=0)
            guess = (said >= level).astype(np.uint8) if binary else said
            seen = owned_pixels(owns, members, places, window) & (truth != IGNORE)
            for index, counts in enumerate(found, start=1):
                counts.add(
                    truth == index,
                    guess == index,
                    seen,
                    pixel_m2=pixel_m2,
                    edge_px=edge_width(places.patch_px),
                )
    return found
