import json
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from browser import CHROMIUM, look
from patchsets import patch_set
from reports import Page
from typer.testing import CliRunner

from gim_cv.cli import app
from gim_cv.config import Project
from gim_cv.differences import compare_statistics, compare_versions
from gim_cv.errors import MissingError, UnknownError
from gim_cv.manifest import write_manifest
from gim_cv.schema import pair_names
from gim_cv.store import write_store
from gim_cv.versions import Version

STATISTICS = {
    "v1": {"count": 100, "mean": [100.0], "std": [20.0], "class_pixels": [90, 10]},
    "v2": {"count": 300, "mean": [110.0], "std": [25.0], "class_pixels": [240, 60]},
}
SCORES = {"v1": 0.5, "v2": 0.625}


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def write_pair(root, name, *, buildings):
    """Four patches of 16 px in a square; the first `buildings` rows of each are buildings."""
    patches = patch_set(name, 4, px=16, bands=1)
    mask = np.zeros((4, 16, 16, 1), np.uint8)
    mask[:, :buildings] = 1
    patches["mask"] = (patches["mask"].dims, mask)
    patches["split"][:] = [0, 0, 1, 2]
    recipe = {"pair": {"name": name, "nodata": buildings}, "prepare": {"overlap": buildings / 8}}
    write_store(patches, root / f"data/patches/{name}.zarr", recipe=recipe)
    return patches


