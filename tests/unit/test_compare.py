import re

import pytest
from browser import CHROMIUM, look
from reports import Page, evaluated
from towns import bright, combined

from gim_cv.compare import differing, write_comparison
from gim_cv.runs import collate_run_data


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two runs on one store: one answers by brightness, the other shifted by some pixels."""
    root = tmp_path_factory.mktemp("project")
    patches = combined(px=32, side=256, overlap=16)
    models = root / "models"
    models.mkdir()

    def shifted(images):
        return bright(images[:, :, [*range(3, 32), 31, 31, 31]])

    for name, predict in (("good", bright), ("shifted", shifted)):
        folder = root / name
        folder.mkdir()
        evaluated(folder, patches, predict)
        run = (folder / "Segmentalist").rename(models / f"Segmentalist_{name}")
        (folder / "evaluate").rename(run / "evaluate")
    return root


def test_the_page_names_the_better_run_and_shows_where_they_differ(project, tmp_path):
    frame = collate_run_data(project / "models")
    choice = write_comparison(
        frame,
        out_dir=tmp_path,
        metric="iou",
        split="val",
        seed=0,
        store=project / "good/combined.zarr",
        patches_shown=3,
    )
    assert choice.table["label"].tolist() == ["good", "shifted"]
    assert choice.table["tied"].tolist() == [True, False]
    text = (tmp_path / "index.html").read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.images) == 3 * 3
    assert all(source.startswith("data:image/webp;base64,") for source in page.images)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "good is chosen" in text
    assert str(project) not in text
    if CHROMIUM:
        seen = look(tmp_path / "index.html", tmp_path, width=500)
        assert (seen.console, seen.requests) == ([], [])
        assert (seen.pixels[:, -4:] == seen.pixels[0, -1]).all()


def test_without_a_store_there_are_no_pictures(project, tmp_path):
    frame = collate_run_data(project / "models")
    write_comparison(frame, out_dir=tmp_path, metric="f1", split="test", seed=0)
    assert Page((tmp_path / "index.html").read_text()).images == []


def test_only_what_differs_is_listed(project):
    frame = collate_run_data(project / "models").assign(act=["relu", "gelu"], same=[1, 1])
    found = differing(frame)
    assert [row["name"] for row in found["Parameters"]] == ["act"]
    assert found["Parameters"][0]["cells"] == ["relu", "gelu"]
    assert {"val_iou", "test_f1"} <= {row["name"] for row in found["Results"]}
