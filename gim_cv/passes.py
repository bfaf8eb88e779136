"""Which batch comes next when Keras goes through the epochs of a dataset."""

from __future__ import annotations

import threading


class Passes:
    """One pass over all batches after the other, in order, whatever Keras looks at or breaks off.

    Keras asks for the number of batches when a call such as ``fit`` begins; under JAX it may then
    begin an epoch, only to build a model from the first batch; it ends the epoch before the first,
    whether that was begun or not, and begins the first. Safe for threads.

    Parameters
    ----------
    steps
        Batches in a pass.

    Attributes
    ----------
    epoch
        Number of the pass, from 0.
    first
        Its first batch: not 0 where a run goes on within a pass.
    begun
        Whether Keras is within an epoch.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self.epoch, self.first = steps, 0, 0
        self.begun = False
        self._taken, self._opening, self._asked = 0, False, False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of batches in this pass."""
        return self.steps - self.first

    def start(self, epoch: int, step: int) -> None:
        """Go on with a batch of a pass."""
        with self._lock:
            self.epoch, self.first, self._taken = epoch, step, 0

    def take(self, index: int) -> tuple[int, int]:
        """Return pass and batch to serve: the next one within an epoch, else the one asked for."""
        with self._lock:
            if self.begun:
                if self._taken == len(self):
                    self._leave()
                index = self.first + self._taken
                self._taken, self._asked = self._taken + 1, False
            return self.epoch, index

    def ask(self) -> int:
        """Return the number of batches; outside of an epoch, a call begins with a new pass."""
        with self._lock:
            if not self.begun:
                self._leave()
                self._opening = True
            self._asked = True
            return len(self)

    def begin(self) -> None:
        """Serve batches in order, from where the epoch before ended."""
        self.begun = True

    def end(self) -> None:
        """Serve batches as they are asked for; what was but looked at, or broken off, comes again.

        It was, if a call is only beginning, or if Keras asked for the number within the pass.
        """
        with self._lock:
            broken_off = self._asked and self._taken < len(self)
            if self.begun and (self._opening or broken_off):
                self._taken = 0
            self.begun = self._opening = False

    def _leave(self) -> None:
        if self._taken:
            self.epoch, self.first, self._taken = self.epoch + 1, 0, 0
