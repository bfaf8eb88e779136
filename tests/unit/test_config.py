"""params.yaml: ranges are checked, and the first fault is named with its key."""

import pytest
import yaml

from gim_cv.config import load_params, project
from gim_cv.errors import ConfigError


@pytest.fixture
def change(root, tmp_path):
    """Write params.yaml with one dotted key changed."""

    def write(key, value):
        data = yaml.safe_load((root / "params.yaml").read_text())
        *parents, last = key.split(".")
        section = data
        for part in parents:
            section = section[part]
        section[last] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    return write


def test_the_projects_own_parameters_are_valid(root):
    assert load_params(root / "params.yaml").loss


@pytest.mark.parametrize("value", ["a,b", "a, b", ["a", "b"]])
def test_datasets_may_be_a_list_or_the_seeds_comma_separated_text(change, value):
    assert load_params(change("datasets", value)).datasets == ("a", "b")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("prepare.patch_px", 100, r"prepare\.patch_px: .*multiple of 16.*found 100"),
        ("prepare.overlap", 1.0, r"prepare\.overlap: .*less than 1"),
        ("prepare.overlp", 0, r"prepare\.overlp: unknown key"),
        ("split.fractions", [0.5, 0.4], "sum to 1"),
        ("split.folds", 1, "at least 2"),
        ("loss", None, "params.yaml:loss"),
    ],
)
def test_a_wrong_value_is_named(change, key, value, message):
    with pytest.raises(ConfigError, match=message):
        load_params(change(key, value))


def test_paths_follow_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GIM_CV_ROOT", str(tmp_path))
    assert project().combined == tmp_path / "data" / "combined.zarr"


def test_the_seeds_path_names_are_read_when_asked(monkeypatch, tmp_path):
    import gim_cv.config as cfg

    monkeypatch.setenv("GIM_CV_ROOT", str(tmp_path))
    assert cfg.models_path == tmp_path / "data" / "models"
    assert cfg.proc_data_path == tmp_path / "data" / "prepared"
    with pytest.raises(AttributeError, match="no_such_path"):
        cfg.no_such_path  # noqa: B018
