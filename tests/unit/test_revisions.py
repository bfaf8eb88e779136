from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from patchsets import patch_set
from rundirs import add_and_tag, start_repository

from gim_cv.config import Project
from gim_cv.errors import MissingError, UnknownError
from gim_cv.revisions import experiments, fetch_run, runs_at
from gim_cv.runs import collate_run_data, find_runs
from gim_cv.store import open_store, write_store
from gim_cv.versions import Version


def test_runs_of_tags_are_rows_like_those_on_disk(repository):
    frame = collate_run_data(repository / "data/models", revs=["first", "second"])
    assert frame["rev"].tolist() == ["workspace", "first", "second"]
    assert frame["loss_fn"].tolist() == ["second", "first", "second"]
    best = frame.sort_values("lowest_val_loss").iloc[0]
    assert (best["rev"], best["lowest_val_loss"]) == ("first", 0.9)


def test_weights_of_a_revision_come_when_asked_for(repository):
    (row,) = runs_at("first", repository / "data/models", "Segmentalist")
    folder = Path(row["run_dir"])
    assert not (folder / "best.weights.h5").exists()
    assert fetch_run(row) == folder
    assert (folder / "best.weights.h5").read_text() == "first"
    assert Path(row["X0_val"]).read_text() == "first"
    assert (repository / "data/models/Segmentalist/best.weights.h5").read_text() == "second"


def test_the_workspace_needs_no_fetching(repository):
    row = collate_run_data(repository / "data/models").iloc[0]
    assert fetch_run(row) == repository / "data/models/Segmentalist"


def test_an_unknown_revision_and_a_folder_in_no_repository(repository, tmp_path):
    with pytest.raises(UnknownError, match="unknown revision 'frist'"):
        runs_at("frist", repository / "data/models", "Segmentalist")
    with pytest.raises(MissingError, match="in no DVC repository"):
        runs_at("first", tmp_path, "Segmentalist")


def test_a_revision_without_runs_and_without_experiments(repository):
    assert runs_at("first", repository / "data/none", "Segmentalist") == []
    assert experiments(repository) == []


def test_runs_are_found_where_they_are_named(repository):
    models = repository / "data/models"
    assert find_runs(models)["rev"].tolist() == ["workspace"]
    found = find_runs(models, revs=["second", "workspace", "first", "second"])
    assert found["rev"].tolist() == ["second", "workspace", "first"]
    assert find_runs(models, experiments=True)["rev"].tolist() == ["HEAD"]
    assert find_runs(models, revs=["first"], where="lowest_val_loss < 1")["rev"].tolist() == [
        "first"
    ]
    with pytest.raises(MissingError, match="first has no run"):
        find_runs(repository / "data/none", revs=["first"])


def test_a_store_of_another_revision_is_read_without_a_checkout(tmp_path):
    root, name = start_repository(tmp_path), "data/combined.zarr"
    for tag in ("small", "large"):
        write_store(patch_set(tag, {"small": 9, "large": 20}[tag]), root / name, recipe={})
        add_and_tag(root, name, tag)
    here = Project(root)
    found = open_store(Version("small", here).store(name))
    assert dask.is_dask_collection(found)
    xr.testing.assert_equal(found.compute(), patch_set("small", 9))
    with xr.open_zarr(Version("small", here).store(name), consolidated=False) as plain:
        assert np.array_equal(plain["image"], patch_set("small", 9)["image"])
    assert open_store(root / name).sizes["patch"] == 20
    with pytest.raises(UnknownError, match="unknown revision 'smal'"):
        Version("smal", here)
