"""The pipeline under real git and DVC: what runs, what does not, and what is left behind."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import rasterio
import yaml
from projects import (
    changed_stages,
    edit_yaml,
    environment,
    locked_hashes,
    make_project,
    run,
    stages_run,
)

pytestmark = pytest.mark.e2e
LEARNING = {"train", "evaluate", "report", "predict@tile"}


@pytest.fixture
def project(built, tmp_path):
    """A copy of the built project that a test may change."""
    return shutil.copytree(built, tmp_path / "project", symlinks=True)


def test_a_second_run_runs_nothing_and_leaves_the_tree_clean(built):
    assert "up to date" in run(built, "dvc", "repro")
    assert run(built, "git", "status", "--porcelain") == ""
    assert run(built, "git", "diff", "HEAD~1", "--stat", "--", "dvc.yaml") == ""


def test_an_experiment_with_another_loss_runs_training_alone(project):
    text = run(project, "dvc", "exp", "run", "-S", "loss=tversky", "-n", "with-tversky")
    assert set(stages_run(text)) == LEARNING
    rows = json.loads(run(project, "dvc", "exp", "show", "--json"))
    shown = json.dumps(rows)
    assert "with-tversky" in shown
    assert '"loss": "tversky"' in shown
    assert '"loss": "bce_dice"' in shown
    metrics = json.loads((project / "data/results/evaluate/metrics.json").read_text())
    assert 0 <= metrics["val"]["iou"] <= 1
    assert 0 <= metrics["test"]["iou"] <= 1
    assert (project / "data/results/report/index.html").stat().st_size > 10_000

    before = json.loads(run(project, "git", "show", "HEAD:data/results/evaluate/metrics.json"))
    text = run(project, "gim-cv", "diff", "HEAD", "with-tversky", "--attribute", "--json")
    found, _ = json.JSONDecoder().raw_decode(text, text.index("{\n"))
    assert {row["state"] for row in found["scenes"]} == {"same"}
    assert [row["name"] for row in found["params"]] == ["loss"]
    table = [[cell["value"] for cell in row] for row in found["attribution"]["scores"]]
    logged = [one["test"]["iou"] for one in (before, metrics)]
    assert [row[0] for row in table] == [row[1] for row in table] == pytest.approx(logged, abs=1e-6)
    assert found["attribution"]["data"] == 0


def test_an_edit_marks_what_depends_on_it_and_nothing_else(project):
    def force_split(catalog):
        catalog["pairs"]["a"]["all_touched"] = False

    losses = next((project / "gim_cv" / "losses").glob("overlap.py"))
    original = losses.read_text()
    losses.write_text(original + "\n# an edit\n")
    loading = {"evaluate", "predict@tile"}  # which load models of any loss
    assert changed_stages(project) == {"train"} | loading
    losses.write_text(original)
    assert changed_stages(project) == set()
    edit_yaml(project / "data/catalog.yaml", force_split)
    assert changed_stages(project) == {"recipes"}
    run(project, "dvc", "repro", "recipes")
    assert changed_stages(project) - {"manifest"} == {"prepare@a"}
    edit_yaml(project / "params.yaml", lambda params: params["split"].update(seed=9))
    run(project, "dvc", "repro", "recipes")
    assert changed_stages(project) - {"manifest"} == {"prepare@a", "prepare@b"}


def test_an_experiment_with_another_entry_prepares_that_pair_alone(project):
    text = run(
        project, "dvc", "exp", "run", "-S", "data/catalog.yaml:+pairs.b.split=val", "combine"
    )
    assert stages_run(text) == ["recipes", "prepare@b", "manifest", "combine"]


def test_a_mistyped_parameter_is_refused(project):
    text = run(project, "dvc", "exp", "run", "-S", "lss=tversky", check=False)
    assert "lss" in text
    assert stages_run(text) == []


def test_the_same_bytes_in_another_folder_with_other_workers(built, tmp_path, monkeypatch):
    other = make_project(tmp_path / "elsewhere" / "twin")
    monkeypatch.setenv("DASK_NUM_WORKERS", "1")
    run(other, "dvc", "repro", "combine")
    there, here = locked_hashes(built), locked_hashes(other)
    names = ["data/patches/a.zarr", "data/patches/b.zarr", "data/combined.zarr"]
    assert [here[n] for n in names] == [there[n] for n in names]


def test_pairs_prepared_side_by_side_are_what_dvc_makes_one_by_one(built, tmp_path):
    def ticks(text):
        return [line for line in text.splitlines() if line[:1] in ("✓", "✗")]

    twin = make_project(tmp_path / "elsewhere" / "twin")
    catalog = twin / "data/catalog.yaml"
    right = catalog.read_text()
    edit_yaml(catalog, lambda data: data["pairs"]["b"].update(bands=[9]))
    text = run(twin, "gim-cv", "prepare", "--jobs", "2", check=False)
    assert ticks(text) == ["✓ a", "✗ b"]
    assert "no such band" in text
    catalog.write_text(right)
    assert ticks(run(twin, "gim-cv", "prepare")) == ["✓ b"]
    assert ticks(run(twin, "gim-cv", "prepare")) == []
    assert stages_run(run(twin, "dvc", "repro", "combine")) == ["manifest", "combine"]
    here, there = (yaml.safe_load((p / "dvc.lock").read_text())["stages"] for p in (twin, built))
    assert here == {name: there[name] for name in here}
    assert "combine" in here

    edit_yaml(catalog, lambda data: data["pairs"]["a"].update(split="val"))
    assert ticks(run(twin, "gim-cv", "prepare")) == ["✓ a"]
    assert locked_hashes(twin)["data/patches/a.zarr"] != locked_hashes(built)["data/patches/a.zarr"]
    catalog.write_text(right)
    assert ticks(run(twin, "gim-cv", "prepare")) == ["✓ a"]
    assert "up to date" in run(twin, "dvc", "repro", "combine")
    assert yaml.safe_load((twin / "dvc.lock").read_text())["stages"] == here


def test_a_dropped_pair_leaves_a_clone_clean(project, tmp_path):
    def drop(catalog):
        del catalog["pairs"]["b"]
        catalog["datasets"]["all"]["pairs"] = ["a"]

    edit_yaml(project / "data/catalog.yaml", drop)
    run(project, "dvc", "repro", "combine")
    assert not (project / "data/patches/b.zarr").exists()
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-q", "-m", "Dropped b")
    clone = tmp_path / "clone"
    run(project, "git", "clone", "-q", str(project), str(clone))
    shutil.copytree(project / "scenes", clone / "scenes", dirs_exist_ok=True)
    run(clone, "dvc", "cache", "dir", "--local", str(project / ".dvc" / "cache"))
    run(clone, "dvc", "checkout", "combine", "--with-deps")
    assert changed_stages(clone) & {"prepare@a", "manifest", "combine"} == set()


def alive(folder) -> list[str]:
    """Stage processes whose working directory is the project."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = (process / "cwd").readlink()
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if here == folder and "stages." in command:
            found.append(command)
    return found


