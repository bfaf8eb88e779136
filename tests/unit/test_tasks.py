"""Groups of patches: within memory, whole strips, aligned to blocks."""

import numpy as np
import pytest

from gim_cv.patches import PatchGrid
from gim_cv.tasks import Cost, group_tasks


def tasks_of(grid, block, budget, monkeypatch, factors=(1.0, 1.0)):
    """The tasks, with one byte a pixel."""
    monkeypatch.setattr("gim_cv.tasks.TASK_BYTES", budget)
    table = np.concatenate([grid.origins, np.zeros((len(grid), 1), np.int64)], axis=1)
    tasks = group_tasks(table, grid, Cost(block, factors, 1.0))
    assert np.array_equal(np.sort(np.concatenate(tasks), axis=0), np.sort(table, axis=0))
    return tasks


def groups(grid, *more):
    """Height and width, in px, of each task."""
    tasks = tasks_of(grid, *more)
    return [(np.ptp(task[:, :2], axis=0) + grid.patch_px).tolist() for task in tasks]


def test_strips_are_read_whole(monkeypatch):
    assert groups(PatchGrid(128, 128, 16, 16), (1, 128), 4096, monkeypatch) == [[32, 128]] * 4


def test_tiles_are_read_in_rectangles_of_whole_tiles(monkeypatch):
    assert groups(PatchGrid(128, 128, 16, 16), (32, 32), 4096, monkeypatch) == [[32, 128]] * 4


@pytest.mark.parametrize("budget", [1, 2000, 100_000])
def test_tasks_keep_to_the_budget(monkeypatch, budget):
    sizes = groups(PatchGrid(300, 260, 32, 16), (64, 64), budget, monkeypatch)
    assert max(h * w for h, w in sizes) <= max(budget, (32 + 15) ** 2)  # one step of patches


def test_overlapping_patches_share_tasks_that_begin_at_blocks(monkeypatch):
    grid = PatchGrid(4096, 4096, 256, 128)
    decoded = 0
    for task in tasks_of(grid, (256, 256), 2048 * 2048, monkeypatch):
        first, last = task[:, :2].min(axis=0) // 256, (task[:, :2].max(axis=0) + 255) // 256
        decoded += np.prod(last - first + 1)
    assert decoded <= 1.27 * 16 * 16


def test_blocks_are_counted_on_the_file_s_grid(monkeypatch):
    fine = groups(PatchGrid(128, 128, 16, 16), (64, 64), 64 * 64, monkeypatch, (2.0, 2.0))
    assert fine == [[32, 128]] * 4


def test_one_patch_alone_may_exceed_the_budget(monkeypatch):
    assert groups(PatchGrid(10, 10, 16, 16), (8, 8), 1, monkeypatch) == [[16, 16]]


def test_no_patch_is_no_task():
    nothing = np.zeros((0, 3), np.int64)
    assert group_tasks(nothing, PatchGrid(10, 10, 16, 16), Cost((8, 8), (1, 1), 1.0)) == []
