"""What the pipelines of a training dataset say and do."""

from functools import partial

import numpy as np
import pytest
import rasterio
from sklearn.pipeline import Pipeline
from trainings import IMAGES, MASKS, SPLIT, dataset, prepared

from gim_cv.errors import ConfigError
from gim_cv.preprocessing import (
    BinariserRGB,
    Float32er,
    SimpleInputScaler,
    get_binary_mask_training_pipeline,
)
from gim_cv.training import (
    TrainingDataset,
)


def test_the_pipelines_say_how_to_cut(scenes):
    half = dataset(
        scenes, "a",
        image_pipeline_factory=partial(IMAGES, resample_factor=0.5, channels=[2, 0], seed=7),
        mask_pipeline_factory=partial(MASKS, resample_factor=0.5, mask_fraction=0.4, seed=7),
    )  # fmt: skip
    prepare = half.recipe()["prepare"]
    assert prepare["resolution_m"] == pytest.approx(1.0, rel=1e-3)
    assert prepare["mask_fraction"] == 0.4
    assert (half.pair.bands, half.cut.seed) == ((3, 1), 7)
    assert prepared(half).X.shape[1:] == (32, 32, 2)
    assert half.patches.attrs["pairs"]["a"]["height"] == 64
    assert (half + half).shuffle_seed == 7


def test_further_image_steps_are_applied_lazily_and_when_saving(scenes, tmp_path):
    def scaled():
        steps = IMAGES().steps
        return Pipeline([*steps, ("scaler", SimpleInputScaler(1 / 255)), ("f", Float32er())])

    plain = prepared(dataset(scenes, "a"))
    tds = dataset(scenes, "a", image_pipeline_factory=scaled, cache_directory=tmp_path / "c")
    tds.prepare()
    assert tds.X.dtype == np.float32
    np.testing.assert_allclose(tds.X.compute(), plain.X.compute() / 255, rtol=1e-6)
    lazy = tds.X.compute()
    tds.save_prepared_arrays()
    assert np.array_equal(tds.X.compute(), lazy)
    assert "SimpleInputScaler(sf=0.00392" in str(tds.recipe()["image_steps"])
    tds.load_prepared_arrays()


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (IMAGES, get_binary_mask_training_pipeline, r"differ in window_dims.*\(32, 32\) as for im"),
        (partial(IMAGES, overlap_tiles=True), MASKS, "differ in overlap.*OverlappingTiler as for"),
        (partial(IMAGES, resample_factor=2), MASKS, "differ in resample_factor.*found 1.0 for"),
        (partial(IMAGES, seed=1), MASKS, "differ in shuffle seed"),
        (lambda: Pipeline([("f", Float32er())]), MASKS, "cuts no patches; expected a Tiler"),
        (IMAGES, lambda: Pipeline([*MASKS().steps, ("f", Float32er())]), "of the mask pipeline"),
    ],
)  # fmt: skip
def test_pipelines_that_disagree_are_refused(scenes, images, masks, message):
    with pytest.raises(ConfigError, match=message):
        dataset(scenes, "a", image_pipeline_factory=images, mask_pipeline_factory=masks)


@pytest.mark.parametrize("colour", [(255, 0, 0), (255,)])
def test_masks_drawn_in_a_colour(scenes, tmp_path, colour):
    tds = prepared(dataset(scenes, "a"))
    with rasterio.open(scenes / "a.tif") as source:
        profile = source.profile | {"count": len(colour), "nodata": None}
    picture = np.zeros((len(colour), 128, 128), np.uint8)
    picture[:, :40, :70] = np.array(colour)[:, None, None]
    with rasterio.open(tmp_path / "mask.tif", "w", **profile) as sink:
        sink.write(picture)
    drawn = TrainingDataset(
        scenes / "a.tif",
        tmp_path / "mask.tif",
        IMAGES,
        partial(MASKS, prepend_steps=[("binary", BinariserRGB(colour))]),
        split=SPLIT,
    )
    drawn.prepare()
    assert len(drawn) == len(tds)
    seen = drawn.y.compute()
    assert set(np.unique(seen)) <= {0, 1, 255}
    assert 0.1 < (seen == 1).sum() / (seen != 255).sum() < 0.25