def write_version(root, tag, buildings, *, overlap):
    """The files that the stages leave, for pairs name → rows of building in each patch."""
    folder = Project(root).patches
    for name, rows in buildings.items():
        patches = write_pair(root, name, buildings=rows)
    write_manifest(folder, buildings, root / "data/manifest.json")
    patches = patches.isel(patch=[0, 1, 2, 3])
    assert pair_names(patches) == [name]
    attrs = {"statistics": STATISTICS[tag], "test_digest": "0123456789abcdef"}
    write_store(patches, root / "data/combined.zarr", recipe={}, attrs=attrs)
    (root / "params.yaml").write_text(yaml.safe_dump({"prepare": {"overlap": overlap}}))
    raw = {"path": "data/raw/town", "md5": f"{tag}.dir"}
    recipe = {"path": "data/recipes/any.json", "md5": tag}
    lock = {f"prepare@{name}": {"deps": [recipe, raw]} for name in buildings}
    lock["recipes"] = {"deps": [{"path": "gim_cv/raster.py", "md5": tag}]}
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
    metrics = root / "data/results/evaluate/metrics.json"
    metrics.parent.mkdir(parents=True, exist_ok=True)
    test = {"iou": SCORES[tag]}
    metrics.write_text(json.dumps({"test": test, "test_digest": tag + "0123456789"}))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Tag v1 has pairs kept, grown and gone; the workspace kept, grown with more, and fresh."""
    root = tmp_path_factory.mktemp("repo").resolve()
    run(root, "git", "init", "-q")
    run(root, "git", "config", "user.email", "a@b.c")
    run(root, "git", "config", "user.name", "A")
    run(root, sys.executable, "-m", "dvc", "init", "-q")
    write_version(root, "v1", {"kept": 2, "grown": 2, "gone": 1}, overlap=0.5)
    names = ("data/patches", "data/combined.zarr")
    run(root, sys.executable, "-m", "dvc", "add", "-q", *names)
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-q", "-m", "v1")
    run(root, "git", "tag", "v1")
    write_version(root, "v2", {"kept": 2, "grown": 5, "fresh": 4}, overlap=0.0)
    return root


@pytest.fixture(scope="module")
def found(repository):
    here = Project(repository)
    return compare_versions(Version("v1", here), Version("workspace", here), squares=2)


def test_scenes_are_told_apart_by_what_they_hold(found):
    rows = {row["name"]: row for row in found.content["scenes"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "kept": "same",
        "grown": "changed",
        "gone": "removed",
        "fresh": "added",
    }
    assert rows["grown"]["area_m2"] == [
        {"background": 4 * 14 * 16 / 4, "building": 4 * 2 * 16 / 4},
        {"background": 4 * 11 * 16 / 4, "building": 4 * 5 * 16 / 4},
    ]
    way = {"from": "background", "to": "building", "pixels": 4 * 3 * 16}
    assert rows["grown"]["flipped"]["ways"] == [way]
    assert rows["grown"]["why"] == [
        "raw data data/raw/town",
        "pairs.grown.nodata: 2 → 5",
        "prepare.overlap: 0.25 → 0.625",
        "code",
    ]
    assert rows["gone"]["area_m2"][0]["building"] == 4 * 1 * 16 / 4
    assert rows["gone"]["area_m2"][1] is None
    assert rows["gone"]["why"] == []
    assert "area_m2" not in rows["kept"]
    assert found.content["patches"] == {"train": [6, 6], "val": [3, 3], "test": [3, 3]}
    assert [(one.pair, one.pixels) for one in found.flips] == [("grown", 48), ("grown", 48)]


def test_statistics_drift_in_standard_deviations(found):
    (band,) = found.content["statistics"]["bands"]
    assert band == {"name": "b0", "mean": [100.0, 110.0], "std": [20.0, 25.0], "drift": 0.5}
    shares = {row["name"]: row["share"] for row in found.content["statistics"]["classes"]}
    assert shares == {"background": [0.9, 0.8], "building": [0.1, 0.2]}
    assert compare_statistics(None, {}) is None


def test_scores_stand_side_by_side_and_say_when_they_do_not_compare(found):
    (row,) = found.content["metrics"]
    assert row == {"name": "test.iou", "before": 0.5, "after": 0.625, "change": 0.125}
    assert not found.content["same_test_ground"]
    assert found.content["stale_scores"] == ["v1", "workspace"]
    assert found.content["params"] == [{"name": "prepare.overlap", "before": 0.5, "after": 0.0}]
    assert found.content["summary"] == (
        "4 scenes: 1 added, 1 removed, 1 changed. 192 pixels of ground have another class. "
        "Test IoU 0.500 → 0.625, each on its own test ground."
    )


def test_the_command_prints_json_tables_and_a_page_that_stands_alone(
    repository, found, tmp_path, monkeypatch
):
    monkeypatch.chdir(repository)
    page = tmp_path / "changes.html"
    done = CliRunner().invoke(app, ["diff", "v1", "--html", str(page), "--pictures", "2"])
    assert done.exit_code == 0, done.output
    assert "background → building 192 px" in done.output
    text = page.read_text()
    read = Page(text)
    assert read.open == []
    assert len(read.images) == 2 * 3
    assert all(source.startswith("data:image/webp;base64,") for source in read.images)
    assert not re.search(r"https?:|url\(|@import", text)
    if CHROMIUM:
        seen = look(page, tmp_path, width=500, dark=True)
        assert (seen.console, seen.requests) == ([], [])
        assert (seen.pixels[:, -4:] == seen.pixels[0, -1]).all()
    done = CliRunner().invoke(app, ["diff", "v1", "--json"])
    assert json.loads(done.output) == found.content


def test_versions_that_are_not_there(repository):
    here = Project(repository)
    with pytest.raises(UnknownError, match="unknown revision 'v9'"):
        Version("v9", here)
    with pytest.raises(MissingError, match="Run dvc fetch"):
        Version("v1", here).store("data/patches/none.zarr")
    assert Version("v1", here).text("no/such.yaml") is None
    empty = Version("v1", Project(repository / "data"))
    with pytest.raises(MissingError, match="nothing has been prepared at v1"):
        compare_versions(empty, empty, squares=0)


def test_the_files_of_a_tracked_folder_are_known_by_its_hash(repository):
    tracked = yaml.safe_load((repository / "data/patches.dvc").read_text())["outs"][0]["md5"]
    here = Version("v1", Project(repository))
    assert {"kept.zarr/zarr.json", "gone.zarr/zarr.json"} <= here.files_of(tracked).keys()
    assert here.files_of("0123456789abcdef0123456789abcdef.dir") == {}
