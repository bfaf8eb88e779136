"""Every transformer keeps scikit-learn's contract, and is lazy and equal on numpy and dask."""

import inspect
import pickle

import dask
import dask.array as da
import numpy as np
import pytest
from imports import ROOT, closure, imported
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks as checks

from gim_cv import pipelines
from gim_cv.errors import DataError, GimError

RNG = np.random.default_rng(3)
IMAGE = RNG.integers(0, 256, (11, 14, 3), np.uint8)
MASK = RNG.choice(np.array([0, 1, 255], np.uint8), (11, 14, 1))
PATCHES = RNG.integers(0, 256, (7, 4, 4, 3), np.uint8)

CASES = {
    "ChannelSelector": (pipelines.ChannelSelector([2, 0]), IMAGE),
    "ChannelSelector all": (pipelines.ChannelSelector(), IMAGE),
    "DimensionAdder": (pipelines.DimensionAdder(), IMAGE[..., 0]),
    "DimensionAdder none": (pipelines.DimensionAdder(), IMAGE),
    "BinariserRGB": (pipelines.BinariserRGB(tuple(IMAGE[0, 0].tolist())), IMAGE),
    "ArrayPadder": (pipelines.ArrayPadder(13, 12, 255), IMAGE),
    "ArrayPadder none": (pipelines.ArrayPadder(11, 14), IMAGE),
    "ImageResampler": (pipelines.ImageResampler(0.6), IMAGE),
    "ImageResampler up": (pipelines.ImageResampler(1.7), IMAGE),
    "ImageResampler float": (pipelines.ImageResampler(0.6, preserve_int=False), IMAGE),
    "ImageResampler mask": (pipelines.ImageResampler(0.6, is_mask=True), MASK),
    "ImageResampler none": (pipelines.ImageResampler(), IMAGE),
    "Tiler": (pipelines.Tiler((4, 4)), IMAGE),
    "OverlappingTiler": (pipelines.OverlappingTiler((4, 4)), IMAGE),
    "SynchronisedShuffler": (pipelines.SynchronisedShuffler(5), PATCHES),
    "Rechunker": (pipelines.Rechunker((1, -1, -1, -1)), PATCHES),
    "SimpleInputScaler": (pipelines.SimpleInputScaler(), PATCHES),
    "Float32er": (pipelines.Float32er(), PATCHES),
}
NO_INVERSE = {"ChannelSelector", "BinariserRGB", "ImageResampler"}
every = pytest.mark.parametrize(("step", "array"), CASES.values(), ids=CASES)


def refuse(*_args, **_kwargs):
    pytest.fail("something was computed")


def lazily(array):
    """A dask array in chunks that suit nothing."""
    return da.from_array(array, chunks=(5, 3, 2, 2)[: array.ndim])


def test_every_transformer_is_here():
    classes = {name for name in pipelines.__all__ if inspect.isclass(getattr(pipelines, name))}
    assert {case.split()[0] for case in CASES} == classes


@every
@pytest.mark.parametrize(
    "check",
    [
        checks.check_no_attributes_set_in_init,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_estimator_cloneable,
        checks.check_estimator_repr,
        checks.check_do_not_raise_errors_in_init_or_set_params,
        checks.check_parameters_default_constructible,
    ],
)
def test_scikit_learns_own_checks(step, array, check):
    check(type(step).__name__, clone(step))


@every
def test_parameters_are_kept_as_given_and_cloned(step, array):
    before = step.get_params()
    copy = clone(step)
    assert copy is not step
    assert copy.get_params() == before
    assert copy.fit(array) is copy
    assert copy.get_params() == before
    learned = set(vars(copy)) - set(before)
    assert all(name.endswith("_") for name in learned)


@every
def test_values_of_numpy_and_dask_are_equal(step, array):
    eager = clone(step).fit_transform(array)
    lazy = clone(step).fit_transform(lazily(array))
    assert isinstance(lazy, da.Array)
    done = lazy.compute()
    assert eager.dtype == lazy.dtype == done.dtype
    assert eager.shape == lazy.shape == done.shape
    np.testing.assert_array_equal(done, eager)


@every
def test_nothing_is_computed(step, array):
    step, lazy = clone(step), lazily(array)
    with dask.config.set(scheduler=refuse):
        out = step.fit(lazy).transform(lazy)
        if hasattr(step, "inverse_transform"):
            step.inverse_transform(out)


@every
def test_the_inverse_gives_back_the_array(step, array):
    step = clone(step)
    if type(step).__name__ in NO_INVERSE:
        assert not hasattr(step, "inverse_transform")
        return
    for given in (array, lazily(array)):
        back = step.inverse_transform(step.fit_transform(given))
        assert back.dtype == array.dtype
        assert isinstance(back, type(given))
        np.testing.assert_array_equal(np.asarray(back), array)
        with pytest.raises(NotFittedError, match=type(step).__name__):
            clone(step).inverse_transform(back)


@every
def test_the_array_given_is_not_changed(step, array):
    before = array.copy()
    clone(step).fit_transform(array)
    np.testing.assert_array_equal(array, before)


@every
def test_a_fitted_transformer_travels(step, array):
    step = clone(step).fit(array)
    there = pickle.loads(pickle.dumps(step))
    np.testing.assert_array_equal(there.transform(array), step.transform(array))


@every
@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ([[1, 2], [3, 4]], "expected a numpy or dask array, found list"),
        (np.zeros(3), "another shape"),
        (da.ones((9, 9, 1))[da.ones(9) > 0], "compute_chunk_sizes"),
    ],
    ids=["list", "1-d", "unknown shape"],
)
def test_what_is_no_raster_is_refused(step, array, wrong, match):
    if match == "compute_chunk_sizes":
        wrong = wrong[..., None] if array.ndim == 4 else wrong
    with pytest.raises(DataError, match=match) as caught:
        clone(step).fit(wrong)
    assert type(step).__name__ in str(caught.value)
    with pytest.raises((GimError, NotFittedError)):
        clone(step).transform(wrong)


@every
def test_what_is_no_number_is_refused(step, array):
    with pytest.raises(DataError, match="real numbers"):
        clone(step).fit(array.astype("U3"))


def test_stateless_transformers_need_no_fit():
    for step, array in CASES.values():
        if not step.__sklearn_tags__().requires_fit:
            np.testing.assert_array_equal(
                clone(step).transform(array), clone(step).fit_transform(array)
            )
            assert not [name for name in vars(clone(step).fit(array)) if name.endswith("_")]


def test_they_load_no_learning_framework():
    files = closure(ROOT / "gim_cv" / "pipelines" / "__init__.py")
    names = {name.split(".")[0] for path in files for name in imported(path)}
    assert not names & {"keras", "tensorflow", "jax", "albumentations"}
    assert issubclass(pipelines.Tiler, BaseEstimator)
