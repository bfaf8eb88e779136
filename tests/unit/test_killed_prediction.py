"""Predictions that are killed, and go on to the same bytes without asking twice."""

import shutil
import threading

import numpy as np
import pytest
import rasterio
from predicting import Asked, contents, first_band, predict, predictor, run
from scenes import Scene

from gim_cv.patches import PatchGrid

HEIGHT, WIDTH = 200, 70
WINDOWS = PatchGrid(HEIGHT, WIDTH, 32, 16)
PER_ROW = len(WINDOWS.cols)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with an undisturbed prediction; its file operations, and its results."""
    folder = tmp_path_factory.mktemp("whole")
    Scene(height=HEIGHT, width=WIDTH).write_image(folder)
    code, operations, asked = run(folder)
    assert (code, asked) == (0, len(WINDOWS))
    assert list((folder / "tmp").iterdir()) == []
    return folder, operations, contents(folder / "out")


@pytest.fixture
def cut(tmp_path, whole):
    shutil.copyfile(whole[0] / "image.tif", tmp_path / "image.tif")
    return tmp_path


def done_rows(folder):
    """How many rows of windows are finished for good in what a kill left."""
    (left,) = (folder / "tmp").glob("out.of-*.unfinished")
    ends = [int(path.stem) + len(np.load(path)) for path in (left / "strips").glob("0*.npy")]
    return sum(int(row) + WINDOWS.patch_px <= max(ends, default=0) for row in WINDOWS.rows)


@pytest.mark.parametrize("batch", [1, 2, 9, 14, 16])
def test_killed_in_a_batch_it_goes_on_where_it_was(cut, whole, batch):
    assert run(cut, kill_in=batch)[0] == -9
    assert not (cut / "out").exists()
    rows = done_rows(cut)
    code, _, asked = run(cut)
    assert code == 0
    assert asked == len(WINDOWS) - rows * PER_ROW
    assert rows >= (batch - 1) * 3 // PER_ROW - 2
    assert contents(cut / "out") == whole[2]
    assert list((cut / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "shares",
    [
        # Shares of all file operations; each kill but the first hits a call that goes on.
        (0.01,),
        (0.1, 0.3, 0.2),
        (0.5, 0.3, 0.05),
        (0.65,),
        (0.75, 0.2),
        (0.85,),
        (0.9, 0.1, 0.3),
        (0.95,),
        (0.98,),
        (0.999,),
    ],
)
def test_killed_anywhere_it_leaves_all_or_nothing(cut, whole, shares):
    _, operations, wanted = whole
    for share in shares:
        assert run(cut, kill_at=max(1, int(share * operations)))[0] == -9
        assert not (cut / "out").exists() or contents(cut / "out") == wanted
    assert run(cut)[0] == 0
    assert contents(cut / "out") == wanted
    assert run(cut, overwrite=True)[0] == 0
    assert contents(cut / "out") == wanted
    assert list((cut / "tmp").iterdir()) == []


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9, 0.93, 0.95, 0.97, 0.99])
def test_older_results_are_replaced_whole(cut, whole, share):
    _, operations, wanted = whole
    predict(cut / "image.tif", cut / "out", tmp_dir=cut / "tmp", overlap=0.0)
    older = contents(cut / "out")
    assert older != wanted
    assert run(cut, kill_at=int(share * operations), overwrite=True)[0] == -9
    assert not (cut / "out").exists() or contents(cut / "out") in (older, wanted)
    assert run(cut, overwrite=True)[0] == 0
    assert contents(cut / "out") == wanted
    assert list((cut / "tmp").iterdir()) == []


def test_a_torn_strip_is_made_again(cut, whole):
    run(cut, kill_in=9)
    (left,) = (cut / "tmp").glob("out.of-*.unfinished")
    last = max((left / "strips").glob("0*.npy"))
    torn = last.with_name(f".part.{last.name}")
    torn.write_bytes(last.read_bytes()[:100])
    last.unlink()
    assert run(cut)[0] == 0
    assert contents(cut / "out") == whole[2]


def test_nothing_of_another_image_is_used(cut):
    run(cut, kill_in=9)
    with rasterio.open(cut / "image.tif", "r+") as sink:
        sink.write(sink.read() + 1)
    code, _, asked = run(cut)
    assert (code, asked) == (0, len(WINDOWS))
    predict(cut / "image.tif", cut / "afresh")
    assert contents(cut / "out") == contents(cut / "afresh")
    assert list((cut / "tmp").iterdir()) == []


def test_what_another_backend_began_is_not_gone_on_with(cut, monkeypatch):
    run(cut, kill_in=9)
    monkeypatch.setattr("gim_cv.prediction.backend_name", lambda: "another")
    asked = Asked()
    predict(cut / "image.tif", cut / "out", predictor(asked), tmp_dir=cut / "tmp")
    assert asked.windows == len(WINDOWS)


def test_two_processes_do_not_make_the_same(cut, whole):
    begun, over = threading.Event(), threading.Event()

    def slow(images):
        begun.set()
        over.wait(60)
        return first_band(images)

    first = threading.Thread(
        target=predict,
        args=(cut / "image.tif", cut / "out", predictor(slow)),
        kwargs={"tmp_dir": cut / "tmp"},
    )
    first.start()
    begun.wait(60)
    code, _, _ = run(cut)
    over.set()
    first.join()
    assert code == 1
    assert contents(cut / "out") == whole[2]
    assert list((cut / "tmp").iterdir()) == []
