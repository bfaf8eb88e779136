"""Recipes as canonical text, and what tells two apart."""

import json

import numpy as np
import pytest

from gim_cv.errors import MissingError
from gim_cv.recipe import (
    canonical_json,
    read_recipe,
    recipe_difference,
    recipe_names,
    sha256_text,
    write_recipes,
)


def test_equal_values_have_equal_text():
    assert canonical_json({"b": (1, 2), "a": {"y": None, "x": True}}) == (
        '{"a":{"x":true,"y":null},"b":[1,2]}'
    )
    assert canonical_json({"a": np.float32(0.5), "b": np.arange(2)}) == '{"a":0.5,"b":[0,1]}'


def test_what_json_cannot_hold_is_text_as_in_zarr():
    text = canonical_json([float("nan"), float("inf"), -np.inf])
    assert json.loads(text) == ["NaN", "Infinity", "-Infinity"]


def test_a_digest_is_the_one_of_sha256sum():
    assert sha256_text("abc").startswith("ba7816bf8f01cfea")


@pytest.mark.parametrize(
    ("here", "stored", "message"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": (1, 2)}, {"a": [1, 2]}, None),
        ({}, {}, None),
        ({"p": {"px": 256}}, {"p": {"px": 128}}, "p.px: 256 here, 128 in the store"),
        ({"p": {"px": 1}, "a": 2}, {"p": {"px": 2}, "a": 3}, "a: 2 here, 3 in the store"),
        ({"a": 1}, {"a": 1, "b": None}, "b: absent here, null in the store"),
        ({"a": [1, 2]}, {"a": [1]}, "a[1]: 2 here, absent in the store"),
        ({"a": "x"}, {"a": {}}, 'a: "x" here, {} in the store'),
        ({"a": 1}, {}, "a: 1 here, absent in the store"),
    ],
)
def test_the_first_difference_is_named(here, stored, message):
    assert recipe_difference(here, stored) == message


def test_recipes_lie_in_a_file_each_and_those_of_before_are_gone(tmp_path):
    folder = tmp_path / "recipes"
    write_recipes({"old": {}, "a": {"seed": 1}}, folder)
    write_recipes({"b": {"pair": {"nodata": np.inf}}, "a": {"seed": 2}}, folder)
    assert recipe_names(folder) == ["a", "b"]
    assert read_recipe(folder, "a") == {"seed": 2}
    assert read_recipe(folder, "b") == {"pair": {"nodata": np.inf}}
    with pytest.raises(MissingError, match=r"old\.json.*Name the pair in data/catalog\.yaml"):
        read_recipe(folder, "old")
