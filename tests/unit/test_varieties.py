"""Each kind of input is taken, or refused in one line that says how to mend it."""

import re

import pytest
from varieties import BAD, GOOD, outcome

HOLDS = re.compile(r"^\d+ patches, \d+ × \w+: .*ignored \d+ %$")


@pytest.mark.parametrize("name", list(GOOD))
def test_good_input_becomes_patches(name, tmp_path):
    text = outcome(GOOD[name], tmp_path)
    assert HOLDS.match(text), text


@pytest.mark.parametrize("name", list(BAD))
def test_bad_input_is_refused_in_one_line(name, tmp_path):
    text = outcome(BAD[name], tmp_path)
    assert not HOLDS.match(text), text
    assert "\n" not in text
    assert not (tmp_path / "p.zarr").exists()
