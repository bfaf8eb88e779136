"""The error tree: one clear sentence, also a builtin, and it survives a worker."""

import pickle

import pytest

from gim_cv import errors
from gim_cv.errors import ConfigError, DataError, GimError, MissingError, StoreError, UnknownError

LEAVES = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, GimError)]


def test_message_has_place_both_sides_and_remedy():
    err = DataError("no CRS", path="a.shp", expected="EPSG:32651", found="none", remedy="Add a.prj")
    assert str(err) == "a.shp: no CRS; expected EPSG:32651, found none. Add a.prj."


@pytest.mark.parametrize("kind", LEAVES)
def test_every_error_survives_pickling_with_its_fields(kind):
    err = pickle.loads(pickle.dumps(kind("x", path="p", expected=1, found=2, remedy="r")))
    assert type(err) is kind
    assert (err.what, err.path, err.expected, err.found, err.remedy) == ("x", "p", 1, 2, "r")


@pytest.mark.parametrize("kind", [k for k in LEAVES if k is not GimError])
def test_every_leaf_is_a_builtin_and_drawn_in_the_tree(kind):
    builtin = kind.__bases__[1]
    assert builtin.__module__ == "builtins"
    assert f"{kind.__name__:14}({builtin.__name__})" in errors.__doc__


def test_the_seeds_recipe_catches_what_loading_a_cache_raises():
    assert all(
        issubclass(k, ValueError | FileNotFoundError | KeyError)
        for k in (ConfigError, DataError, StoreError, MissingError, UnknownError)
    )


def test_unknown_names_get_the_nearest_ones():
    err = UnknownError.among("loss", "tverky", ["tversky", "dice", "focal_tversky"])
    assert "expected one of tversky" in str(err)
    assert str(err) == f"{err}"
    assert "but none is defined" in str(UnknownError.among("pair", "a", []))
