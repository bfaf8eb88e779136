"""Datasets: tags of the catalog, and the training data behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gim_cv.catalog import Pair, load_catalog
from gim_cv.config import project
from gim_cv.generators import BatchGeneratorFn, fancy_batch_generator
from gim_cv.training import CompositeTrainingDataset, TrainingDataset

if TYPE_CHECKING:
    from gim_cv.inference import CompositeInferenceDataset


@dataclass(frozen=True)
class Dataset:
    """Several pairs under one tag.

    Attributes
    ----------
    tag
        Its name in the catalog.
    pairs
        The catalog's entries.
    spatial_resolution
        Nominal ground size of a pixel, m; None for a single pair.
    raw_dir
        Folder of the sources.
    """

    tag: str
    pairs: tuple[Pair, ...]
    spatial_resolution: float | None
    raw_dir: Path

    @property
    def image_paths(self) -> list[Path]:
        """All image files, in the order of the pairs."""
        return [path for pair in self.pairs for path in pair.image_paths(self.raw_dir)]

    @property
    def mask_paths(self) -> list[Path]:
        """The label file of each pair."""
        return [pair.labels_path(self.raw_dir) for pair in self.pairs]

    def load_training_data(
        self,
        batch_size: int = 4,
        train_val_test_split: Sequence[float] = (0.7, 0.2, 0.1),
        *,
        batch_generator_fn: BatchGeneratorFn | None = None,
        shuffle_seed: int | None = None,
        cache_directory: str | Path | None = None,
        **options: Any,
    ) -> CompositeTrainingDataset:
        """Return the training dataset of all pairs; nothing is read yet.

        Parameters
        ----------
        batch_size
            Patches a batch, where `batch_generator_fn` is None.
        train_val_test_split
            Shares of ground; two of them mean no test part.
        batch_generator_fn
            Makes batches; None: `fancy_batch_generator` without augmentation.
        shuffle_seed
            Of the pooled order; None: the pipelines' one.
        cache_directory
            The store that ``save_prepared_arrays`` writes.
        options
            Of `TrainingDataset`: pipeline factories, `resolution_m`, `split`, `prune_fn`, ….
        """
        generator = batch_generator_fn or partial(fancy_batch_generator, batch_size=batch_size)
        parts = [
            TrainingDataset(
                pair,
                batch_generator_fn=generator,
                train_val_test_split=train_val_test_split,
                tag=self.tag,
                raw_dir=self.raw_dir,
                **options,
            )
            for pair in self.pairs
        ]
        return CompositeTrainingDataset(
            parts, shuffle_seed=shuffle_seed, cache_directory=cache_directory
        )

    def load_inference_data(self, **options: Any) -> CompositeInferenceDataset:
        """Return the images of all pairs, to be predicted; nothing is read yet.

        Parameters
        ----------
        options
            Of `InferenceDataset`: `image_pipeline_factory`, `prune_fn`.
        """
        from gim_cv.inference import (  # noqa: PLC0415  Keras takes seconds to load
            CompositeInferenceDataset,
            InferenceDataset,
        )

        return CompositeInferenceDataset(
            [
                InferenceDataset(pair, tag=self.tag, raw_dir=self.raw_dir, **options)
                for pair in self.pairs
            ]
        )


def get_dataset(tag: str) -> Dataset:
    """Return the dataset that the project's catalog has under a tag, an alias or a pair's name.

    Raises
    ------
    UnknownError
        Nothing has that name; the nearest names are listed.
    MissingError, ConfigError
        There is no catalog, or it is not valid.
    """
    here = project()
    catalog = load_catalog(here.catalog)
    # Once each, as the stages take them, though a list in the catalog may have one twice.
    pairs = tuple(catalog.pairs[name] for name in dict.fromkeys(catalog.members(tag)))
    if tag not in catalog.tags:
        return Dataset(tag, pairs, None, here.raw)
    name = catalog.tags[tag]
    return Dataset(name, pairs, catalog.datasets[name].resolution_m, here.raw)


def list_datasets() -> list[str]:
    """Return the tags of the project's catalog, sorted, aliases left out.

    Raises
    ------
    MissingError, ConfigError
        There is no catalog, or it is not valid.
    """
    return sorted(load_catalog(project().catalog).datasets)
