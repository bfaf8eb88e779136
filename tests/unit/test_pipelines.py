"""The default pipelines: the same pixels as the stages'."""

import dask
import dask.array as da
import numpy as np
import pytest
from arrays import image_of, mask_of, refuse
from sklearn.pipeline import Pipeline

from gim_cv.errors import ConfigError
from gim_cv.patches import PatchGrid, cut
from gim_cv.pipelines import (
    BinariserRGB,
    get_binary_mask_training_pipeline,
    get_image_inference_pipeline,
    get_image_training_pipeline,
)

FACTORIES = (
    get_image_training_pipeline,
    get_binary_mask_training_pipeline,
    get_image_inference_pipeline,
)


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_unknown_keyword_is_an_error(factory):
    with pytest.raises(TypeError, match="window_size"):
        factory(window_size=64)


@pytest.mark.parametrize("factory", [get_image_training_pipeline, get_image_inference_pipeline])
@pytest.mark.parametrize("bands", [(), (1,), (3,), (4,), (8,)])
def test_defaults_work_on_any_number_of_bands_and_compute_nothing(factory, bands):
    trains = factory is get_image_training_pipeline
    side, count, dtype = (256, 4, np.uint8) if trains else (896, 1, np.float32)
    image = da.zeros((300, 280, *bands), dtype=np.uint8, chunks=100)
    pipeline = factory()
    assert isinstance(pipeline, Pipeline)
    with dask.config.set(scheduler=refuse):
        out = pipeline.fit_transform(image)
    assert (out.shape, out.dtype) == ((count, side, side, *(bands or (1,))), dtype)


@pytest.mark.parametrize("bands", [(), (1,)])
def test_the_mask_pipelines_defaults_work_and_compute_nothing(bands):
    with dask.config.set(scheduler=refuse):
        mask = da.zeros((300, 280, *bands), dtype=np.uint8, chunks=100)
        out = get_binary_mask_training_pipeline().fit_transform(mask)
    assert (out.shape, out.dtype) == ((4, 256, 256, 1), np.uint8)


@pytest.mark.parametrize("size", [(40, 50), (32, 32), (9, 40), (7, 8)])
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("lazy", [False, True])
def test_pipelines_give_the_pixels_that_a_patch_grid_cuts(size, overlap, lazy):
    image, mask = image_of(*size, 4), mask_of(*size)
    options = {"window_dims": (16, 16), "overlap_tiles": overlap, "seed": 5}
    grid = PatchGrid(*size, 16, 8 if overlap else 16)
    order = np.random.default_rng(5).permutation(len(grid))
    given = [da.from_array(a, chunks=13) if lazy else a for a in (image, mask)]
    X = get_image_training_pipeline(**options).fit_transform(given[0])
    y = get_binary_mask_training_pipeline(**options).fit_transform(given[1])
    np.testing.assert_array_equal(X, cut(image, grid.origins, 16, fill=0)[order])
    np.testing.assert_array_equal(y, cut(mask[..., None], grid.origins, 16, fill=255)[order])


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.6])
def test_image_and_mask_stay_together_through_resampling(factor):
    squares = np.random.default_rng(11).integers(0, 2, (12, 10))
    mask = np.kron(squares, np.ones((5, 5))).astype(np.uint8)
    image = np.repeat(200 * mask[..., None], 3, axis=2)
    options = {"window_dims": (16, 16), "resample_factor": factor, "overlap_tiles": True}
    X = get_image_training_pipeline(**options).fit_transform(da.from_array(image, chunks=17))
    y = get_binary_mask_training_pipeline(**options, mask_fraction=0.5).fit_transform(mask)
    sure = (X[..., 0].compute() < 80) | (X[..., 0].compute() > 120)
    assert X.shape[:3] == y.shape[:3]
    assert sure.mean() > 0.8
    np.testing.assert_array_equal((X[..., 0].compute() > 100)[sure], y[..., 0][sure] == 1)


def test_no_seed_keeps_the_order():
    image = image_of(32, 48, 1)
    patches = get_image_training_pipeline((16, 16), seed=None).fit_transform(image)
    np.testing.assert_array_equal(patches, cut(image, PatchGrid(32, 48, 16, 16).origins, 16))


def test_steps_in_front_are_copied_and_come_first():
    binariser = BinariserRGB((255, 0, 0))
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[3, 4] = (255, 0, 0)
    pipeline = get_binary_mask_training_pipeline((16, 16), prepend_steps=[("red", binariser)])
    patches = pipeline.fit_transform(picture)
    assert pipeline.steps[0][0] == "red"
    assert pipeline["red"] is not binariser
    assert np.argwhere(patches).tolist() == [[0, 3, 4, 0]]


def test_the_last_steps_of_a_training_pipeline_are_undone_in_one_call():
    image = image_of(21, 40, 3)
    pipeline = get_image_training_pipeline((16, 16), overlap_tiles=True)
    back = pipeline[-3:].inverse_transform(pipeline.fit_transform(image))
    np.testing.assert_array_equal(back, image)


def test_inference_gives_scaled_patches_in_order_one_to_a_chunk():
    image = image_of(20, 40, 2, np.uint16)
    pipeline = get_image_inference_pipeline(16, scale=4000.0, channels=[1])
    patches = pipeline.fit_transform(da.from_array(image, chunks=11))
    assert patches.chunks == ((1,) * 6, (16,), (16,), (1,))
    wanted = cut(image[..., 1:], PatchGrid(20, 40, 16, 16).origins, 16) / 4000
    np.testing.assert_array_equal(patches.compute(), wanted.astype(np.float32))
    back = pipeline["tiler"].inverse_transform(patches)
    np.testing.assert_array_equal(back.compute(), (image[..., 1:] / 4000).astype(np.float32))


def test_inference_refuses_what_divides_nothing():
    for options in ({"scale": 0}, {"inference_batch_size": 0}):
        with pytest.raises(ConfigError, match="divides nothing"):
            get_image_inference_pipeline(**options)


def test_a_window_that_is_no_pair_is_said_at_once():
    with pytest.raises(ConfigError, match="not a pair"):
        get_image_training_pipeline(256)
