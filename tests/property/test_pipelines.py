"""What goes through the transformers comes back, whatever its size, type and chunks."""

import dask.array as da
import hypothesis.extra.numpy as npst
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gim_cv.patches import PatchGrid
from gim_cv.pipelines import (
    ArrayPadder,
    DimensionAdder,
    Float32er,
    ImageResampler,
    OverlappingTiler,
    Rechunker,
    SimpleInputScaler,
    SynchronisedShuffler,
    Tiler,
    get_image_training_pipeline,
)

few = settings(max_examples=25, deadline=None)
DTYPES = st.sampled_from([np.uint8, np.int16, np.uint16, np.float32])


@st.composite
def arrays(draw, shape):
    """An array, as numpy or as dask in chunks of any size."""
    array = draw(npst.arrays(draw(DTYPES), draw(shape), fill=st.just(1)))
    chunks = draw(st.one_of(st.none(), st.tuples(*[st.integers(1, n) for n in array.shape])))
    return array, array if chunks is None else da.from_array(array, chunks=chunks)


def rasters(least=1):
    side = st.integers(least, 20)
    return arrays(st.tuples(side, side, st.integers(1, 4)))


patches = arrays(st.tuples(st.integers(1, 12), *[st.integers(1, 4)] * 3))


def comes_back(step, array, given_array):
    back = step.inverse_transform(step.fit_transform(given_array))
    assert back.dtype == array.dtype
    assert isinstance(back, type(given_array))
    np.testing.assert_array_equal(np.asarray(back), array)


@few
@given(rasters(), st.integers(0, 30), st.integers(0, 30))
def test_padding_comes_off(pair, rows, cols):
    comes_back(ArrayPadder(rows, cols, 7), *pair)


@few
@given(rasters(least=5), st.integers(1, 5), st.sampled_from([Tiler, OverlappingTiler]))
def test_tiles_make_the_raster_and_no_two_are_the_same(pair, side, tiler):
    step = tiler((side, side))
    comes_back(step, *pair)
    grid: PatchGrid = step.grid_
    assert len(np.unique(grid.origins, axis=0)) == len(grid)
    seen = np.zeros(pair[0].shape[:2], int)
    for window in grid:
        seen[window.slices] += 1
    assert seen.min() >= 1


@few
@given(patches, st.integers(0, 2**32))
def test_shuffled_patches_come_back(pair, seed):
    comes_back(SynchronisedShuffler(seed), *pair)


@few
@given(patches, st.integers(1, 5))
def test_chunks_come_back(pair, count):
    comes_back(Rechunker((count, -1, -1, -1)), *pair)


@few
@given(patches, st.sampled_from([1 / 255, 1 / 4095, 3.7, -2.0, 1e-6]))
def test_scaled_integers_come_back(pair, sf):
    array, given_array = pair
    assume(np.abs(array.astype(float)).max() < 1e37)  # else the scaled value may be no float32
    step = SimpleInputScaler(sf)
    back = np.asarray(step.inverse_transform(step.fit_transform(given_array)))
    assert back.dtype == array.dtype
    if array.dtype.kind == "f":
        np.testing.assert_allclose(back, array, rtol=1e-6, atol=1e-37)
    else:
        np.testing.assert_array_equal(back, array)


@few
@given(rasters())
def test_types_and_axes_come_back(pair):
    comes_back(Float32er(), *pair)
    comes_back(DimensionAdder(), pair[0][..., 0], pair[1][..., 0])


@few
@given(rasters(), st.floats(0.2, 3))
def test_resampling_does_not_depend_on_chunks_and_keeps_the_range(pair, sf):
    array, given_array = pair
    array = np.nan_to_num(array, posinf=0, neginf=0).clip(-1000, 1000)
    if isinstance(given_array, da.Array):
        given_array = da.from_array(array, chunks=given_array.chunks)
    else:
        given_array = array
    out = np.asarray(ImageResampler(sf).transform(given_array))
    np.testing.assert_array_equal(out, ImageResampler(sf).transform(array))
    slack = 0 if array.dtype.kind != "f" else 1e-3
    assert out.min() >= array.min() - slack
    assert out.max() <= array.max() + slack


@few
@given(rasters(), st.integers(1, 8), st.booleans(), st.integers(0, 9))
def test_the_training_pipeline_comes_back(pair, side, overlap, seed):
    pipeline = get_image_training_pipeline((side, side), overlap_tiles=overlap, seed=seed)
    out = pipeline.fit_transform(pair[1])
    np.testing.assert_array_equal(np.asarray(pipeline[-3:].inverse_transform(out)), pair[0])
