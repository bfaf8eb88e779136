"""Recipes as canonical text, and what tells two apart."""

import json

import numpy as np
import pytest

from gim_cv.recipe import canonical_json, recipe_difference, sha256_text


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
