import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from reports import Page, evaluated
from towns import bright, combined

from gim_cv.errors import MissingError
from gim_cv.gallery import Gallery, Patch, choose
from gim_cv.report import write_report
from gim_cv.store import open_store

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    return evaluated(folder, combined(px=32, side=256, overlap=16), bright)


def report(folder, out):
    return write_report(
        folder / "combined.zarr",
        folder / "Segmentalist",
        folder / "evaluate",
        out_dir=out,
        patches_shown=6,
    )


def test_the_page_stands_alone(town, tmp_path):
    text = report(town, tmp_path / "out").read_text()
    page = Page(text)
    assert page.open == []
    assert page.scripts == 0
    assert len(page.images) >= 6 * 3 + 2 * 2
    assert all(source.startswith("data:image/webp;base64,") for source in page.images)
    assert all(link.startswith(("#", "data:,")) for link in page.links)
    assert not re.search(r"https?:|url\(|@import|//cdn", text)


def test_the_page_says_what_was_measured(town, tmp_path):
    text = report(town, tmp_path / "out").read_text()
    found = json.loads((town / "evaluate/metrics.json").read_text())
    assert f"{found['test']['iou']:.3f}" in text
    assert f"{found['baseline']['colour']['test_iou']:.3f}" in text
    assert "95 % interval" in text
    assert "Segmentalist on town" in text
    assert "&lt;b&gt;relu" in text
    assert "<b>relu" not in text


def test_neither_path_nor_time_and_the_same_bytes_twice(town, tmp_path):
    first, second = (report(town, tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    text = first.read_text()
    assert str(town) not in text
    assert str(tmp_path) not in text
    names = sorted(path.name for path in (tmp_path / "one/images").iterdir())
    for name in names:
        one, two = (tmp_path / folder / "images" / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert {"patches_best.png", "patches_worst.png", "map_town_0.png"} <= set(names)


def test_more_than_two_classes(tmp_path):
    def right(images):
        level = images.mean(-1)
        return np.eye(3)[(level > 0.55).astype(int) + (level > 0.74)]

    folder = evaluated(tmp_path, combined(px=32, side=128, classes=3), right)
    text = report(folder, tmp_path / "out").read_text()
    assert "road" in text
    assert "majority class" in text
    assert "Calibration" not in text


def test_a_run_without_evaluation_is_an_error(town, tmp_path):
    with pytest.raises(MissingError, match="Run the evaluate stage"):
        write_report(
            town / "combined.zarr",
            town / "Segmentalist",
            tmp_path,
            out_dir=tmp_path / "out",
            patches_shown=3,
        )


def test_patches_are_ranked_by_their_own_iou(town):
    gallery = Gallery(open_store(town / "combined.zarr"), town / "evaluate/predictions.zarr", 128)
    scored = gallery.scored()
    values = [patch.score for patch in scored]
    assert values == sorted(values, reverse=True)
    assert {patch.split for patch in scored} == {"val", "test"}


def test_chosen_patches_do_not_overlap():
    row = [Patch("test", k, "a", 0, 8 * k, 1 - k / 10, 1.0) for k in range(10)]
    chosen = choose(row, 2, patch_px=16, seed=0)
    assert [patch.index for patch in chosen["best"]] == [0, 2]
    assert [patch.index for patch in chosen["worst"]] == [9, 7]
    columns = sorted(patch.col0 for some in chosen.values() for patch in some)
    assert min(np.diff(columns)) >= 16


def test_patches_that_are_mostly_not_scored_are_shown_only_for_want_of_others():
    row = [Patch("test", k, "a", 0, 99 * k, 1 - k / 10, 0.1 if k < 3 else 0.9) for k in range(6)]
    assert [patch.index for patch in choose(row, 1, patch_px=16, seed=0)["best"]] == [3]
    assert [patch.index for patch in choose(row[:3], 1, patch_px=16, seed=0)["best"]] == [0]


def test_ground_pictures_are_transparent_where_the_split_is_not(town, tmp_path):
    report(town, tmp_path / "out")
    with Image.open(tmp_path / "out/images/map_town_0.png") as picture:
        assert np.asarray(picture)[..., 3].min() == 255
    with Image.open(tmp_path / "out/images/ground_test_town_0.png") as picture:
        assert picture.size[1] > picture.size[0]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1200, 390])
def test_chromium_draws_it_without_a_word_on_the_console(town, tmp_path, width):
    page = report(town, tmp_path / "out")
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},3000",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    with Image.open(picture) as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    # something is drawn all the way down, and nothing runs out at the right
    assert (pixels[:2400].std(axis=(1, 2)) > 0).mean() > 0.5
    assert (pixels[:, -4:] == pixels[0, -1]).all()
