"""gim-cv check: facts of good pairs, doubts about odd ones, errors of bad ones."""

import json

import geopandas
import numpy as np
import pytest
from projects import REAL_PAIRS, make_project, run
from varieties import BAD, GRID, PREPARE, SPLIT, Scene, mask, pixels, plain, write_tif

from gim_cv.audit import PairAudit, audit_pair, audit_pairs, compare_resolutions, totals
from gim_cv.catalog import DatasetSpec, Pair
from gim_cv.catalog import Scene as Entry
from gim_cv.ground import GroundSplit
from gim_cv.sceneaudit import audit_scenes
from gim_cv.tables import scene_lines

OPTIONS = PREPARE | {"split": GroundSplit(**SPLIT)}


@pytest.fixture
def scene(tmp_path):
    here = Scene(tmp_path / "s")
    here.folder.mkdir()
    return here


def pair(scene, name="p"):
    return Pair(name=name, source="s", **scene.pair)


def test_facts_of_a_good_pair(scene):
    plain(scene)
    audit = audit_pair(pair(scene), scene.folder.parent, **OPTIONS)
    assert audit.errors == []
    facts = audit.facts
    assert (facts["height"], facts["width"], facts["dtype"]) == (96, 96, "uint8")
    assert facts["crs"] == "EPSG:32633"
    assert facts["resolution_m"] == pytest.approx([0.5, 0.5], rel=1e-3)
    assert sum(facts["patches"].values()) == 9
    share = 100 * (mask() > 0).mean()
    assert facts["class_percent"]["building"] == pytest.approx(share, abs=0.1)
    assert json.dumps(audit.as_dict())


def test_a_bad_pair_is_an_error_and_no_exception(scene):
    BAD["labels elsewhere"](scene)
    audit = audit_pair(pair(scene), scene.folder.parent, **OPTIONS)
    assert "do not overlap" in audit.errors[0]
    assert totals([audit])["errors"] == 1


def test_another_resolution_than_the_datasets_is_said(scene):
    plain(scene)
    audit = audit_pair(pair(scene), scene.folder.parent, **OPTIONS)
    sets = {"near": 0.45, "far": 0.3}
    specs = {tag: DatasetSpec(pairs=("p",), resolution_m=value) for tag, value in sets.items()}
    before = list(audit.warnings)
    compare_resolutions([audit, PairAudit("broken")], specs)
    (said,) = [warning for warning in audit.warnings if warning not in before]
    assert said.startswith("cut at 0.5 m per px, while dataset far says 0.3")


def test_the_same_ground_and_the_same_file_under_two_names_are_said(scene):
    plain(scene)
    both = [pair(scene, "one"), pair(scene, "two")]
    first, second = audit_pairs(both, scene.folder.parent, **OPTIONS)
    assert not any("ground" in warning for warning in first.warnings)
    text = " ".join(second.warnings)
    assert "100 % of the ground is also in one" in text
    assert "same file as that of one" in text


def test_the_same_picture_elsewhere_is_said(scene):
    plain(scene)
    other = Scene(scene.folder)
    moved = GRID * GRID.translation(5000, 0)
    write_tif(scene.folder / "copy.tif", pixels(), transform=moved)
    write_tif(scene.folder / "copy_mask.tif", mask()[None], transform=moved)
    other.pair |= {"image": "copy.tif", "labels": "copy_mask.tif"}
    _, second = audit_pairs(
        [pair(scene, "one"), pair(other, "two")], scene.folder.parent, **OPTIONS
    )
    assert any("looks like the image of one" in warning for warning in second.warnings)


def test_different_pictures_are_not_taken_for_one(scene):
    plain(scene)
    other = Scene(scene.folder)
    data = np.flip(pixels(), axis=2)
    write_tif(scene.folder / "b.tif", data, transform=GRID * GRID.translation(5000, 0))
    write_tif(scene.folder / "m.tif", mask()[None], transform=GRID * GRID.translation(5000, 0))
    other.pair |= {"image": "b.tif", "labels": "m.tif"}
    _, second = audit_pairs(
        [pair(scene, "one"), pair(other, "two")], scene.folder.parent, **OPTIONS
    )
    assert not any("looks like" in warning for warning in second.warnings)


def test_real_labels_sit_on_their_roofs(shared_data, tmp_path):
    for place in ("kampala", "zanzibar"):
        (tmp_path / place).symlink_to(shared_data / f"hot_{place}")
    for name, entry in REAL_PAIRS.items():
        audit = audit_pair(Pair(name=name, **entry), tmp_path, **OPTIONS)
        assert audit.errors == []
        assert max(map(abs, audit.facts["shift_px"])) <= 1, name


