import json
import re

import numpy as np
import pytest
import yaml
from browser import look, needs_browser
from PIL import Image
from reports import Page, evaluated
from towns import bright, combined

from gim_cv.areas import area_text, class_areas
from gim_cv.errors import MissingError
from gim_cv.gallery import Gallery, Patch, choose
from gim_cv.report import write_report
from gim_cv.store import open_store


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    return evaluated(folder, combined(px=32, side=256, overlap=16), bright)


def report(folder, out, lock=None):
    return write_report(
        folder / "combined.zarr",
        folder / "Segmentalist",
        folder / "evaluate",
        out_dir=out,
        patches_shown=6,
        lock=lock,
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


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (500, True)])
def test_a_browser_draws_it_without_a_word_and_without_a_request(town, tmp_path, width, dark):
    seen = look(report(town, tmp_path / "out"), tmp_path, width=width, dark=dark)
    assert seen.console == []
    assert seen.requests == []
    # something is drawn all the way down, and nothing runs out at the right
    assert (seen.pixels[:2400].std(axis=(1, 2)) > 0).mean() > 0.5
    assert (seen.pixels[:, -4:] == seen.pixels[0, -1]).all()
    assert (seen.pixels[0, -1].mean() < 60) == dark


def test_the_page_leads_from_raw_data_to_weights(town, tmp_path):
    raw = {"path": "data/raw/town", "md5": "11aa.dir"}
    stages = {
        "prepare@town_0": {"deps": [raw], "outs": [{"path": "data/patches/a", "md5": "22bb.dir"}]},
        "prepare@other": {"deps": [{"path": "data/raw/other", "md5": "99ff.dir"}]},
        "train": {"outs": [{"path": "data/models/Segmentalist", "md5": "33cc.dir"}]},
    }
    lock = tmp_path / "dvc.lock"
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    text = report(town, tmp_path / "out", lock=lock).read_text()
    assert all(md5 in text for md5 in ("11aa.dir", "22bb.dir", "33cc.dir"))
    assert "99ff.dir" not in text


@pytest.mark.parametrize(("overlap", "width"), [(0, 128), (16, 64 + 48 + 48)])
def test_areas_count_each_place_of_a_split_once(overlap, width):
    """Overlapping patches cover columns 0–63 in train, 48–95 in val, 80–127 in test."""
    areas = class_areas(combined(px=32, side=128, overlap=overlap))
    assert areas.shape == (2, 2)
    assert (areas.sum(1) == (128 * width - 16 * 16) / 4).all()  # a corner is not labelled


def test_areas_read_well():
    assert [area_text(m2) for m2 in (312.4, 12_345, 2_500_000)] == ["312 m²", "1.23 ha", "2.5 km²"]
