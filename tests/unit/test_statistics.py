"""Statistics of labelled pixels, by hand and against numpy."""

import json

import numpy as np
import pytest

from gim_cv.errors import DataError
from gim_cv.statistics import PERCENTILES, ExactSums, FloatSums, add_patches, band_sums, summarise


def sums_of(image, mask=None):
    mask = np.zeros((*image.shape[:-1], 1), np.uint8) if mask is None else mask
    sums = band_sums(image.shape[-1], image.dtype)
    add_patches(sums, image, mask)
    return sums


def test_by_hand():
    image = np.array([[1, 2], [3, 6], [200, 9]], np.uint8).reshape(1, 1, 3, 2)
    mask = np.array([0, 1, 255], np.uint8).reshape(1, 1, 3, 1)
    found = summarise(sums_of(image, mask), [1, 1], np.uint8)
    assert found["count"] == 2
    assert found["mean"] == [2.0, 4.0]
    assert found["std"] == [1.0, 2.0]
    assert found["covariance"] == [[1.0, 2.0], [2.0, 4.0]]
    assert found["percentiles"]["50"] == [2.0, 4.0]
    assert found["class_pixels"] == [1, 1]
    assert found["scale"] == 255.0
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_small_integers_are_exact_in_any_order(dtype):
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    image = rng.integers(info.min, info.max, (6, 40, 30, 3), dtype, endpoint=True)
    mask = np.where(rng.random((6, 40, 30, 1)) < 0.3, 255, 1).astype(np.uint8)
    whole = sums_of(image, mask)
    assert isinstance(whole, ExactSums)
    parts = band_sums(3, dtype)
    for k in (3, 5, 0, 1, 4, 2):
        parts.merge(sums_of(image[k : k + 1], mask[k : k + 1]))
    assert summarise(parts, [], dtype) == summarise(whole, [], dtype)
    dense = image[mask[..., 0] != 255].astype(np.float64)
    mean, covariance = whole.moments()
    np.testing.assert_allclose(mean, dense.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(dense.T, bias=True), rtol=1e-9)
    for q in PERCENTILES:
        np.testing.assert_allclose(
            whole.percentile(q), np.percentile(dense, q, axis=0), rtol=1e-12, atol=1e-9
        )


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_other_types_agree_with_numpy(dtype):
    rng = np.random.default_rng(0)
    image = (rng.normal(1e4, 300, (5, 40, 30, 3)) - [0, 5e3, 1.2e4]).astype(dtype)
    mask = np.where(rng.random((5, 40, 30, 1)) < 0.3, 255, 1).astype(np.uint8)
    found = sums_of(image, mask)
    assert isinstance(found, FloatSums)
    dense = image[mask[..., 0] != 255].astype(np.float64)
    mean, covariance = found.moments()
    np.testing.assert_allclose(mean, dense.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(covariance, np.cov(dense.T, bias=True), rtol=1e-9, atol=1e-6)
    for q in PERCENTILES:
        wanted = np.percentile(dense, q, axis=0)
        np.testing.assert_allclose(found.percentile(q), wanted, rtol=1 / 128)


def test_a_large_offset_costs_no_digits():
    """The textbook formula Σx² − n·mean² would return noise here."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (2, 64, 64, 1))
    found = sums_of(noise + 1e9)
    assert found.moments()[1][0, 0] == pytest.approx(noise.var(), rel=1e-6)


def test_percentiles_of_values_around_zero():
    image = np.array([-2.0, -1.0, 0.0, 1.0, 2.0], np.float32).reshape(1, 1, 5, 1)
    found = [float(sums_of(image).percentile(q)[0]) for q in (0, 25, 50, 75, 100)]
    np.testing.assert_allclose(found, [-2, -1, 0, 1, 2], rtol=1 / 128, atol=1e-30)


def test_scale_brings_other_types_to_about_one():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 3000, (1, 100, 100, 2), dtype=np.uint16)
    image[..., 1] //= 3
    found = summarise(sums_of(image), [], np.uint16)
    assert found["scale"] == max(found["percentiles"]["99.9"]) == pytest.approx(2997, abs=3)
    dark = summarise(sums_of(np.zeros((1, 2, 2, 1), np.uint16)), [], np.uint16)
    assert dark["scale"] == 1.0


def test_a_pixel_that_is_not_finite_is_refused_unless_ignored():
    image = np.full((1, 2, 2, 1), np.nan, np.float32)
    image[0, 0, 0] = 3.0
    mask = np.array([0, 255, 255, 255], np.uint8).reshape(1, 2, 2, 1)
    assert sums_of(image, mask).moments()[0].tolist() == [3.0]
    with pytest.raises(DataError, match="nodata"):
        sums_of(image)