def wait_for(condition, seconds=60.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.05)


@pytest.mark.parametrize("delay_s", [0.0, 0.7, 1.4])
def test_a_killed_run_leaves_no_writer_and_nothing_that_loads(built, tmp_path, delay_s):
    folder = make_project(tmp_path / "killed")
    run(folder, "dvc", "repro", "fetch@scenes")
    lock = (folder / "dvc.lock").read_bytes()
    with subprocess.Popen(
        ["dvc", "repro", "combine"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for(lambda: alive(folder))
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not alive(folder))
    said = run(folder, "dvc", "repro", "combine", check=False)
    if "validation failed" in said or "structure is corrupted" in said:
        # The kill fell into DVC's own writing of these files, which it does in place.
        (folder / "dvc.lock").write_bytes(lock)
        (folder / ".dvc/tmp/rwlock").unlink(missing_ok=True)
        run(folder, "dvc", "repro", "combine")
    name = "data/combined.zarr"
    assert locked_hashes(folder)[name] == locked_hashes(built)[name]


def test_every_dvc_file_is_seen_by_dvc(project):
    """A pattern in .gitignore that hides them would make DVC delete the raw data."""
    extra = project / "data" / "raw" / "mine"
    extra.mkdir(parents=True)
    (extra / "image.tif").write_bytes(b"pixels")
    run(project, "dvc", "add", "-q", "data/raw/mine")
    run(project, "git", "add", "-A")
    assert "data/raw/mine" in run(project, "dvc", "list", ".", "--dvc-only", "-R")
    assert extra.exists()


def test_verify_finds_a_damaged_store(project):
    assert "✗" not in run(project, "gim-cv", "verify")
    store = project / "data/patches/a.zarr"
    shard = next(p for p in sorted(store.rglob("c/*")) if p.is_file())
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.unlink()
    shard.write_bytes(data)
    text = run(project, "gim-cv", "verify", check=False)
    assert "✗ data/patches/a.zarr: damaged" in text
    assert "✓ data/patches/b.zarr" in text


def test_verify_finds_an_output_that_the_cache_lost(project):
    """A full disk loses cache objects while ``dvc repro`` reports success."""
    digest = locked_hashes(project)["data/patches/a.zarr"]
    lost = project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    lost.unlink()
    text = run(project, "gim-cv", "verify", check=False)
    assert "missing from DVC's cache" in text
    assert "✓ data/patches/a.zarr" in text


def test_scenes_are_predicted_on_their_own_grid_and_any_raster_by_the_command(project, tmp_path):
    with rasterio.open(project / "data/raw/scenes/a.tif") as image:
        grid = image.crs, image.transform, image.shape
    for name in ("probability.tif", "classes.tif"):
        with rasterio.open(project / "data/predictions/tile" / name) as found:
            assert (found.crs, found.transform, found.shape) == grid
    metrics = json.loads((project / "data/results/evaluate/metrics.json").read_text())
    about = json.loads((project / "data/predictions/tile/prediction.json").read_text())
    assert about["threshold"] == metrics["threshold"]

    (tmp_path / "torn.tif").write_bytes(b"II*\0")
    files = ["data/raw/scenes/a.tif", str(tmp_path / "torn.tif")]
    out = tmp_path / "[out]"
    said = run(project, "gim-cv", "predict", *files, "-o", str(out), "--skip-failures", check=False)
    assert f"✓ {out}/a: background" in said
    assert said.count("torn.tif: not a raster") == 1
    for name in ("probability.tif", "classes.tif", "polygons.gpkg", "quicklook.png"):
        twin = project / "data/predictions/tile" / name
        assert (out / "a" / name).read_bytes() == twin.read_bytes()
    named = run(project, "gim-cv", "predict", files[0], "--bands", "red,2,blue", "-o", str(out))
    assert f"✓ {out}/a" in named
    said = run(project, "gim-cv", "predict", *files, "-o", str(out), check=False)
    assert "error: " in said
    assert "torn.tif: not a raster" in said


def test_a_new_scene_is_predicted_alone(project):
    def add(catalog):
        catalog["scenes"]["other"] = {"source": "scenes", "image": "b.tif"}

    edit_yaml(project / "data/catalog.yaml", add)
    assert stages_run(run(project, "dvc", "repro")) == ["predict@other"]
