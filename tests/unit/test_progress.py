"""The bar over a training run."""

from types import SimpleNamespace

import pytest

from gim_cv import progress
from gim_cv.progress import TrainingBar


class Loss:
    """A loss on a device: to read it is to wait for the device."""

    def __init__(self):
        self.reads = 0

    def __float__(self):
        self.reads += 1
        return 0.25


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is told to go on."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.mark.parametrize("shown", [True, False])
def test_the_loss_is_read_twice_a_second_and_only_to_be_shown(clock, shown):
    loss, data = Loss(), SimpleNamespace(waited=0.0)
    bar = TrainingBar(steps=40, epochs=2, batch=8, done=10, data=data, shown=shown)
    bar.on_epoch_begin(0)
    for step in range(30):
        clock.now += 0.0625
        data.waited += 0.0125
        bar.on_train_batch_end(step, {"loss": loss})
    assert loss.reads == 4 * shown
    task = bar.bar.tasks[0]
    assert (task.completed, task.total, task.description) == (40, 80, "epoch 1/2")
    assert task.fields["note"] == ("loss 0.2500  128.0 patches/s, 20% waiting" if shown else "")


def test_validation_stays_in_view(clock):
    bar = TrainingBar(
        steps=1, epochs=2, batch=8, done=0, data=SimpleNamespace(waited=0.0), shown=True
    )
    bar.report({"epoch": 0.0, "loss": 1.0, "val_loss": 0.5, "val_iou": 0.25})
    bar.on_epoch_begin(1)
    clock.now += 1
    bar.on_train_batch_end(0, {"loss": 0.125})
    note = "loss 0.1250 val_loss 0.5000 val_iou 0.2500 8.0 patches/s, 0% waiting"
    assert bar.bar.tasks[0].fields["note"] == note
