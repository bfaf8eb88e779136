import json

import keras
import numpy as np
import pytest
import yaml
from scipy.ndimage import label
from towns import bright, combined

from gim_cv.curves import average_precision
from gim_cv.evaluate import (
    choose_level,
    evaluate_run,
    measure,
    measure_baselines,
)
from gim_cv.intervals import read_counts
from gim_cv.inventory import count_objects
from gim_cv.models.segmentalist import Segmentalist
from gim_cv.results import clear_results, pooled
from gim_cv.scores import confusion, scores
from gim_cv.store import open_store, write_store
from gim_cv.tally import read_predictions

TINY = {
    "initial_filters": 2,
    "residual_filters": [2, 4],
    "layer_blocks": 1,
    "last_decoder_layer_blocks": 1,
}


@pytest.fixture
def store(tmp_path):
    write_store(combined(overlap=16), tmp_path / "combined.zarr", recipe={"pairs": {}})
    return tmp_path / "combined.zarr"


@pytest.fixture
def run_dir(tmp_path):
    keras.utils.set_random_seed(0)
    folder = tmp_path / "Segmentalist"
    folder.mkdir()
    model = Segmentalist(**TINY)
    for name in ("best", "best_train"):
        model.save_weights(folder / f"{name}.weights.h5")
    (folder / "run.yml").write_text(yaml.safe_dump({"model": TINY, "loss": "bce", "seed": 1}))
    (folder / "history.csv").write_text("epoch,loss,val_loss\n0,0.7,0.8\n")
    return folder


def evaluate(store, run_dir, out_dir, **changes):
    options = {"batch": 5, "threshold": None, "symmetries": True, "progress": False} | changes
    return evaluate_run(store, run_dir, out_dir=out_dir, **options)


def test_writes_every_file_and_few_metrics(store, run_dir, tmp_path):
    found = evaluate(store, run_dir, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["counts.parquet", "metrics.json", "plots", "predictions.zarr", "scores.json"]
    assert found == json.loads((tmp_path / "out/metrics.json").read_text())
    assert set(found) == {"val", "test", "threshold", "baseline", "test_digest"}
    assert set(found["test"]) == {"iou", "f1", "precision", "recall"}
    assert found["test_digest"] == "abcdef012345"
    rows = json.loads((tmp_path / "out/plots/precision_recall.json").read_text())
    assert {"precision", "recall", "threshold"} == set(rows[0])


def test_scores_say_whether_predictions_are_means_over_symmetries(store, run_dir, tmp_path):
    kept = {}
    for symmetries in (True, False):
        out = tmp_path / str(symmetries)
        evaluate(store, run_dir, out, symmetries=symmetries)
        assert json.loads((out / "scores.json").read_text())["symmetries"] is symmetries
        kept[symmetries] = np.stack(
            list(read_predictions(out / "predictions.zarr", "test", [0, 1]))
        )
    assert not np.array_equal(kept[True], kept[False])


def test_an_earlier_evaluation_is_replaced_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    (out / "plots").mkdir(parents=True)
    for name in ("mine.txt", "metrics.json", "plots/old.csv"):
        (out / name).write_text("old")
    clear_results(out)
    assert [path.name for path in out.rglob("*")] == ["mine.txt"]


def test_the_same_bytes_whatever_the_batch_and_the_folder(store, run_dir, tmp_path):
    for name, batch in (("one", 4), ("two", 7)):
        evaluate(store, run_dir, tmp_path / name, batch=batch, threshold=0.5)
    for file in ("metrics.json", "counts.parquet", "plots/confusion.csv"):
        first, second = ((tmp_path / name / file).read_bytes() for name in ("one", "two"))
        assert first == second, file


def test_counts_are_those_of_the_predictions_each_pixel_once(store, run_dir, tmp_path):
    evaluate(store, run_dir, tmp_path / "out", threshold=0.5)
    patches = open_store(store)
    part = patches.isel(patch=patches["split"] == 2).load()
    kept = list(read_predictions(tmp_path / "out/predictions.zarr", "test", range(len(part.patch))))
    ground = {}
    order = np.lexsort((part.col0, part.row0, part.pair))
    for index in order:
        mask = part["mask"][index].to_numpy()[..., 0]
        pair, row0, col0 = (int(part[name][index]) for name in ("pair", "row0", "col0"))
        for (row, col), truth in np.ndenumerate(mask):
            place = (pair, row0 + row, col0 + col)
            ground.setdefault(place, (truth, kept[index][row, col] >= 128))
    truth, guess = np.array(list(ground.values())).T
    blocks = read_counts(tmp_path / "out/counts.parquet", "test")
    assert sum(blocks.values()).tolist() == confusion(truth, guess, 2).tolist()


def test_a_good_predictor_beats_the_baselines_that_ignore_the_image(store):
    patches = open_store(store)
    model = measure(patches, bright, batch=8, keep=None, progress=False)
    level = choose_level(model["val"], None)
    found = scores(model["test"].total(level))["iou"]
    assert found > 0.9
    for name, counts in measure_baselines(patches, batch=8, progress=False):
        iou = scores(counts["test"].total(128))["iou"]
        assert iou > 0.8 if name == "colour" else iou < 0.5


def test_an_empty_test_split_scores_nothing_and_does_not_fail(run_dir, tmp_path):
    patches = combined()
    kept = patches.isel(patch=patches["split"] < 2).assign_attrs(test_digest=None)
    write_store(kept, tmp_path / "no_test.zarr", recipe={})
    found = evaluate(tmp_path / "no_test.zarr", run_dir, tmp_path / "out")
    assert found["test"] == {"iou": None, "f1": None, "precision": None, "recall": None}
    assert found["test_digest"] is None
    assert found["val"]["iou"] is not None


def test_more_than_two_classes(tmp_path):
    patches = combined(classes=3)

    def right(images):
        level = images.mean(-1)
        return np.eye(3)[(level > 0.55).astype(int) + (level > 0.74)]

    write_store(patches, tmp_path / "three.zarr", recipe={})
    found = measure(open_store(tmp_path / "three.zarr"), right, batch=8, keep=None, progress=False)
    assert scores(found["test"].total(128))["macro"]["iou"] > 0.8
    curve = pooled(found["test"])
    assert curve.sum() == 3 * found["test"].total(128).sum()
    assert average_precision(curve) > 0.8


def test_objects_are_put_together_from_patches_before_they_are_counted(store, tmp_path):
    """Each roof of the town is one object, although patches of 32 px cut many of them."""
    patches = open_store(store)
    kept = tmp_path / "kept.zarr"
    tallies = measure(patches, bright, batch=8, keep=kept, progress=False)
    level = choose_level(tallies["val"], None)
    (found,) = count_objects(patches, "test", kept, level)
    roofs = 0
    part = patches.isel(patch=patches["split"] == 2).load()
    for pair in (0, 1):
        ground = np.zeros((128, 128), bool)
        for index in np.flatnonzero(part["pair"] == pair):
            row, col = int(part["row0"][index]), int(part["col0"][index])
            ground[row : row + 32, col : col + 32] = part["mask"][index, ..., 0] == 1
        roofs += label(ground)[1]
    summary = found.summary()
    assert summary["truth"] == roofs
    assert summary["recall"] > 0.9
    assert summary["boundary_iou"] > 0.9
