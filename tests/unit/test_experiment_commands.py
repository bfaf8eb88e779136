import json

import pytest
from reports import Page
from rundirs import evaluated_run
from typer.testing import CliRunner

from gim_cv.cli import app
from gim_cv.errors import ConfigError, DataError, MissingError
from gim_cv.search import Trial


@pytest.fixture
def models(tmp_path):
    """Three runs: two that may be equally good, and a poor one."""
    evaluated_run(tmp_path, "large", recall=0.800, parameters=9_000, seed=1)
    evaluated_run(tmp_path, "small", recall=0.799, parameters=1_000, seed=1)
    evaluated_run(tmp_path, "poor", recall=0.5, parameters=10, seed=1)
    return tmp_path


def call(*arguments):
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_select_says_which_and_why(models):
    text = call("select", "--models", models)
    assert "small is chosen" in text.replace("\n", " ")
    verdicts = dict.fromkeys(["large", "small", "poor"])
    for line in text.splitlines()[1:4]:
        verdicts[line.split()[0]] = line.split()[-1]
    assert verdicts == {"large": "tied", "small": "chosen", "poor": "worse"}


def test_too_few_blocks_make_no_run_worse(tmp_path):
    for name, recall in (("a", 0.9), ("b", 0.2)):
        evaluated_run(tmp_path, name, recall=recall, parameters=1, blocks=3)
    assert "worse" not in call("select", "--models", tmp_path).replace("worse beyond", "")


def test_select_for_machines(models):
    found = json.loads(call("select", "--models", models, "--json", "--metric", "f1"))
    assert found["chosen"]["run_dir"] == str(models / "Segmentalist_small")
    assert [row["label"] for row in found["runs"]] == ["large", "small", "poor"]
    assert [row["tied"] for row in found["runs"]] == [True, True, False]
    assert found["registered"] is None
    assert "may be chance" in found["reason"]


def test_a_query_narrows_the_choice(models):
    where = 'loss_fn != "small" and lowest_val_loss < 1'
    found = json.loads(call("select", "--models", models, "--json", "--where", where))
    assert found["chosen"]["run_dir"].endswith("large")
    with pytest.raises(MissingError, match="Widen the query"):
        call("select", "--models", models, "--where", 'loss_fn == "none"')


@pytest.mark.parametrize("where", ["los == 3", "loss_fn ==", "loss_fn > 3", "loss_fn.beauty()"])
def test_a_query_that_is_none_names_the_columns(models, where):
    with pytest.raises(ConfigError, match=r"no query over runs.*lowest_val_loss"):
        call("select", "--models", models, "--where", where)


def test_unequal_test_ground_is_refused(models):
    evaluated_run(models, "other", recall=0.9, parameters=1, digest="bbbb")
    for command in ("select", "compare"):
        with pytest.raises(DataError, match="cannot be ranked"):
            call(command, "--models", models, *(["--out", models] if command == "compare" else []))


def test_compare_writes_a_page(models, tmp_path):
    out = tmp_path / "page"
    found = json.loads(call("compare", "--models", models, "--out", out, "--json"))
    assert found["page"] == str(out / "index.html")
    assert Page((out / "index.html").read_text()).open == []
    assert "small is chosen" in call("compare", "--models", models, "--out", out).replace("\n", " ")


class Oracle:
    """Trials without DVC: a larger rate is better."""

    def __init__(self, root, study, keys, metric, jobs):
        self.done = []

    def finished(self):
        return list(self.done)

    def run(self, proposals):
        self.done += [Trial(name, v, v["rate"] / 10) for name, v in proposals.items()]


def test_search_shows_the_best_first(monkeypatch):
    monkeypatch.setattr("gim_cv.search.Experiments", Oracle)
    options = ["search", "--over", "rate=1..4", "--study", "s", "--trials", 9, "--jobs", 2]
    found = json.loads(call(*options, "--json"))
    assert [trial["values"]["rate"] for trial in found] == [4, 3, 2, 1]
    assert "0.400" in call(*options).splitlines()[1]


def test_search_without_optuna_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'gim-cv\[search\]'"):
        call("search", "--over", "rate=1..4")
