"""Training datasets: handles on patch datasets, from files to batches.

`TrainingDataset` stands for one image and its mask, `CompositeTrainingDataset` for several that are
pooled and shuffled. What they save is, byte for byte, what the stages prepare and combine write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from gim_cv.atomic import scratch_folder
from gim_cv.catalog import Pair
from gim_cv.combine import combine_stores
from gim_cv.contents import pair_contents
from gim_cv.cuts import read_pipelines
from gim_cv.errors import ConfigError
from gim_cv.files import (
    Either,
    FilePair,
    Source,
    check_names,
    ground_split,
    native_resolution,
    pair_of,
    prune_name,
)
from gim_cv.generators import BatchGeneratorFn, fancy_batch_generator, pair_batch_generator
from gim_cv.ground import GroundSplit
from gim_cv.lazypairs import lazy_patches
from gim_cv.pairs import PairStream, open_scene
from gim_cv.pipelines import get_binary_mask_training_pipeline, get_image_training_pipeline
from gim_cv.pooled import PooledArrays
from gim_cv.pooling import pool_lazily
from gim_cv.prepared import OversampleFn, PreparedArrays
from gim_cv.pruning import PruneFn
from gim_cv.store import write_store

__all__ = [
    "CompositeTrainingDataset",
    "TrainingDataset",
    "fancy_batch_generator",
    "pair_batch_generator",
]

Factory = Callable[[], Pipeline]
MEMORY_MIB = 512


class TrainingDataset(PreparedArrays):
    """Patches of one image and its mask.

    Parameters
    ----------
    image_src
        Raster, or single-band rasters of one grid; or a catalog `Pair`, its files under `raw_dir`.
    mask_src
        Vector file or raster of labels; None with a `Pair`.
    image_pipeline_factory, mask_pipeline_factory
        Return the preprocessing pipelines. They say where patches lie (window, overlap, resolution,
        bands) and what happens to pixel values: see `gim_cv.cuts`.
    batch_generator_fn
        Makes batches from arrays of patches.
    train_val_test_split
        Shares of ground; two of them mean no test part.
    split
        The whole rule by which ground is split, instead of `train_val_test_split`.
    tag
        The dataset that the pair belongs to.
    prune_fn
        Takes image (h, w, C) and mask (h, w, 1) of a patch; True drops it.
    oversample_fn, cache_directory
        See `PreparedArrays`.
    resolution_m
        Ground resolution of the patches, m, instead of the pipeline's resampling factor.
    resampling
        "bilinear" or "cubic", for enlarging.
    all_touched
        Whether a polygon covers each pixel that it touches.
    min_valid, min_labelled
        Least share of valid and of labelled pixels in a patch that is kept.
    raw_dir
        Folder of the catalog's sources, with a `Pair`.
    name
        Of the pair that files make; None: the image's. Pooled pairs have different ones.

    Examples
    --------
    ``TrainingDataset("a.tif", "a.geojson") + TrainingDataset("b.tif", "b.shp")``
    """

    def __init__(
        self,
        image_src: Source | Pair,
        mask_src: str | Path | None = None,
        image_pipeline_factory: Factory = get_image_training_pipeline,
        mask_pipeline_factory: Factory = get_binary_mask_training_pipeline,
        batch_generator_fn: BatchGeneratorFn | None = pair_batch_generator,
        *,
        train_val_test_split: Sequence[float] = (0.7, 0.2, 0.1),
        split: GroundSplit | None = None,
        tag: str = "",
        prune_fn: PruneFn | None = None,
        oversample_fn: OversampleFn | None = None,
        cache_directory: str | Path | None = None,
        resolution_m: float | None = None,
        resampling: str = "bilinear",
        all_touched: bool = True,
        min_valid: float = 0.0,
        min_labelled: float = 0.0,
        raw_dir: Path | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(batch_generator_fn, cache_directory, oversample_fn)
        self.cut = read_pipelines(image_pipeline_factory(), mask_pipeline_factory())
        self.pair = pair_of(image_src, mask_src, self.cut, name)
        self.raw_dir = Path() if raw_dir is None else raw_dir
        self.split = split or ground_split(train_val_test_split)
        self.tag, self.prune_fn = tag or self.pair.name, prune_fn
        self._resolution_m, self._resampling, self._all_touched = (
            resolution_m,
            resampling,
            all_touched,
        )
        self._min_valid, self._min_labelled = min_valid, min_labelled

    def prepare(self) -> None:
        """Make X and y of the pair's patches: the rasters are read once now, pixels again on use.

        Raises
        ------
        DataError
            Pixels cannot be read, a label has no class, or no patch is left.
        MissingError
            A file is not there.
        """
        self._patches = self.cut.applied(lazy_patches(self._stream()))

    def recipe(self) -> dict[str, object]:
        """Return the recipe that the stage prepare gives its store, and what else was asked for."""
        rule = self.split.attrs()
        recipe: dict[str, object] = {
            "pair": self.pair.model_dump(mode="json"),
            "prepare": self._prepare(),
            "split": rule | {key: float(rule[key]) for key in ("block_m", "buffer_m")},
        }
        if self.cut.image_steps:
            recipe["image_steps"] = self.cut.described()
        if self.prune_fn is not None:
            recipe["prune_fn"] = prune_name(self.prune_fn)
        if isinstance(self.pair, FilePair):
            recipe["files"] = pair_contents(self.pair, self.raw_dir)
        return recipe

    def pruned_by(self, prune_fn: PruneFn) -> TrainingDataset:
        """Return a copy, not prepared, whose patches are those that neither function drops."""
        own, other = self.prune_fn, copy(self)
        other.prune_fn = prune_fn if own is None else Either(own, prune_fn)
        other._patches = None  # noqa: SLF001 - a copy of self
        return other

    def contents(self) -> dict[str, object]:
        """Return what the files of a catalog's pair hold, by its name."""
        if isinstance(self.pair, FilePair):
            return {}
        return {self.pair.name: pair_contents(self.pair, self.raw_dir)}

    def groups(self) -> dict[str, str]:
        """Return the pair's name → tag."""
        return {self.pair.name: self.tag}

    def __add__(self, other: PreparedArrays) -> CompositeTrainingDataset:
        """Return a composite of both, see `CompositeTrainingDataset`; neither is changed."""
        return CompositeTrainingDataset([self, other])

    def __radd__(self, other: int) -> CompositeTrainingDataset:
        return CompositeTrainingDataset([self]).__radd__(other)

    def _prepare(self) -> dict[str, Any]:
        """Return the stage's section ``prepare``."""
        return {
            "patch_px": self.cut.patch_px,
            "overlap": self.cut.overlap,
            "resolution_m": self._target_m(),
            "resampling": self._resampling,
            "mask_fraction": self.cut.mask_fraction,
            "all_touched": self._all_touched,
            "min_valid": float(self._min_valid),
            "min_labelled": float(self._min_labelled),
        }

    def _target_m(self) -> float:
        if self._resolution_m is not None or self.cut.resample_factor == 1.0:
            return float(self._resolution_m or 0.0)
        return native_resolution(self.pair, self.raw_dir) / self.cut.resample_factor

    def _stream(self) -> PairStream:
        scene = open_scene(
            self.pair, self.raw_dir, split=self.split, prune_fn=self.prune_fn, **self._prepare()
        )
        return PairStream(self.pair, scene, progress=None)

    def _write(self, path: Path) -> None:
        stream = self._stream()
        blocks = (self.cut.applied(block) for block in stream)
        write_store(blocks, path, recipe=self.recipe(), attrs=stream.attrs)


