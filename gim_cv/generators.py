"""Batch generators over arrays of patches, with the seed's names and parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.agreement import alike
from gim_cv.batches import Augmenter, Batches
from gim_cv.datagen import Datagen
from gim_cv.errors import ConfigError, DataError
from gim_cv.schema import ARRAYS

BatchGeneratorFn = Callable[..., Any]
"""Called with arrays X and y of patches, and with those of the keywords `training`, `scale`, `ids`
and `oversample` that it has."""
PATCH_ID = ("pair", "row0", "col0")
"""Coordinates by which a patch is known, wherever it stands."""


def pair_batch_generator(
    X: Any,
    y: Any,
    *,
    batch_size: int = 4,
    img_aug: Datagen | None = None,
    mask_aug: Datagen | None = None,
    seed: int = 42,
    shuffle: bool = True,
    training: bool = True,
    scale: float | None = None,
    oversample: NDArray[np.int64] | None = None,
    ids: xr.Dataset | None = None,
) -> Batches:
    """Return batches of images and masks after simple augmentation, ready for ``model.fit``.

    Parameters
    ----------
    X
        (patch, row, col, band) images, dask or numpy.
    y
        (patch, row, col, 1) uint8 class ids, 255 = ignore.
    batch_size
        Patches a batch; the last one of an epoch may be smaller.
    img_aug, mask_aug
        From `get_aug_datagen`, with the same geometry. Images are multiplied by
        ``img_aug.rescale``, masks never. None: no augmentation, images scaled to about 0–1.
    seed
        Of order and augmentation.
    shuffle
        Whether each epoch has an order of its own.
    training
        False: no augmentation, and the order of the arrays; as for validation and test.
    scale
        Divisor of images where there is no `img_aug`; None: 255 for uint8.
    oversample
        Positions to take instead of each patch once.
    ids
        See `patch_table`: augmentation follows from them, not from the order of X and y.

    Raises
    ------
    ConfigError
        `img_aug` and `mask_aug` differ in geometry.
    DataError
        X and y do not belong together.
    """
    if img_aug is not None and mask_aug is not None and not img_aug.moves_like(mask_aug):
        raise ConfigError(
            "img_aug and mask_aug move pixels differently", expected=img_aug, found=mask_aug
        )
    if img_aug is not None:
        scale = 1.0 / img_aug.rescale if img_aug.rescale else scale
    return Batches(
        patch_table(X, y, ids),
        "train",
        batch=batch_size,
        seed=seed,
        shuffle=shuffle and training,
        augmenter=img_aug if training else None,
        scale=scale,
        float32=img_aug is None or img_aug.rescale is not None,
        oversample=oversample,
    )


def fancy_batch_generator(
    X: Any,
    y: Any,
    *,
    batch_size: int = 4,
    augger: Augmenter | None = None,
    client: Any = None,
    seed: int = 42,
    shuffle_blocks_every_epoch: bool = True,
    shuffle_within_blocks: bool = True,
    float32: bool = True,
    training: bool = True,
    scale: float | None = None,
    oversample: NDArray[np.int64] | None = None,
    ids: xr.Dataset | None = None,
) -> Batches:
    """Return augmented batches of images and masks, ready for ``model.fit``.

    Parameters
    ----------
    X
        (patch, row, col, band) images, dask or numpy.
    y
        (patch, row, col, 1) uint8 class ids, 255 = ignore.
    batch_size
        Patches a batch; the last one of an epoch may be smaller.
    augger
        From `strong_aug` or `light_aug`; None: no augmentation.
    client
        A dask client to augment on; None: threads of this process. Same batches either way.
    seed
        Of order and augmentation.
    shuffle_blocks_every_epoch
        Whether each epoch takes the blocks of the arrays in an order of its own.
    shuffle_within_blocks
        Whether patches are mixed among neighbours in that order.
    float32
        Whether images become float32, about 0–1; False: they keep their type and units.
    training
        False: no augmentation, and the order of the arrays; as for validation and test.
    scale
        Divisor of images; None: 255 for uint8.
    oversample
        Positions to take instead of each patch once.
    ids
        See `patch_table`: augmentation follows from them, not from the order of X and y.

    Raises
    ------
    DataError
        X and y do not belong together.
    """
    return Batches(
        patch_table(X, y, ids),
        "train",
        batch=batch_size,
        seed=seed,
        shuffle=shuffle_blocks_every_epoch and training,
        shuffle_within=shuffle_within_blocks and training,
        augmenter=augger if training else None,
        client=client,
        scale=scale,
        float32=float32,
        oversample=oversample,
    )


def patch_table(X: Any, y: Any, ids: xr.Dataset | None = None) -> xr.Dataset:
    """Return arrays of patches as a dataset of one split.

    Parameters
    ----------
    X
        (patch, row, col, band) images.
    y
        (patch, row, col, 1) uint8 class ids.
    ids
        The coordinates `PATCH_ID` of the same patches, e.g. ``patches[["pair", "row0", "col0"]]``;
        None: each patch is known by its position.

    Raises
    ------
    DataError
        The shapes do not fit, or there is no patch.
    """
    if X.ndim != 4 or y.shape != (*X.shape[:3], 1):
        raise DataError(
            "images and masks do not belong together",
            expected=f"masks {(*X.shape[:3], 1)}",
            found=f"images {X.shape}, masks {y.shape}",
        )
    count = X.shape[0]
    if not count:
        raise DataError("no patch to make batches of", found=f"images {X.shape}")
    ids = _by_position(count) if ids is None else ids
    if ids.sizes["patch"] != count:
        raise DataError("ids of other patches", expected=f"{count} ids", found=ids.sizes["patch"])
    return xr.Dataset(
        {"image": (ARRAYS["image"], X), "mask": (ARRAYS["mask"], y)},
        coords={
            "split": ("patch", np.zeros(count, np.int8)),
            **{name: ids.variables[name] for name in PATCH_ID},
        },
    )


def _by_position(count: int) -> xr.Dataset:
    zeros = np.zeros(count, np.int32)
    names = {"flag_values": [0], "flag_meanings": "X"}
    return xr.Dataset(
        coords={
            "pair": ("patch", zeros.astype(np.int16), names),
            "row0": ("patch", np.arange(count, dtype=np.int32)),
            "col0": ("patch", zeros),
        }
    )


def call_generator(generator: BatchGeneratorFn, X: Any, y: Any, **options: Any) -> Any:
    """Return what `generator` makes of X and y, given those of `options` that it knows.

    An own generator of two arrays will do for training; what it cannot be told, it does not do.

    Raises
    ------
    ConfigError
        Patches are to be oversampled and it has no keyword `oversample`, or they are of validation
        or test and it has no keyword `training`: it might augment them.
    """
    known = inspect.signature(generator).parameters
    every = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in known.values())
    needed = {
        "oversample": (options.get("oversample") is not None, "cannot oversample"),
        "training": (options.get("training") is False, "may augment validation and test"),
    }
    for name, (wanted, fault) in needed.items():
        if wanted and not (every or name in known):
            raise ConfigError(
                f"batch_generator_fn {fault}",
                expected=f"a keyword {name}",
                found=f"({', '.join(known)})",
            )
    bound = getattr(generator, "keywords", {})
    given = {
        name: value
        for name, value in options.items()
        if (every or name in known) and (name not in bound or (name, value) == ("training", False))
    }
    return generator(X, y, **given)


def shared_generator(generators: Sequence[BatchGeneratorFn | None]) -> BatchGeneratorFn | None:
    """Return the generator that all of them are, if it is one and the same, else None."""
    first = generators[0]
    return first if all(alike(generator, first) for generator in generators) else None
