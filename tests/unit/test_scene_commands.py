"""``gim-cv predict``: what is said, in which order, and which folders are not its own."""

import shutil

import pytest
from predicting import predictor
from projects import ROOT, write_scene
from typer.testing import CliRunner

from gim_cv.cli import app
from gim_cv.errors import ConfigError, DataError
from gim_cv.predictor import Predictor

CATALOG = """
pairs: {a: {source: s, image: a.tif, labels: a.geojson}}
datasets: {all: {pairs: [a], resolution_m: 0.5}}
scenes: {b: {source: s, image: b.tif}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the images a, b (a scene of the catalog) and torn, and a model."""
    for name in ("a", "b"):
        write_scene(tmp_path, name, side=64)
    (tmp_path / "torn.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:5000])
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "catalog.yaml").write_text(CATALOG)
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.setattr(Predictor, "of_run", lambda *_, **__: predictor())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    """Return lines and status, or raise what the command raised, with `lines` before it."""
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        result.exception.lines = result.output.splitlines()
        raise result.exception
    return result.output.splitlines(), result.exit_code


def test_what_is_finished_is_said_before_a_later_image_fails(project):
    with pytest.raises(DataError, match=r"torn\.tif: rows") as caught:
        call("a.tif", "torn.tif")
    assert caught.value.lines[0].startswith("✓ data/predictions/a: background ")
    with pytest.raises(DataError, match=r"text\.tif") as caught:
        call("b.tif", "text.tif", "--out", "out")
    assert caught.value.lines == []
    assert not (project / "out" / "b").exists()


def test_every_failure_is_said_where_they_are_skipped(project):
    lines, status = call("text.tif", "torn.tif", "--skip-failures")
    assert [line.split(":")[0] for line in lines] == ["✗ text.tif", "✗ torn.tif"]
    lines, status = call("text.tif", "torn.tif", "a.tif", "--skip-failures")
    assert status == 1
    assert "✓ data/predictions/a" in "".join(lines)


@pytest.mark.parametrize("out", [(), ("--out", "data/predictions"), ("--overwrite",)])
def test_the_folder_of_a_scene_of_the_catalog_is_left_to_its_stage(project, out):
    with pytest.raises(ConfigError, match=r"predictions/b: .*dvc repro predict@b.*--out"):
        call("b.tif", *out)
    assert not (project / "data" / "predictions").exists()
    assert call("b.tif", "--out", "elsewhere")[1] == 0


def test_files_of_one_name_are_named(project):
    (project / "x").mkdir()
    shutil.copyfile("a.tif", "x/a.tif")
    with pytest.raises(ConfigError, match=r"found a\.tif and x/a\.tif\. Predict them in two calls"):
        call("a.tif", "x/a.tif")
    with pytest.raises(ConfigError, match=r"found a\.tif and a\.tif"):
        call("a.tif", "a.tif")


def test_a_threshold_for_more_than_two_classes_is_refused(project, monkeypatch):
    three = predictor(classes=("ground", "house", "tree"))
    monkeypatch.setattr(Predictor, "of_run", lambda *_, **__: three)
    with pytest.raises(ConfigError, match="a threshold is for two classes"):
        call("a.tif", "--threshold", "0.5")
