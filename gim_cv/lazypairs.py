"""A pair → its patch dataset, whose pixels are read when they are computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import dask.array
import numpy as np
import xarray as xr
from dask.delayed import delayed

from gim_cv.catalog import Pair
from gim_cv.pairs import PairStream, PatchOptions, stream_pair
from gim_cv.scene import Harvest, Scene
from gim_cv.schema import layout

da: Any = dask.array  # its functions have no types


def lazy_patches(stream: PairStream) -> xr.Dataset:
    """Return the whole patch dataset of a stream after one pass, its pixels lazy.

    Raises
    ------
    DataError
        Pixels cannot be read, a label has no class, or no patch is left.
    """
    tasks, plans = stream.plan()
    scene, shape, dtype = delayed(stream.scene), stream.shape, stream.scene.image.dtype
    step = layout(shape, dtype).block
    images, masks = [], []
    for task, plan in zip(tasks, plans, strict=True):
        found = delayed(Scene.cut)(scene, task)
        for start in range(0, len(plan), step):
            stop = min(start + step, len(plan))
            both = delayed(Harvest.patches, nout=2)(found, start, stop)
            images.append(da.from_delayed(both[0], (stop - start, *shape), dtype))
            masks.append(da.from_delayed(both[1], (stop - start, *shape[:2], 1), np.uint8))
    return stream.dataset(da.concatenate(images), da.concatenate(masks), plans, stream.attrs())


def build_pair(
    pair: Pair, raw_dir: Path, *, progress: str | None = None, **options: Unpack[PatchOptions]
) -> xr.Dataset:
    """Return the patch dataset of a pair, its pixels lazy.

    The raster is read once now, to learn which patches are kept, and again where `image` and
    `mask` are computed.

    Parameters
    ----------
    pair, raw_dir
        The catalog's entry, and the folder of the sources.
    options
        See `PatchOptions`.
    progress
        Title of a progress bar on stderr, or None.

    Raises
    ------
    DataError
        Pixels cannot be read, a label has no class, or no patch is left.
    """
    return lazy_patches(stream_pair(pair, raw_dir, progress=progress, **options))
