"""The loop over epochs: one pass, what it improved, what follows from that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import keras

from gim_cv.batches import Batches
from gim_cv.best import BestWeights
from gim_cv.checkpoint import Progress, StateSaver, save_state
from gim_cv.errors import RunError
from gim_cv.journal import Journal, Row
from gim_cv.models.segmentalist import BEST_BY_TRAIN, BEST_BY_VAL
from gim_cv.progress import TrainingBar
from gim_cv.regime import Regime
from gim_cv.sheets import SHEET_ROWS, SHEETS, contact_sheet, write_sheet


@dataclass
class Training:
    """A run: the model, its data, and where it writes.

    Attributes
    ----------
    model
        Compiled; its optimizer is built.
    train, val
        Batches; without a validation split `val` is None and the train loss decides.
    regime
        How to train.
    folder
        For what is left of the run when it is over.
    best
        For weights meanwhile.
    state_dir
        For the state after each epoch; None: it is not kept.
    """

    model: keras.Model
    train: Batches
    val: Batches | None
    regime: Regime
    folder: Path
    best: BestWeights
    state_dir: Path | None

    def run(self, progress: Progress, journal: Journal, bar: TrainingBar) -> Progress:
        """Train from `progress` until the last epoch, or until patience is lost."""
        while not self.finished(progress):
            row = self.one_epoch(progress, bar)
            self.take(row, progress)
            self.draw(len(progress.rows))
            journal.write(row)
            bar.report(row)
            if self.state_dir is not None:
                save_state(self.state_dir, self.model, progress)
            self.best.keep({progress.chosen, progress.chosen_train})
        if progress.average.count:
            journal.write(self.average(progress))
        self.best.copy(progress.chosen, self.folder / BEST_BY_VAL)
        self.best.copy(progress.chosen_train, self.folder / BEST_BY_TRAIN)
        return progress

    def finished(self, progress: Progress) -> bool:
        """Return whether no epoch is left to do."""
        patience = self.regime.patience
        return len(progress.rows) >= self.regime.epochs or 0 < patience <= progress.waited

    def one_epoch(self, progress: Progress, bar: TrainingBar) -> Row:
        """Return the history row of the next epoch of training and validation.

        Raises
        ------
        RunError
            The loss is not a number any more.
        """
        epoch = len(progress.rows)
        self.model.loss.on_epoch(epoch)
        history = self.model.fit(
            self.train,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=[bar, *self.resumed(epoch, progress)],
        ).history
        progress.step, progress.sums = 0, []
        row = {"epoch": float(epoch), **{name: float(v[-1]) for name, v in history.items()}}
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        row |= {**self.validate(), "learning_rate": float(rate)}
        losses = {name: row[name] for name in ("loss", "val_loss") if name in row}
        if not all(math.isfinite(value) for value in losses.values()):
            raise RunError(
                f"a loss is no number in epoch {epoch}: {losses}",
                remedy="Lower train.learning_rate, or set train.clipnorm",
            )
        return row

    def resumed(self, epoch: int, progress: Progress) -> list[StateSaver]:
        """Point the batches at the next step to be done; return what keeps the state."""
        self.train.start(epoch, progress.step)
        if self.state_dir is None:
            return []
        if progress.sums:
            self.model.test_on_batch(*self.train.batch_at(epoch, 0))  # makes the metrics' variables
        return [StateSaver(self.state_dir, progress, steps=self.train.steps)]

    def validate(self) -> Row:
        """Return loss and metrics of the validation split, ``val_…``; empty without one.

        A loss with a schedule is taken as of the last epoch, so that epochs can be compared.
        """
        if self.val is None:
            return {}
        self.model.loss.on_epoch(self.regime.epochs - 1)
        found = self.model.evaluate(self.val, return_dict=True, verbose=0)
        return {f"val_{name}": float(value) for name, value in found.items()}

    def take(self, row: Row, progress: Progress) -> None:
        """Put an epoch into the progress; save weights that are the best so far."""
        progress.rows.append(row)
        progress.waited, progress.stale = progress.waited + 1, progress.stale + 1
        epoch = len(progress.rows) - 1
        self.note_if_best(row, progress)
        if row["loss"] < progress.best_train:
            progress.best_train, progress.chosen_train = row["loss"], epoch
        if epoch in (progress.chosen, progress.chosen_train):
            self.best.save(self.model, epoch)
        if self.regime.averages(len(progress.rows)):
            progress.average.take(self.model.get_weights())
        self.lower_rate(progress)

    def draw(self, epoch: int) -> None:
        """Write a contact sheet after every so many epochs, counted from 1."""
        every = self.regime.sheet_epochs
        if self.val is None or not every or epoch % every:
            return
        images, masks = (part[:SHEET_ROWS] for part in self.val.batch_at(0, 0))
        guesses = keras.ops.convert_to_numpy(self.model(images, training=False))
        sheet = contact_sheet(images, masks, guesses)
        write_sheet(self.folder / "samples" / SHEETS / f"{epoch:04d}.png", sheet)

    def note_if_best(self, row: Row, progress: Progress) -> None:
        """Choose the epoch of the last row if none before had a lower monitored loss."""
        decisive = row["loss"] if self.val is None else row["val_loss"]
        if decisive < progress.best:
            progress.best, progress.chosen = decisive, len(progress.rows) - 1
            progress.waited = progress.stale = 0

    def lower_rate(self, progress: Progress) -> None:
        """Multiply the learning rate by the factor if the loss has not fallen for long enough."""
        regime = self.regime
        if regime.schedule != "plateau" or progress.stale < regime.plateau_patience:
            return
        optimizer = self.model.optimizer
        least = regime.learning_rate * regime.final_share
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate)) * regime.plateau_factor
        optimizer.learning_rate = max(rate, least)
        progress.stale = 0

    def average(self, progress: Progress) -> Row:
        """Put the averaged weights, as one more row, into the progress; save them if they win."""
        epoch = len(progress.rows)
        batches = range(min(self.regime.swa_batches, self.train.steps))
        images = (self.train.batch_at(epoch, index)[0] for index in batches)
        progress.average.assign(self.model, images)
        row = {"epoch": float(epoch), **self.validate()}
        if self.val is None:
            self.train.epoch = epoch
            found = self.model.evaluate(self.train, return_dict=True, verbose=0)
            row |= {name: float(value) for name, value in found.items()}
        progress.rows.append(row)
        self.note_if_best(row, progress)
        if progress.chosen == epoch:
            self.best.save(self.model, epoch)
        return row