def test_scenes_are_looked_at_beside_the_pairs(scene):
    plain(scene)
    raw = scene.folder.parent
    write_tif(scene.folder / "other.tif", pixels(bands=4, dtype="uint16"))
    (scene.folder / "torn.tif").write_bytes(b"II*\0")
    pairs = audit_pairs([pair(scene)], raw, **OPTIONS)
    files = {"good": scene.pair["image"], "other": "other.tif", "torn": "torn.tif"}
    entries = [Entry(name=name, source="s", image=file) for name, file in files.items()]
    good, other, torn = audit_scenes(entries, raw, pairs)
    assert (good.warnings, good.errors, good.facts["height"]) == ([], [], 96)
    assert "has the bands" in other.warnings[0]
    assert other.warnings[1] == "has pixels of uint16, where pairs have uint8"
    assert "not a raster" in torn.errors[0]
    found = scene_lines([good, other, torn]).plain
    assert found.startswith("scene good: 96 × 96 px of 0.5 m, ")
    assert "! scene other: has pixels of uint16" in found
    assert "✗ scene torn: " in found
    assert (totals(pairs, [good, other, torn])["errors"], totals(pairs)["errors"]) == (1, 0)


@pytest.mark.parametrize(
    ("bands", "more", "warned"),
    [
        (("green", "red", "blue"), {}, False),  # found by name
        (("nir", "red", "blue", "green"), {}, False),
        (("nir", "red", "green"), {}, True),  # the stage refuses them, unless they are chosen
        (("nir", "red", "green"), {"bands": [1, 2, 3]}, False),
        (("nir", "red", "green", "blue"), {"bands": [1, 2, 3, 4]}, True),
        (("b4", "b3", "b2"), {}, False),
    ],
)
def test_bands_that_a_model_of_the_pairs_would_refuse_are_said(scene, bands, more, warned):
    for name in bands:
        write_tif(scene.folder / f"{name}.tif", pixels(bands=1))
    image = [f"{name}.tif" for name in bands]
    entry = Entry(name="scene", source="s", image=image, **more)
    pairs = [PairAudit("p", {"bands": ["red", "green", "blue"], "dtype": "uint8"})]
    (found,) = audit_scenes([entry], scene.folder.parent, pairs)
    assert found.errors == []
    assert any("has the bands" in warning for warning in found.warnings) == warned


def test_a_place_that_dvc_does_not_keep_is_said(scene):
    plain(scene)
    image = scene.folder / scene.pair["image"]
    beside = image.with_name(f"{image.name}.aux.xml")
    entry = Entry(name="scene", source="s", image=image.name)
    for text, warned in (("<PAMRasterBand/>", False), ("<SRS>EPSG:32633</SRS>", True)):
        beside.write_text(f"<PAMDataset>{text}</PAMDataset>")
        audits = audit_pairs([pair(scene)], scene.folder.parent, **OPTIONS)
        audits += audit_scenes([entry], scene.folder.parent, audits)
        for audit in audits:
            assert any("DVC does not keep it" in said for said in audit.warnings) == warned


def test_a_scene_in_degrees_is_no_error(scene):
    """A model is shown it resampled: only the ground of a pair has to be square as it is."""
    plain(scene)
    degrees = GRID.from_gdal(15.0, 5e-6, 0.0, 60.0, 0.0, -5e-6)
    write_tif(scene.folder / "degrees.tif", pixels(), transform=degrees, crs="EPSG:4326")
    entry = Entry(name="degrees", source="s", image="degrees.tif")
    (found,) = audit_scenes([entry], scene.folder.parent, [])
    assert (found.errors, found.facts["height"]) == ([], 96)
    down, across = found.facts["resolution_m"]
    assert down > 1.5 * across


@pytest.mark.e2e
def test_the_command_prints_a_table_or_json_and_fails_on_errors(tmp_path):
    folder = make_project(tmp_path / "project")
    run(folder, "dvc", "repro", "-q", "fetch@scenes", "recipes")
    labels = folder / "data/raw/scenes/a.geojson"
    geopandas.read_file(labels).iloc[:3].to_file(labels)
    assert "train/val/test" in run(folder, "gim-cv", "check")
    found = json.loads(run(folder, "gim-cv", "check", "--json", "a"))
    assert [row["name"] for row in found["pairs"]] == ["a"]
    assert found["scenes"] == []
    assert "scene tile: 192 × 192 px of 0.5 m" in run(folder, "gim-cv", "check")
    prepared = run(folder, "python3", "-m", "stages.prepare", "a")
    said = [line.removeprefix("warning: a: ") for line in prepared.splitlines()]
    assert said == found["pairs"][0]["warnings"]
    assert said[0].startswith("all labels lie within ")
    (folder / "data/raw/scenes/b.tif").unlink()
    text = run(folder, "gim-cv", "check", check=False)
    assert "no such raster" in text
