"""A recipe tells functions apart by what they do, the same in every process."""

import re
import subprocess
import sys
from enum import Enum
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.preprocessing import FunctionTransformer

from gim_cv.errors import ConfigError
from gim_cv.functions import function_name, value_name
from gim_cv.pipelines import Float32er

LEVEL = 10


class Kind(Enum):
    """Two values."""

    DARK = 1
    LIGHT = 2


class Darker:
    """A prune function with a state."""

    def __init__(self, level):
        self.level = level

    def __call__(self, image, mask):
        return image.mean() < self.level


class Slower(Darker):
    """It does the same, but one of its methods is another."""

    def __call__(self, image, mask):
        return image.astype(float).mean() < self.level


def darker(image, mask, level=0):
    return image.mean() < level


def darker_than_all(image, mask):
    return mean(image) < LEVEL


def mean(image):
    return image.mean()


def keeping(value):
    return lambda image, mask: image.mean() == value


@cache
def cached(image, mask):
    return False


DIFFERENT = [
    darker,
    partial(darker, level=0),
    partial(darker, level=90),
    partial(darker, level=90.0),
    partial(partial(darker, level=90), mask=None),
    lambda image, mask: image.mean() < 1,
    lambda image, mask: image.mean() < 2,
    lambda image, mask: image.mean() > 2,
    lambda image, mask: image.max() > 2,
    lambda image, mask: image.max() in {"a", "b", "c"},
    darker_than_all,
    Darker(1),
    Darker(2),
    Slower(1),
    Darker(1).__call__,
    cached,
    Darker,
    *map(
        keeping,
        [1, True, "1", None, (1, 2), [1, 2], {1: 2}, {1, 2}, b"1", 1j, ..., slice(1, 2), range(2),
         np.uint8(1), np.arange(3), np.arange(3.0), np.arange(4), Path("a"), re.compile("a+"),
         re.compile("b+"), Kind.DARK, Kind.LIGHT, np.mean, np.add, len, darker, Kind, re],
    ),
]  # fmt: skip


def test_functions_that_do_otherwise_have_other_names():
    names = [function_name(function) for function in DIFFERENT]
    assert len(set(names)) == len(names)
    assert names == [function_name(function) for function in DIFFERENT]
    assert all(re.fullmatch(r"\S+, Python 3\.\d+ code [0-9a-f]{16}", name) for name in names)
    assert names[0].startswith(f"{__name__}.darker, ")


def test_the_same_in_another_process_at_another_place(tmp_path):
    names = [function_name(function) for function in DIFFERENT]
    text = Path(__file__).read_text()
    (tmp_path / f"{__name__}.py").write_text(text.replace("\n\n\n", "\n\n# moved\n\n\n"))
    code = f"import {__name__} as m; print(*map(m.function_name, m.DIFFERENT), sep='\\n')"
    env = {"PYTHONPATH": ":".join([str(tmp_path), *sys.path]), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == names


def test_globals_that_are_used_count(monkeypatch):
    before = function_name(darker_than_all)
    monkeypatch.setitem(globals(), "LEVEL", 11)
    other = function_name(darker_than_all)
    monkeypatch.setitem(globals(), "mean", lambda image: image.max())
    assert len({before, other, function_name(darker_than_all)}) == 3


def test_what_a_library_has_counts_by_its_name():
    assert function_name(gaussian_filter) == "scipy.ndimage._filters.gaussian_filter"
    assert function_name(np.mean) == "numpy.mean"
    assert function_name(len) == "builtins.len"


def test_plain_values_are_shown_as_they_are():
    assert value_name((1, [2.5, "a"], {"b": None})) == "(1, [2.5, 'a'], {'b': None})"
    assert re.fullmatch(r"numpy\.ndarray, Python 3\.\d+ code \w{16}", value_name(np.arange(3)))


def test_what_has_no_repeatable_description_is_refused(tmp_path):
    with (tmp_path / "a").open("w") as file:
        message = r"keeping.<locals>.<lambda> has no repeatable .* depends on a _io.TextIOW"
        with pytest.raises(ConfigError, match=message):
            function_name(keeping(file))
    endless = []
    endless.append(endless)
    with pytest.raises(ConfigError, match="it contains itself"):
        function_name(keeping(endless))
    with pytest.raises(ConfigError, match=r"FunctionTransformer has no .*builtins.generator"):
        function_name(FunctionTransformer(kw_args={"a": (i for i in range(3))}))
    assert function_name(Float32er).endswith("Float32er")
