"""Batches of a patch dataset for Keras: every patch once an epoch, in a repeatable order.

The only Keras of the data wing: `Batches` is a ``keras.utils.PyDataset``, under any backend.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gim_cv.errors import ConfigError, StoreError
from gim_cv.feed import BlockCache, BlockReader, EpochPlan, patch_ids, plan_epoch
from gim_cv.passes import Passes
from gim_cv.patches import IGNORE
from gim_cv.recycler import Recycler
from gim_cv.sampling import epoch_index, shard_index
from gim_cv.store import open_arrays, open_store

Array = NDArray[Any]
Int = NDArray[np.int64]
Augmenter = Callable[[Array, Array, int], tuple[Array, Array]]
Batch = tuple[NDArray[np.float32], NDArray[np.uint8]]
LEAD_PATCHES = 32
"""Patches made ahead at least: some take ten times as long as others to augment."""


class Batches(keras.utils.PyDataset):
    """Batches (x, y) of one split, ready for ``model.fit``, a ``for`` loop or any index.

    x is float32 (patch, row, col, band), divided by `scale`; y is uint8 (patch, row, col, 1), class
    ids with 255 for pixels to ignore. An epoch has every patch exactly once (or as often as
    `oversample` says); its last batch is smaller. Blocks and batches are made ahead, in threads,
    whose number changes nothing.

    Keras may ask for an epoch's batches in any order and look at some before: within an epoch they
    are served in their own order, whatever the index, so that ``fit(shuffle=True)`` reads the disk
    in order and a run depends on `seed` only. Outside of ``fit``, ``batches[i]`` is batch `i` of
    epoch `epoch`. ``for x, y in batches`` is one epoch; the next loop is the next epoch.
    ``next(batches)`` goes on from batch to batch and from epoch to epoch without an end; it takes
    none away from a loop or from ``fit``, which serve whole epochs.

    Parameters
    ----------
    dataset
        A store's path (fastest), or a patch dataset, lazy or in memory.
    split
        "train", "val" or "test".
    batch
        Patches a batch.
    seed
        Of order and augmentation; not negative.
    shuffle
        Whether epochs have random orders: blocks are shuffled, and patches within windows of
        16 MiB. False: the order of the dataset.
    shuffle_within
        Whether patches are mixed within windows; None: as `shuffle` says, which then is about
        blocks alone.
    augmenter
        Called as ``augmenter(image, mask, seed)`` for each patch, with a seed that follows from
        `seed`, the epoch, the patch's id and how often the epoch had it; None: no augmentation.
    scale
        Divisor of the images; None: the one in the store's statistics, 255 for any uint8.
    float32
        Whether x is scaled float32; False: the images as they are, in their own type.
    workers
        Threads that make batches, and threads that read blocks.
    client
        A dask client that augments the patches of a batch side by side; None: a batch's thread
        does. Same batches either way.
    oversample
        Positions to take instead of each once (`balanced_index`), or the share of patches that
        should hold a class beyond 0 (`class_aware_index`).
    shard
        Which part of how many, for several hosts that read one store: the parts together have each
        patch of an epoch once, each reads its own stretch of the store, and their sizes differ by
        one patch at most.
    multiple
        Batches are filled up to a multiple of so many patches, for as many devices to share: with
        patches that they have, of which every pixel is to be ignored.

    Attributes
    ----------
    epoch : int
        The epoch to be served next, from 0; set it, or call `start`, to resume.
    waited : float
        Seconds that whoever asked has waited for batches that were not ready.

    Raises
    ------
    ConfigError
        If `batch`, `workers` or `multiple` is less than 1, `seed` is negative, `scale` not above 0,
        there is no such `shard`, or `oversample` has a position outside of the split.
    DataError
        If the split has no patch.
    UnknownError
        If there is no such split.
    StoreError
        If `scale` is None and the dataset does not tell.
    """

    def __init__(
        self,
        dataset: xr.Dataset | str | Path,
        split: str,
        *,
        batch: int,
        seed: int,
        shuffle: bool,
        shuffle_within: bool | None = None,
        augmenter: Augmenter | None = None,
        scale: float | None = None,
        float32: bool = True,
        workers: int = 2,
        client: Any = None,
        oversample: Int | float | None = None,
        shard: tuple[int, int] = (0, 1),
        multiple: int = 1,
    ) -> None:
        super().__init__(workers=1)  # Keras's own threads would ask out of order
        numbers = ("batch", batch, 1), ("workers", workers, 1), ("multiple", multiple, 1)
        for name, value, least in (*numbers, ("seed", seed, 0)):
            if value < least:
                raise ConfigError(name, expected=f"at least {least}", found=value)
        arrays = None
        if not isinstance(dataset, xr.Dataset):
            arrays = open_arrays(dataset)
            dataset = open_store(dataset)
        self.patches = dataset
        self.batch, self.seed, self.shuffle, self.multiple = batch, seed, shuffle, multiple
        self.shuffle_within = shuffle if shuffle_within is None else shuffle_within
        self.augmenter, self.client = augmenter, client
        self.scale: np.float32 | None = None
        if float32:
            self.scale = np.float32(_scale(dataset) if scale is None else scale)
            if not self.scale > 0:
                raise ConfigError("scale", expected="above 0", found=scale)
        self.index = shard_index(epoch_index(dataset, split, oversample), *shard)
        self._reader = BlockReader(dataset, arrays)
        self._pool = ThreadPoolExecutor(workers, "batch")
        self._lead = max(workers, LEAD_PATCHES // batch)
        self._cache = BlockCache(
            self._reader.read,
            capacity=2 * self._reader.window + self._reader.blocks_in((self._lead + 1) * batch),
            pool=ThreadPoolExecutor(workers, "block"),
        )
        image, kept = dataset.variables["image"], self._lead + 3  # one comes, one goes, one is used
        shape = (batch, *image.shape[1:])
        self._images = Recycler(shape, np.float32 if float32 else image.dtype, kept)
        self._masks = Recycler((*shape[:-1], 1), np.uint8, kept)
        self._ids = patch_ids(dataset)
        self._plans: dict[int, EpochPlan] = {}
        self._coming: dict[tuple[int, int], Future[Batch]] = {}
        self._lock = threading.RLock()
        self._latest = self._recent = (0, -1)
        self._passes = Passes(self.steps)
        self._loop: Iterator[Batch] | None = None
        self.waited = 0.0

    @property
    def steps(self) -> int:
        """Batches in a whole epoch."""
        return math.ceil(len(self.index) / self.batch)

    def __len__(self) -> int:
        """Return the number of batches that are left of the epoch; all of them, as a rule."""
        return len(self._passes)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        epoch = self.epoch
        for index in range(self._passes.first, self.steps):
            yield self._ahead(epoch, index)
        if self.epoch == epoch:  # else it was set since, or another loop was faster
            self.epoch = epoch + 1

    def __next__(self) -> Batch:
        """Return the batch after the one before, from `epoch` on, without an end."""
        if self._loop is None or (found := next(self._loop, None)) is None:
            self._loop = iter(self)
            found = next(self._loop)
        return found

    def __getitem__(self, index: int) -> Batch:
        """Return a batch: the next one while Keras is within an epoch, else batch `index`."""
        return self._ahead(*self._passes.take(index))

    @property
    def epoch(self) -> int:
        """The epoch to be served next, from 0."""
        return self._passes.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.start(epoch, 0)

    def start(self, epoch: int, step: int) -> None:
        """Serve the rest of an epoch next, from batch `step` on; then whole epochs."""
        self._passes.start(epoch, step)
        self._loop = None

    @property
    def num_batches(self) -> int:
        """The same as ``len``, for Keras alone, which thereby tells that ``fit`` begins."""
        return self._passes.ask()

    def on_epoch_begin(self) -> None:
        """Serve batches in order: ``fit(steps_per_epoch=…)`` goes on where the last one ended."""
        self._passes.begin()

    def on_epoch_end(self) -> None:
        """Serve batches by their index."""
        self._passes.end()

    def batch_at(self, epoch: int, index: int) -> Batch:
        """Return one batch of any epoch, the same at each call; threads may call at once.

        Parameters
        ----------
        epoch
            From 0.
        index
            From 0 to ``steps - 1``.

        Raises
        ------
        IndexError
            If the epoch has no such batch.
        """
        if not 0 <= index < self.steps:
            raise IndexError(f"batch {index} of {self.steps}")
        plan = self._plan(epoch)
        start, stop = index * self.batch, min((index + 1) * self.batch, len(self.index))
        self._read_ahead(plan, epoch, index, stop)
        found = self._augmented(self._parts(plan, epoch, slice(start, stop)))
        x, y = self._images.take(stop - start), self._masks.take(stop - start)
        for row, (pixels, ids) in enumerate(found):
            y[row] = ids
            if self.scale:
                np.divide(pixels, self.scale, out=x[row], casting="same_kind")
            else:
                x[row] = pixels
        return _filled_up(x, y, self.multiple)

    def _parts(self, plan: EpochPlan, epoch: int, steps: slice) -> list[tuple[Array, Array, int]]:
        """Return image, mask and the seed of their augmentation for each step."""
        positions = plan.positions[steps]
        numbers, rows = self._reader.find(positions)
        blocks = [self._cache.get(number) for number in numbers.tolist()]
        seeds = [0] * len(blocks)
        if self.augmenter is not None:
            words = np.column_stack([self._ids[positions], plan.repeats[steps]])
            seeds = [self._seed_of(epoch, *word) for word in words.tolist()]
        return [
            (images[row], masks[row], seed)
            for (images, masks), row, seed in zip(blocks, rows.tolist(), seeds, strict=True)
        ]

    def _seed_of(self, *words: int) -> int:
        return int(np.random.SeedSequence([self.seed, *words]).generate_state(1)[0])

    def _augmented(self, parts: list[tuple[Array, Array, int]]) -> Iterable[tuple[Array, Array]]:
        if self.augmenter is None:
            return ((image, mask) for image, mask, _ in parts)
        if self.client is None:
            return (self.augmenter(*part) for part in parts)
        futures = self.client.map(self.augmenter, *zip(*parts, strict=True), pure=False)
        gathered: list[tuple[Array, Array]] = self.client.gather(futures)
        return gathered

    def _plan(self, epoch: int) -> EpochPlan:
        epoch = epoch if self.shuffle or self.shuffle_within else 0
        with self._lock:
            if epoch not in self._plans:
                while len(self._plans) > 2:
                    self._plans.pop(next(iter(self._plans)))
                self._plans[epoch] = plan_epoch(
                    self.index,
                    self._reader,
                    blocks=(self.seed, epoch, 0) if self.shuffle else None,
                    within=(self.seed, epoch, 1) if self.shuffle_within else None,
                )
            return self._plans[epoch]

    def _read_ahead(self, plan: EpochPlan, epoch: int, index: int, stop: int) -> None:
        """Read the next window's blocks in step with the use of this one's.

        Waiting for them as they fall due, not all at once when the window begins, spreads the time
        that reading takes over the batches.
        """
        with self._lock:
            latest, self._recent = self._recent, (epoch, index)
        if index and (latest[0] != epoch or abs(index - latest[1]) > 2 * self._lead):
            return  # not read in order: what follows is anyone's guess
        window = int(plan.window[stop - 1])
        first, past = np.searchsorted(plan.window, [window, window + 1]).tolist()
        following = plan.blocks[window + 1 : window + 2] or self._plan(epoch + 1).blocks[:1]
        due = (stop - first) * len(following[0]) // (past - first)
        self._cache.want([*plan.blocks[window], *following[0][: due + 2]])
        for number in following[0][:due]:
            self._cache.get(number)

    def _ahead(self, epoch: int, index: int) -> Batch:
        """Return a batch, and start on the ones after it if they are asked for in order."""
        with self._lock:
            future = self._coming.pop((epoch, index), None)
            in_order = future is not None or index == 0 or (epoch, index - 1) == self._latest
            self._latest = (epoch, index)
            if not in_order:
                self._coming.clear()
            future = future or self._pool.submit(self.batch_at, epoch, index)
            last = min(index + self._lead, self.steps - 1) if in_order else index
            for key in [(epoch, after) for after in range(index + 1, last + 1)]:
                if key not in self._coming:
                    self._coming[key] = self._pool.submit(self.batch_at, *key)
        asked = time.monotonic()
        batch = future.result()
        self.waited += time.monotonic() - asked
        return batch


def _filled_up(x: Array, y: Array, multiple: int) -> Batch:
    more = -len(x) % multiple
    if not more:
        return x, y
    ignored = np.full((more, *y.shape[1:]), IGNORE, np.uint8)
    return np.concatenate([x, x[np.arange(more) % len(x)]]), np.concatenate([y, ignored])


def _scale(patches: xr.Dataset) -> float:
    statistics = patches.attrs.get("statistics")
    if statistics is not None:
        return float(statistics["scale"])
    if patches["image"].dtype == np.uint8:
        return 255.0
    raise StoreError(
        f"no statistics to scale {patches['image'].dtype.name} images by",
        remedy="Combine the stores first, or give scale",
    )
