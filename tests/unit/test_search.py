import json
import math
import shutil
import subprocess

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from rundirs import run

from gim_cv.errors import ConfigError, RunError
from gim_cv.search import Experiments, Trial, parse_space, propose, search
from gim_cv.versions import METRICS

SPACE = ("train.learning_rate=log:1e-4..1e-1", "loss=tversky,dice,bce")


def skill(values):
    """Best at a learning rate of 0.002 with dice."""
    distance = math.log10(values["train.learning_rate"] / 2e-3)
    return 0.6 - 0.1 * distance**2 + 0.1 * (values["loss"] == "dice")


class Bench:
    """A laboratory that knows the answer; of the names in `lost` nothing comes back."""

    def __init__(self, done=(), lost=()):
        self.done, self.lost, self.batches = list(done), set(lost), []

    def finished(self):
        return list(self.done)

    def run(self, proposals):
        self.batches.append(list(proposals))
        self.done += [
            Trial(name, values, skill(values))
            for name, values in proposals.items()
            if name not in self.lost
        ]


def searched(bench, trials, *, space=SPACE, batch=2, seed=0):
    return search(parse_space(space), bench, study="s", trials=trials, batch=batch, seed=seed)


def test_the_three_forms_of_a_space():
    found = parse_space(["a=log:1e-4..1e-2", "b=4..16", "c=x, 8,0.5,true,null", "d=0.1..1"])
    assert found == {
        "a": FloatDistribution(1e-4, 1e-2, log=True),
        "b": IntDistribution(4, 16),
        "c": CategoricalDistribution(["x", 8, 0.5, True, None]),
        "d": FloatDistribution(0.1, 1.0),
    }


@pytest.mark.parametrize(
    "text", ["", "loss", "loss=", "=a,b", "a=2..1", "a=log:0..1", "a=x..y", "a=1..2..3", "a=1..inf"]
)
def test_what_is_no_space_is_refused(text):
    with pytest.raises(ConfigError, match="nothing to search over"):
        parse_space([text])
    with pytest.raises(ConfigError, match="Name a parameter"):
        parse_space([])


def test_proposals_lie_in_the_space_are_short_and_new():
    space = parse_space([*SPACE, "train.batch=4..16"])
    found = propose(space, [], 12, seed=3)
    assert len({json.dumps(values) for values in found}) == 12
    for values in found:
        rate = values["train.learning_rate"]
        assert 1e-4 <= rate <= 1e-1
        assert rate == float(f"{rate:.4g}")
        assert isinstance(values["train.batch"], int)
    assert found == propose(space, [], 12, seed=3)
    assert found != propose(space, [], 12, seed=4)


def test_a_small_space_is_exhausted():
    bench = Bench()
    found = searched(bench, 9, space=["loss=dice,bce", "train.learning_rate=0.001,0.01"])
    assert len(found) == 4
    assert found[0].values == {"loss": "dice", "train.learning_rate": 0.001}


def test_a_search_finds_the_better_values_and_returns_them_first():
    found = searched(Bench(), 24)
    assert [trial.score for trial in found] == sorted((t.score for t in found), reverse=True)
    assert found[0].values["loss"] == "dice"
    assert 7e-4 < found[0].values["train.learning_rate"] < 6e-3
    later = [skill(t.values) for t in found if int(t.name.split("-")[1]) > 12]
    first = [skill(t.values) for t in found if int(t.name.split("-")[1]) <= 12]
    assert sum(later) > sum(first)


def test_a_study_goes_on_where_it_was_without_repeating_itself():
    bench = Bench()
    searched(bench, 4)
    again = Bench(bench.done)
    found = searched(again, 7)
    assert again.batches == [["s-5", "s-6"], ["s-7"]]
    assert len({json.dumps(trial.values) for trial in found}) == 7
    untouched = Bench(again.done)
    assert len(searched(untouched, 7)) == 7
    assert untouched.batches == []


def test_trials_of_another_space_stay_but_do_not_count_as_knowledge():
    old = [Trial("s-1", {"train.learning_rate": 0.5, "loss": "dice"}, 0.9)]
    old += [Trial("s-2", {"train.learning_rate": 0.01, "loss": "jaccard"}, 0.9)]
    found = searched(Bench(old), 4)
    assert {trial.name for trial in found} == {"s-1", "s-2", "s-3", "s-4"}


def test_a_failed_experiment_is_passed_over_and_only_failures_end_the_search():
    bench = Bench(lost={"s-2"})
    assert {trial.name for trial in searched(bench, 3)} == {"s-1", "s-3", "s-4"}
    with pytest.raises(RunError, match=r"none of s-1, s-2 has a score.*dvc queue logs s-1"):
        searched(Bench(lost={"s-1", "s-2"}), 3)


@pytest.fixture
def studied(repository, tmp_path):
    """A repository with three experiments of one study, one without a score, and another's."""
    root = shutil.copytree(repository, tmp_path / "studied", symlinks=True)
    head = run(root, "git", "rev-parse", "HEAD").strip()
    for name, rate, iou in (
        ("s-1", 0.1, 0.3),
        ("s-10", 0.2, 0.5),
        ("s-2", 0.3, None),
        ("t-1", 1, 1),
    ):
        (root / "params.yaml").write_text(yaml.safe_dump({"train": {"learning_rate": rate}}))
        metrics = root / METRICS
        metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics.write_text(json.dumps({"val": {"iou": iou}}))
        run(root, "git", "add", "-A")
        run(root, "git", "commit", "-q", "-m", name)
        run(root, "git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", "HEAD")
        run(root, "git", "reset", "-q", "--hard", head)
    return root


def test_a_study_is_read_from_its_experiments(studied):
    laboratory = Experiments(studied, "s", ["train.learning_rate"], "iou", 1)
    assert laboratory.finished() == [
        Trial("s-1", {"train.learning_rate": 0.1}, 0.3),
        Trial("s-10", {"train.learning_rate": 0.2}, 0.5),
    ]
    unknown = Experiments(studied, "s", ["train.rate"], "iou", 1)
    with pytest.raises(ConfigError, match=r"unknown parameter 'train\.rate'"):
        unknown.finished()
    with pytest.raises(ConfigError, match="unknown metric"):
        Experiments(studied, "s", [], "beauty", 1)


def test_proposals_become_queued_experiments(tmp_path, monkeypatch):
    seen = []

    def record(command, **options):
        assert options["cwd"] == tmp_path
        seen.append(command[2:])
        return subprocess.CompletedProcess(command, int("s-2" in command))

    monkeypatch.setattr(subprocess, "run", record)
    laboratory = Experiments(tmp_path, "s", ["loss"], "iou", 3)
    laboratory.run({"s-1": {"loss": "tversky:alpha=.7,beta=.3", "train.learning_rate": 1e-05}})
    assert seen == [
        [
            *("dvc", "exp", "run", "--queue", "--name", "s-1"),
            *("-S", 'loss="tversky:alpha=.7,beta=.3"', "-S", "train.learning_rate=1e-05"),
        ],
        ["dvc", "exp", "run", "--run-all", "--jobs", "3"],
    ]
    with pytest.raises(RunError, match="dvc exp run --queue failed"):
        laboratory.run({"s-2": {"loss": None}})
    assert seen[-1][-1] == "loss=null"
