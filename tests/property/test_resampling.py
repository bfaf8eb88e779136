"""Resampling does not depend on the window, and weights are weights."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gim_cv.patches import Window
from gim_cv.resample import Axis, Resampler

FEW = settings(deadline=None, max_examples=60)
DTYPES = st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"])


@st.composite
def resamplers(draw) -> Resampler:
    axes = []
    for _ in range(2):
        source = draw(st.integers(1, 60))
        factor = draw(st.one_of(st.sampled_from([0.5, 1.0, 1.25, 2.0]), st.floats(0.2, 5)))
        axes.append(Axis(source, max(1, int(source / factor + 0.5)), factor))
    return Resampler(*axes, draw(st.sampled_from(["bilinear", "cubic"])))


def scene(resampler, dtype, seed, share_valid):
    rng = np.random.default_rng(seed)
    shape = (resampler.rows.source, resampler.cols.source)
    image = rng.uniform(0, 250, (*shape, 2)).astype(dtype)
    valid = rng.random(shape) < share_valid
    image[~valid] = 0
    mask = rng.choice(np.array([0, 1, 2, 255], np.uint8), shape)
    return image, valid, mask


def target(resampler) -> Window:
    return Window(0, 0, resampler.rows.target, resampler.cols.target)


def parts(window: Window, height: int, width: int):
    for row in range(0, window.height, height):
        for col in range(0, window.width, width):
            yield Window(row, col, height, width).clipped(window.height, window.width)


@FEW
@given(
    resamplers(),
    DTYPES,
    st.integers(0, 99),
    st.sampled_from([1.0, 0.9, 0.4]),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_any_window_is_the_same_bytes(resampler, dtype, seed, share_valid, height, width):
    image, valid, mask = scene(resampler, dtype, seed, share_valid)
    whole, good = resampler.image(image, valid, target(resampler))
    three = resampler.classes(mask, target(resampler), 3, 0.1)
    two = resampler.classes(np.where(mask == 2, 0, mask), target(resampler), 2, 0.3)
    for part in parts(target(resampler), height, width):
        source = resampler.source_window(part).slices
        some, some_good = resampler.image(image[source], valid[source], part)
        assert some.tobytes() == whole[part.slices].tobytes()
        assert np.array_equal(some_good, good[part.slices])
        again = resampler.classes(mask[source], part, 3, 0.1)
        assert np.array_equal(again, three[part.slices])
        binary = np.where(mask == 2, 0, mask)[source]
        assert np.array_equal(resampler.classes(binary, part, 2, 0.3), two[part.slices])


@FEW
@given(st.integers(1, 200), st.floats(0.1, 9), st.sampled_from(["area", "bilinear", "cubic"]))
def test_weights_sum_to_one_and_stay_inside(source, factor, method):
    axis = Axis(source, max(1, int(source / factor + 0.5)), factor)
    weights = axis.weights(0, axis.target, method)
    assert weights.shape == (axis.target, np.diff(axis.span(0, axis.target, method))[0])
    assert np.allclose(weights.sum(axis=1), 1)
    if method != "cubic":
        assert weights.min() >= 0


@FEW
@given(resamplers(), st.integers(0, 99))
def test_shrinking_keeps_values_in_range(resampler, seed):
    image, valid, _ = scene(resampler, "float64", seed, 0.8)
    out, good = resampler.image(image, valid, target(resampler))
    if good.any() and resampler.method == "bilinear":
        assert out[good].min() >= image[valid].min() - 1e-9
        assert out[good].max() <= image[valid].max() + 1e-9
    assert not out[~good].any()
