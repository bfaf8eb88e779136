import math

import pytest
import yaml

from gim_cv.errors import DataError, MissingError
from gim_cv.rundir import read_history
from gim_cv.runs import collate_run_data, flat, read_run


def make_run(folder, *, losses=((0.9, 1.2), (0.5, 10.2), (0.4, 9.1)), **run):
    folder.mkdir(parents=True)
    parameters = {"loss": "tversky", "model": {"deep_supervision": False}, **run}
    (folder / "run.yml").write_text(yaml.safe_dump(parameters))
    rows = [f"{epoch},{loss},{val}" for epoch, (loss, val) in enumerate(losses)]
    (folder / "history.csv").write_text("\n".join(["epoch,loss,val_loss", *rows]) + "\n")
    return folder


def test_the_lowest_loss_is_the_lowest_number_not_the_first_word(tmp_path):
    row = read_run(make_run(tmp_path / "Segmentalist", losses=[(1, 10.2), (0.5, 9.1)]))
    assert row["lowest_val_loss"] == 9.1
    assert row["lowest_loss"] == 0.5


def test_rows_hold_absolute_paths_of_the_samples(tmp_path, monkeypatch):
    make_run(tmp_path / "Segmentalist")
    monkeypatch.chdir(tmp_path)
    row = read_run("Segmentalist")
    assert row["run_dir"] == str(tmp_path / "Segmentalist")
    assert row["X0_val"] == str(tmp_path / "Segmentalist/samples/X0_val.npy")


def test_a_run_without_validation_has_no_lowest_val_loss(tmp_path):
    row = read_run(make_run(tmp_path / "S", losses=[(0.5, ""), (0.6, "")]))
    assert math.isnan(row["lowest_val_loss"])
    assert row["lowest_loss"] == 0.5


def test_collates_by_name_numerically_with_nested_parameters_as_columns(tmp_path):
    make_run(tmp_path / "Segmentalist_a", losses=[(1, 10.2)], datasets="m4,m5")
    make_run(tmp_path / "Segmentalist_b", losses=[(1, 9.1)], datasets="m4,m5")
    make_run(tmp_path / "Other", losses=[(1, 0.1)])
    (tmp_path / "Segmentalist_torn").mkdir()
    frame = collate_run_data(tmp_path, "Segmentalist")
    assert len(frame) == 2
    assert frame["lowest_val_loss"].dtype == "float64"
    best = frame.sort_values(by="lowest_val_loss").query(
        'datasets == "m4,m5" and loss_fn == "tversky" and deep_supervision == False'
    )
    assert best.iloc[0].run_dir == str(tmp_path / "Segmentalist_b")


def test_no_run_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(MissingError, match="Train a model"):
        collate_run_data(tmp_path)
    with pytest.raises(MissingError, match="no such folder"):
        collate_run_data(tmp_path / "nowhere")
    with pytest.raises(MissingError, match="not a run directory"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "match"),
    [
        ("run.yml", "a: [1", "not YAML"),
        ("run.yml", "- 1", "no mapping"),
        ("history.csv", "epoch,loss\n0,high\n", "no number"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, file, text, match):
    folder = make_run(tmp_path / "S")
    (folder / file).write_text(text)
    with pytest.raises(DataError, match=match):
        read_run(folder)


def test_history_is_numbers(tmp_path):
    rows = read_history(make_run(tmp_path / "S", losses=[(1, ""), (2, 3)]))
    assert rows[1] == {"epoch": 1.0, "loss": 2.0, "val_loss": 3.0}
    assert math.isnan(rows[0]["val_loss"])


def test_flat_rows_keep_the_outer_name():
    assert flat({"a": 1, "b": {"a": 2, "c": {"d": 3}}}) == {"a": 1, "d": 3}
