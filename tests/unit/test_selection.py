import pandas as pd
import pytest
from rundirs import evaluated_run

from gim_cv.errors import ConfigError, DataError, MissingError
from gim_cv.runs import collate_run_data, select


def chosen(models, **options):
    question = {"metric": "iou", "split": "val", "seed": 0} | options
    return select(collate_run_data(models), **question)


def test_a_run_that_is_better_beyond_chance_is_chosen_though_dear(tmp_path):
    evaluated_run(tmp_path, "small", recall=0.6, parameters=1000)
    evaluated_run(tmp_path, "large", recall=0.8, parameters=9000)
    found = chosen(tmp_path)
    assert found.row["loss"] == "large"
    assert found.table["label"].tolist() == ["large", "small"]
    assert found.table["tied"].tolist() == [True, False]
    assert "Worse beyond chance: small" in found.reason


def test_a_tie_goes_to_the_cheaper_model_with_the_reason_written(tmp_path):
    evaluated_run(tmp_path, "large", recall=0.800, parameters=9_000, seed=1)
    evaluated_run(tmp_path, "small", recall=0.799, parameters=1_000, seed=1)
    evaluated_run(tmp_path, "poor", recall=0.5, parameters=10, seed=1)
    for folder in tmp_path.iterdir():
        counts = folder / "evaluate/counts.parquet"
        assert counts.is_file()
    found = chosen(tmp_path)
    assert found.row["loss"] == "small"
    assert "may be chance" in found.reason
    assert "1,000 parameters to its 9,000" in found.reason
    assert found.table["chosen"].sum() == 1


def test_the_same_ground_and_skill_differ_only_by_chance(tmp_path):
    for seed in (1, 2):
        evaluated_run(tmp_path, f"s{seed}", recall=0.7, parameters=5, seed=seed)
    table = chosen(tmp_path).table
    assert table["tied"].all()
    assert (table["behind_low"] <= 0).all()


def test_few_blocks_choose_the_highest_and_say_so(tmp_path):
    evaluated_run(tmp_path, "small", recall=0.79, parameters=10, blocks=5)
    evaluated_run(tmp_path, "large", recall=0.80, parameters=90, blocks=5)
    found = chosen(tmp_path)
    assert found.row["loss"] == "large"
    assert "no difference can be told from chance" in found.reason


def test_runs_on_different_test_ground_are_not_ranked(tmp_path):
    evaluated_run(tmp_path, "a", recall=0.6, parameters=1, digest="aaaa")
    evaluated_run(tmp_path, "b", recall=0.8, parameters=1, digest="bbbb")
    with pytest.raises(DataError, match="cannot be ranked"):
        chosen(tmp_path)


def test_a_run_that_was_trained_again_has_lost_its_evaluation(tmp_path):
    folder = evaluated_run(tmp_path, "a", recall=0.6, parameters=1)
    (folder / "run.yml").write_text("loss: other\n")
    frame = collate_run_data(tmp_path)
    assert frame["evaluate_dir"].isna().all()
    with pytest.raises(MissingError, match="not evaluated: Segmentalist_a"):
        select(frame, metric="iou", split="val", seed=0)


def test_one_run_and_none(tmp_path):
    evaluated_run(tmp_path, "a", recall=0.6, parameters=1)
    assert "only run" in chosen(tmp_path).reason
    frame = collate_run_data(tmp_path)
    with pytest.raises(MissingError, match="Widen the query"):
        select(frame[frame["loss"] == "none"], metric="iou", split="val", seed=0)


def test_unknown_questions(tmp_path):
    frame = pd.DataFrame()
    with pytest.raises(ConfigError, match="unknown metric"):
        select(frame, metric="beauty", split="val", seed=0)
    with pytest.raises(ConfigError, match="unknown split"):
        select(frame, metric="iou", split="train", seed=0)