class CompositeTrainingDataset(PooledArrays):
    """The pooled patches of several pairs: train, val, test, each shuffled exactly.

    ``a + b`` is ``CompositeTrainingDataset([a, b])``. What is None below is taken over from the
    composites among the constituents; those that have none have no say. A composite's `prune_fn`
    stays with its own pairs, and its `cache_directory` with itself.

    Parameters
    ----------
    constituents
        Training datasets; those of a composite are taken out of it.
    batch_generator_fn
        Makes batches from arrays of patches; where no composite has one either, the one that all
        pairs share, if any.
    shuffle_seed
        Of the order; where no composite has one either, the one of the pairs' pipelines.
    memory_mib
        MiB that the shuffle may take when the arrays are saved; where none is given, 512.
    prune_fn
        Takes image (h, w, C) and mask (h, w, 1) of a patch; True drops it, whichever pair it is of.
    oversample_fn
        See `PreparedArrays`; single pairs have a say too.
    cache_directory
        See `PreparedArrays`.

    Raises
    ------
    ConfigError
        There are no constituents, or two of them have different settings.
    """

    def __init__(
        self,
        constituents: Sequence[PreparedArrays],
        batch_generator_fn: BatchGeneratorFn | None = None,
        *,
        shuffle_seed: int | None = None,
        memory_mib: int | None = None,
        prune_fn: PruneFn | None = None,
        oversample_fn: OversampleFn | None = None,
        cache_directory: str | Path | None = None,
    ) -> None:
        pairs = list(_flat(constituents))
        if not pairs:
            raise ConfigError("a composite of nothing", expected="at least one training dataset")
        super().__init__(
            constituents,
            pairs,
            batch_generator_fn=batch_generator_fn,
            shuffle_seed=shuffle_seed,
            memory_mib=memory_mib,
            oversample_fn=oversample_fn,
            cache_directory=cache_directory,
        )
        self.prune_fn = prune_fn

    @property
    def tags(self) -> list[str]:
        """Tags of the constituents, sorted, each once."""
        return sorted({part.tag for part in self.constituents})

    @property
    def tags_str(self) -> str:
        """The tags, joined by commas."""
        return ",".join(self.tags)

    @property
    def constituent_datasets_by_tag(self) -> dict[str, list[TrainingDataset]]:
        """The constituents of each tag."""
        return {tag: [p for p in self.constituents if p.tag == tag] for tag in self.tags}

    def prepare(self) -> None:
        """Prepare the constituents, then make X and y of all their patches, shuffled.

        Raises
        ------
        DataError, MissingError
            See `TrainingDataset.prepare`; or one place is in two splits.
        StoreError
            The constituents differ in bands, patch size, type or classes.
        ConfigError
            Two of them have one name; or see `shuffle_seed`.
        """
        seed = self.shuffle_seed
        parts = self._named()
        for part in parts:
            part.prepare()
        self._patches = pool_lazily([part.patches for part in parts], seed)

    def recipe(self) -> dict[str, object]:
        """Return the recipe that the stage combine gives its store."""
        parts = sorted(self._named(), key=lambda part: part.pair.name)
        return {
            "combine": {"shuffle_seed": self.shuffle_seed},
            "pairs": {part.pair.name: part.recipe() for part in parts},
        }

    def __add__(self, other: PreparedArrays) -> CompositeTrainingDataset:
        """Return a composite of both; neither is changed."""
        return CompositeTrainingDataset([self, other])

    def __radd__(self, other: int) -> CompositeTrainingDataset:
        """Return the composite itself: ``sum`` begins with 0."""
        if other != 0:
            return NotImplemented
        return self

    def _named(self) -> list[TrainingDataset]:
        check_names([part.pair for part in self.constituents])
        return self._pruned()

    def _pruned(self) -> list[TrainingDataset]:
        if self.prune_fn is None:
            return self.constituents
        return [part.pruned_by(self.prune_fn) for part in self.constituents]

    def _write(self, path: Path) -> None:
        seed = self.shuffle_seed
        with scratch_folder(path) as folder:
            stores = [folder / f"{part.pair.name}.zarr" for part in self.constituents]
            for part, store in zip(self._named(), stores, strict=True):
                part._write(store)  # noqa: SLF001 - its own kind
            memory = MEMORY_MIB if self.memory_mib is None else self.memory_mib
            combine_stores(stores, path, seed=seed, memory_mib=memory)


def _flat(parts: Sequence[PreparedArrays]) -> Iterator[TrainingDataset]:
    for part in parts:
        if isinstance(part, CompositeTrainingDataset):
            yield from part._pruned()  # noqa: SLF001 - its own kind
        elif isinstance(part, TrainingDataset):
            yield part
        else:
            raise ConfigError("only training datasets can be pooled", found=type(part).__name__)
