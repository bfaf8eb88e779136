"""A scene is seen by the model as its patches were: same pixels, bands, resolution and scale."""

import keras
import numpy as np
import pytest
import rasterio
from scenes import OPTIONS, RULE, Scene, pair

from gim_cv.lazypairs import build_pair
from gim_cv.models.segmentalist import Segmentalist
from gim_cv.prediction import Options, predict_scene
from gim_cv.predictor import Predictor

ONE = Options(
    window_px=32, overlap=0.0, batch=4, min_area_m2=0, fill_holes_m2=0, simplify_px=0
)  # each pixel has one window


@pytest.mark.parametrize("symmetries", [False, True])
def test_windows_of_a_scene_get_the_answers_of_its_patches(tmp_path, symmetries):
    keras.utils.set_random_seed(3)
    model = Segmentalist(initial_filters=4, residual_filters=(4, 8), layer_blocks=1)
    Scene(height=96, width=128, nodata=0, nodata_columns=40).write(tmp_path / "s")
    entry = pair(split="val", bands=(3, 1, 2))
    patches = build_pair(entry, tmp_path, split=RULE, **OPTIONS).compute()
    predictor = Predictor.of_model(
        model, classes=("background", "building"), scale=255.0, threshold=0.5, symmetries=symmetries
    )
    image = predictor.open_scene(entry, tmp_path, resampling="bilinear")
    predict_scene(image, predictor, tmp_path / "out", ONE, overwrite=False, progress=None)
    with rasterio.open(tmp_path / "out" / "probability.tif") as raster:
        scene = raster.read(1)
    assert patches.sizes["patch"] >= 9
    answers = predictor.predict(patches["image"].to_numpy().astype(np.float32) / 255)[..., 0]
    assert answers.std() > 0.01
    for answer, row, col in zip(answers, patches["row0"].data, patches["col0"].data, strict=True):
        here = scene[row : row + 32, col : col + 32]
        seen = ~np.isnan(here)
        np.testing.assert_allclose(here[seen], answer[seen], atol=0.5001 / 255 + 1e-5)
    assert np.isnan(scene[:, :40]).all()
    assert not np.isnan(scene[:, 40:]).any()
