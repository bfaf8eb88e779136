"""What single and composite training datasets share: arrays, batches, a store to cache them in."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.errors import ConfigError, RunError
from gim_cv.generators import PATCH_ID, BatchGeneratorFn, call_generator
from gim_cv.origins import check_origins, forget_origins, note_origins
from gim_cv.ownership import check_replaceable
from gim_cv.sampling import chosen_index, filled_index, split_index
from gim_cv.store import open_group, open_store

OversampleFn = Callable[..., NDArray[np.int64]]
"""Takes a patch dataset and the keyword `groups` (pair → tag), returns train positions with
repeats: `balanced_oversample`."""


class PreparedArrays(ABC):
    """Patches of images and masks that are made by `prepare`, or loaded from a store.

    Parameters
    ----------
    batch_generator_fn
        Makes batches from X and y: `pair_batch_generator`, `fancy_batch_generator`, or an own one.
    cache_directory
        The store that `save_prepared_arrays` writes.
    oversample_fn
        Chooses the patches of a train epoch; None: each once.
    """

    def __init__(
        self,
        batch_generator_fn: BatchGeneratorFn | None,
        cache_directory: str | Path | None,
        oversample_fn: OversampleFn | None,
    ) -> None:
        self.batch_generator_fn = batch_generator_fn
        self.cache_directory = cache_directory
        self.oversample_fn = oversample_fn
        self._patches: xr.Dataset | None = None

    @abstractmethod
    def recipe(self) -> dict[str, object]:
        """Return all that decides the arrays' content, as the store keeps it."""

    @abstractmethod
    def contents(self) -> Mapping[str, object]:
        """Return what the inputs hold, where the recipe cannot say: see `gim_cv.origins`."""

    @abstractmethod
    def groups(self) -> Mapping[str, str]:
        """Return pair name → tag."""

    def settings(self) -> dict[str, Any]:
        """Return what a composite of these patches and others takes over; None where unset."""
        return {"oversample_fn": self.oversample_fn}

    @abstractmethod
    def prepare(self) -> None:
        """Make X and y: lazy dask arrays, computed when they are used."""

    @abstractmethod
    def _write(self, path: Path) -> None:
        """Write the store of these patches."""

    # --- arrays -------------------------------------------------------------------------------

    @property
    def patches(self) -> xr.Dataset:
        """The patch dataset behind X and y.

        Raises
        ------
        RunError
            Nothing is prepared yet.
        """
        if self._patches is None:
            raise RunError(
                "the arrays are not there yet", remedy="Call prepare() or load_prepared_arrays()"
            )
        return self._patches

    @property
    def X(self) -> Any:  # noqa: N802 - the seed's name
        """Images (patch, row, col, band), a dask array in the source's type."""
        return self.patches["image"].data

    @property
    def y(self) -> Any:
        """Masks (patch, row, col, 1), a dask array of uint8 class ids, 255 = ignore."""
        return self.patches["mask"].data

    @property
    def X_train(self) -> Any:  # noqa: N802
        """Images of the train split."""
        return self._part("image", "train")

    @property
    def y_train(self) -> Any:
        """Masks of the train split."""
        return self._part("mask", "train")

    @property
    def X_val(self) -> Any:  # noqa: N802
        """Images of the validation split."""
        return self._part("image", "val")

    @property
    def y_val(self) -> Any:
        """Masks of the validation split."""
        return self._part("mask", "val")

    @property
    def X_test(self) -> Any:  # noqa: N802
        """Images of the test split; none if the split has two parts."""
        return self._part("image", "test")

    @property
    def y_test(self) -> Any:
        """Masks of the test split."""
        return self._part("mask", "test")

    def _part(self, name: str, split: str) -> Any:
        index = split_index(self.patches, split)
        data = self.patches[name].data
        together = len(index) and index[-1] - index[0] + 1 == len(index)
        return data[int(index[0]) : int(index[-1]) + 1] if together else data[index]

    def __len__(self) -> int:
        return self.patches.sizes["patch"]

    def __getitem__(self, index: int | slice) -> tuple[Any, Any]:
        return self.X[index], self.y[index]

    # --- batches ------------------------------------------------------------------------------

    def batch_gen_train(self) -> Any:
        """Return augmented batches of the train split, for ``model.fit`` or a ``for`` loop.

        Raises
        ------
        ConfigError
            What `oversample_fn` returned is not positions of the train split.
        DataError
            The split has no patch.
        """
        positions = None
        if self.oversample_fn is not None:
            chosen = self.oversample_fn(self.patches, groups=self.groups())
            chosen = chosen_index(self.patches, "train", chosen)
            positions = np.searchsorted(split_index(self.patches, "train"), chosen)
        return self._batches("train", training=True, oversample=positions)

    def batch_gen_val(self) -> Any:
        """Return batches of the validation split, in order and without augmentation.

        Raises
        ------
        DataError
            The split has no patch.
        ConfigError
            `batch_generator_fn` cannot be told not to augment.
        """
        return self._batches("val", training=False)

    def batch_gen_test(self) -> Any:
        """Return batches of the test split, as `batch_gen_val` does."""
        return self._batches("test", training=False)

    def _batches(self, split: str, **options: Any) -> Any:
        if self.batch_generator_fn is None:
            raise ConfigError(
                "no batch generator",
                remedy="Set batch_generator_fn, e.g. to partial(fancy_batch_generator, ...)",
            )
        scale = self.patches.attrs.get("statistics", {}).get("scale")
        X, y = self._part("image", split), self._part("mask", split)
        ids = self.patches[list(PATCH_ID)].isel(patch=filled_index(self.patches, split))
        return call_generator(self.batch_generator_fn, X, y, scale=scale, ids=ids, **options)

    # --- the store ----------------------------------------------------------------------------

    def save_prepared_arrays(self) -> None:
        """Write X and y to `cache_directory`, streamed; they point at that store from now on.

        An older store there is replaced.

        Raises
        ------
        StoreError
            Something that is no patch store stands there; nothing was read or written.
        ConfigError
            No `cache_directory` is set.
        """
        path = self._cache()
        check_replaceable(path)
        self._write(path)
        note_origins(path, self.contents())
        self._patches = open_store(path)

    def load_prepared_arrays(self) -> None:
        """Let X and y point at the store in `cache_directory`.

        Raises
        ------
        MissingError
            There is no store (a FileNotFoundError).
        StoreError
            It is torn, or was made otherwise than these datasets are, or of files that have
            changed since: the first difference is named (a ValueError).
        ConfigError
            No `cache_directory` is set (a ValueError).
        """
        path = self._cache()
        patches = open_store(path, recipe=self.recipe())
        check_origins(path, self.contents)
        self._patches = patches

    def delete_prepared_arrays(self) -> None:
        """Remove the store in `cache_directory`; X and y are to be prepared again.

        Raises
        ------
        MissingError
            There is no store.
        StoreError
            What is there is no whole patch store: it is left alone.
        """
        path = self._cache()
        open_group(path)
        shutil.rmtree(path)
        forget_origins(path)
        self._patches = None

    def _cache(self) -> Path:
        if self.cache_directory is None:
            raise ConfigError("no cache_directory is set", remedy="Set it to the store's path")
        return Path(self.cache_directory)
