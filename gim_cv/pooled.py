"""What the patches of several pairs are set to, together, and whether to save them first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gim_cv.agreement import agreed
from gim_cv.generators import BatchGeneratorFn, shared_generator
from gim_cv.prepared import OversampleFn, PreparedArrays

if TYPE_CHECKING:
    from gim_cv.training import TrainingDataset

FEW_BLOCKS = 4
"""So many blocks are as well cut again in every epoch."""

log = logging.getLogger(__name__)


class PooledArrays(PreparedArrays):
    """Prepared arrays of several pairs, whose settings are those on which they agree.

    Parameters
    ----------
    parts
        What is pooled: datasets of one pair, and composites.
    pairs
        The datasets of one pair among them and in them.
    batch_generator_fn, shuffle_seed, memory_mib, oversample_fn
        Settings; None: what the parts say.
    cache_directory
        See `PreparedArrays`.

    Raises
    ------
    ConfigError
        Two parts say different values of a setting that is None.
    """

    def __init__(
        self,
        parts: Sequence[PreparedArrays],
        pairs: Sequence[TrainingDataset],
        *,
        batch_generator_fn: BatchGeneratorFn | None,
        shuffle_seed: int | None,
        memory_mib: int | None,
        oversample_fn: OversampleFn | None,
        cache_directory: str | Path | None,
    ) -> None:
        def settled(name: str, given: Any) -> Any:
            said = [(", ".join(part.groups()), part.settings().get(name)) for part in parts]
            return agreed(name, said) if given is None else given

        self.constituents = list(pairs)
        super().__init__(
            settled("batch_generator_fn", batch_generator_fn),
            cache_directory,
            settled("oversample_fn", oversample_fn),
        )
        self._shuffle_seed: int | None = settled("shuffle_seed", shuffle_seed)
        self.memory_mib: int | None = settled("memory_mib", memory_mib)
        self._advised = False

    def contents(self) -> dict[str, object]:
        """Return what the files of the catalog's pairs hold, by their names."""
        return {name: held for part in self.constituents for name, held in part.contents().items()}

    def groups(self) -> dict[str, str]:
        """Return pair name → tag."""
        return {part.pair.name: part.tag for part in self.constituents}

    def settings(self) -> dict[str, Any]:
        """Return what a composite of these patches and others takes over; None where unset."""
        return super().settings() | {
            "batch_generator_fn": self._batch_generator_fn,
            "shuffle_seed": self._shuffle_seed,
            "memory_mib": self.memory_mib,
        }

    @property
    def batch_generator_fn(self) -> BatchGeneratorFn | None:
        """The one that was set, else the one that all pairs share, if any."""
        own = [part.batch_generator_fn for part in self.constituents]
        return self._batch_generator_fn or shared_generator(own)

    @batch_generator_fn.setter
    def batch_generator_fn(self, value: BatchGeneratorFn | None) -> None:
        self._batch_generator_fn = value

    @property
    def shuffle_seed(self) -> int:
        """Seed of the order: the one that was set, else that of the pairs' pipelines, else 0.

        Raises
        ------
        ConfigError
            None was set, and the pipelines have different ones.
        """
        if self._shuffle_seed is not None:
            return self._shuffle_seed
        own = [(part.pair.name, part.cut.seed) for part in self.constituents]
        return agreed("shuffle_seed", own) or 0

    @shuffle_seed.setter
    def shuffle_seed(self, value: int | None) -> None:
        self._shuffle_seed = value

    def _batches(self, split: str, **options: Any) -> Any:
        blocks = self.X.numblocks[0]
        unsaved = "recipe" not in self.patches.attrs
        if unsaved and blocks > FEW_BLOCKS and not self._advised:
            self._advised = True
            log.warning(
                "%d blocks of shuffled patches are not saved: each epoch cuts the scenes again for "
                "nearly every block. Set cache_directory and call save_prepared_arrays() first: "
                "batches are then read from that store.",
                blocks,
            )
        return super()._batches(split, **options)
