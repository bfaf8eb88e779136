"""Inference datasets: one image, several, those of a catalog's dataset."""

import json
from functools import partial

import keras
import numpy as np
import pytest
import rasterio
from affine import Affine
from projects import write_scene
from scenes import Scene
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gim_cv.datasets import get_dataset
from gim_cv.errors import ConfigError, DataError, RunError, UnknownError
from gim_cv.inference import CompositeInferenceDataset, InferenceDataset
from gim_cv.models.segmentalist import Segmentalist
from gim_cv.preprocessing import (
    SimpleInputScaler,
    get_image_inference_pipeline,
)

FILES = {"classes.tif", "polygons.gpkg", "prediction.json", "probability.tif", "quicklook.png"}
PIPELINE = partial(get_image_inference_pipeline, inference_window_size=64)


@pytest.fixture(scope="module")
def rasters(tmp_path_factory):
    """Images of two scenes; roofs are brighter than the ground."""
    folder = tmp_path_factory.mktemp("rasters")
    for name in ("a", "b"):
        write_scene(folder, name, side=96)
    return folder


@keras.saving.register_keras_serializable("tests")
class First(keras.layers.Layer):
    """The first band, as the probability of a building."""

    def call(self, images):
        return images[..., :1]


def first_band(bands=3):
    image = keras.Input((None, None, bands))
    return keras.Model(image, First()(image))


def scheduled(part, out, **options):
    part.prepare()
    part.schedule_inference(first_band(), out, **options)
    return part


def pixels(path):
    with rasterio.open(path) as raster:
        return np.moveaxis(raster.read(), 0, -1)


def test_one_image_is_predicted_on_its_own_grid(rasters, tmp_path):
    part = scheduled(InferenceDataset(rasters / "a.tif", PIPELINE), tmp_path, threshold=0.6)
    path = part.write_mask_raster()
    assert path == tmp_path / "a" / "classes.tif"
    assert {file.name for file in path.parent.iterdir()} == FILES
    band = pixels(rasters / "a.tif")[..., 0]
    found = pixels(tmp_path / "a" / "probability.tif")[..., 0]
    np.testing.assert_allclose(found, band / 255, atol=1 / 255)
    sure = np.abs(band / 255 - 0.6) > 2 / 255
    assert ((pixels(path)[..., 0] == 1) == (band / 255 > 0.6))[sure].all()


def test_the_pipeline_says_window_bands_scale_and_resolution(rasters, tmp_path):
    pipeline = partial(PIPELINE, channels=[2], scale=510.0, resample_factor=0.5)
    part = InferenceDataset(rasters / "a.tif", pipeline)
    part.prepare()
    part.schedule_inference(first_band(1), tmp_path)
    part.write_mask_raster()
    about = json.loads((tmp_path / "a" / "prediction.json").read_text())
    assert about["recipe"]["bands"] == [[3]]
    assert about["recipe"]["options"]["window_px"] == 64
    assert about["recipe"]["grid"]["height"] == 48
    found = pixels(tmp_path / "a" / "probability.tif")[..., 0]
    band = pixels(rasters / "a.tif")[..., 2]
    assert found.shape == band.shape
    assert abs(found.mean() - band.mean() / 510) < 0.01


def test_finished_masks_stay_and_others_are_in_the_way(rasters, tmp_path):
    part = scheduled(InferenceDataset(rasters / "a.tif", PIPELINE), tmp_path)
    path = part.write_mask_raster()
    before = path.stat().st_mtime_ns
    assert part.write_mask_raster() == path
    assert path.stat().st_mtime_ns == before
    part.schedule_inference(first_band(), tmp_path, threshold=0.9)
    with pytest.raises(RunError, match=r"a prediction of something else.*threshold.*Overwrite"):
        part.write_mask_raster()
    part.write_mask_raster(overwrite=True)
    assert path.stat().st_mtime_ns > before


def test_windows_may_be_pruned(rasters, tmp_path):
    part = scheduled(
        InferenceDataset(rasters / "a.tif", PIPELINE, prune_fn=lambda image: True), tmp_path
    )
    part.write_mask_raster()
    assert not pixels(tmp_path / "a" / "probability.tif").any()


def test_steps_come_in_order(rasters, tmp_path):
    part = InferenceDataset(rasters / "a.tif", PIPELINE)
    with pytest.raises(RunError, match=r"a is not prepared.*prepare\(\)"):
        part.schedule_inference(first_band(), tmp_path)
    part.prepare()
    with pytest.raises(RunError, match=r"a is not scheduled.*schedule_inference\(\)"):
        part.write_mask_raster()


def test_what_is_asked_for_must_make_sense(rasters, tmp_path):
    with pytest.raises(ConfigError, match=r"cuts no windows"):
        InferenceDataset("a.tif", lambda: Pipeline([("scaler", SimpleInputScaler())]))
    with pytest.raises(ConfigError, match=r"step of the inference pipeline.*StandardScaler"):
        InferenceDataset("a.tif", partial(PIPELINE, prepend_steps=[("s", StandardScaler())]))
    with pytest.raises(ConfigError, match="letters, digits"):
        InferenceDataset("a.tif", PIPELINE, name="a b")
    with pytest.raises(ConfigError, match="no image; expected a raster"):
        InferenceDataset([], PIPELINE)
    for factor in (0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="resample_factor; expected a number above 0"):
            InferenceDataset("a.tif", partial(PIPELINE, resample_factor=factor))
    part = InferenceDataset(rasters / "a.tif", PIPELINE)
    part.prepare()
    with pytest.raises(UnknownError, match=r"unknown option 'overlp'; expected one of overlap"):
        part.schedule_inference(first_band(), tmp_path, overlp=0.5)
    with pytest.raises(DataError, match=r"expected 1 .*found 3"):
        part.schedule_inference(first_band(1), tmp_path)
    with pytest.raises(ConfigError, match=r"no model of images for the classes a, b, c"):
        part.schedule_inference(first_band(), tmp_path, classes=("a", "b", "c"))


def test_bands_of_an_entry_are_counted_by_the_pipeline(rasters, tmp_path):
    from gim_cv.catalog import Scene

    scene = Scene(name="turned", source="s", image="a.tif", bands=(3, 2, 1))
    (tmp_path / "s").symlink_to(rasters)
    part = InferenceDataset(scene, partial(PIPELINE, channels=[0]), raw_dir=tmp_path)
    part.prepare()
    part.schedule_inference(first_band(1), tmp_path / "out")
    assert part.write_mask_raster() == tmp_path / "out" / "turned" / "classes.tif"
    about = json.loads((tmp_path / "out" / "turned" / "prediction.json").read_text())
    assert about["recipe"]["bands"] == [[3]]


def test_bands_may_be_named_and_the_pipeline_counts_among_them(rasters, tmp_path):
    part = scheduled(InferenceDataset(rasters / "a.tif", PIPELINE, bands=["blue", 1, 2]), tmp_path)
    part.write_mask_raster()
    about = json.loads((tmp_path / "a" / "prediction.json").read_text())
    assert about["recipe"]["bands"] == [[3, 1, 2]]


def test_channels_are_among_the_bands(rasters):
    part = InferenceDataset(rasters / "a.tif", partial(PIPELINE, channels=[2]), bands=[1, 2])
    with pytest.raises(
        ConfigError, match=r"not among the bands of a; expected channels from 0 to 1"
    ):
        part.prepare()


def test_pixels_that_are_not_square_may_be_made_so(tmp_path):
    path = Scene(transform=Affine(0.4, 0, 500_000, 0, -0.6, 4_000_000)).write_image(tmp_path)
    part = InferenceDataset(path, partial(PIPELINE, resample_factor=0.5))
    part.prepare()
    part.schedule_inference(first_band(), tmp_path / "out")
    with rasterio.open(part.write_mask_raster()) as found:
        assert found.shape == (96, 96)
    about = json.loads((tmp_path / "out" / "image" / "prediction.json").read_text())
    down, across = about["recipe"]["grid"]["resolution_m"]
    assert down == pytest.approx(across, rel=1e-3)
    assert down == pytest.approx(2 * np.sqrt(0.24), rel=2e-3)


def test_one_model_sees_windows_of_several_sizes(rasters, tmp_path):
    keras.utils.set_random_seed(0)
    model = Segmentalist(initial_filters=2, residual_filters=(2, 4), layer_blocks=1)
    scenes = sum(
        InferenceDataset(
            rasters / f"{name}.tif",
            partial(get_image_inference_pipeline, inference_window_size=side),
        )
        for name, side in (("a", 64), ("b", 48))
    )
    scenes.prepare()
    scenes.schedule_inference(model, tmp_path)
    assert len(scenes.write_mask_rasters()) == 2


def test_sums_are_composites_and_change_nothing(rasters):
    a, b = (InferenceDataset(rasters / f"{name}.tif", PIPELINE, tag="t") for name in "ab")
    c = InferenceDataset(rasters / "a.tif", PIPELINE, name="c")
    both = a + b
    for composite in (both + c, a + (b + c), sum([a, b, c])):
        assert composite.constituents == [a, b, c]
        assert composite.tags == ["c", "t"]
    assert both.constituents == [a, b]
    with pytest.raises(ConfigError, match="'a' twice"):
        a + InferenceDataset(rasters / "a.tif", PIPELINE)
    with pytest.raises(ConfigError, match="found none"):
        CompositeInferenceDataset([])


def test_a_failure_is_raised_or_reported_and_the_rest_goes_on(rasters, tmp_path, caplog):
    (tmp_path / "torn.tif").write_bytes(b"II*\0 and no more")
    scenes = InferenceDataset(tmp_path / "torn.tif", PIPELINE) + InferenceDataset(
        rasters / "b.tif", PIPELINE
    )
    with pytest.raises(DataError, match=r"torn\.tif: not a raster"):
        scenes.prepare()
    scenes.prepare(skip_failures=True)
    scenes.schedule_inference(first_band(), tmp_path / "out", skip_failures=True)
    assert scenes.write_mask_rasters(skip_failures=True) == [tmp_path / "out" / "b" / "classes.tif"]
    assert list(scenes.failures) == ["torn"]
    assert "torn is not predicted" in caplog.text
    only = CompositeInferenceDataset([scenes.constituents[0]])
    with pytest.raises(DataError, match=r"torn\.tif"):
        only.prepare(skip_failures=True)


def test_a_dataset_of_the_catalog_has_its_images(rasters, tmp_path, monkeypatch):
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "s").symlink_to(rasters)
    (tmp_path / "data" / "catalog.yaml").write_text(
        "pairs:\n"
        "  a: {source: s, image: a.tif, labels: a.geojson}\n"
        "  b: {source: s, image: b.tif, labels: b.geojson}\n"
        "datasets: {town: {pairs: [a, b], resolution_m: 0.5}}\n"
    )
    monkeypatch.chdir(tmp_path)
    scenes = get_dataset("town").load_inference_data(image_pipeline_factory=PIPELINE)
    assert scenes.tags == ["town"]
    scenes.prepare()
    scenes.schedule_inference(first_band())
    found = scenes.write_mask_rasters()
    assert [path.resolve() for path in found] == [
        tmp_path / "data" / "predictions" / name / "classes.tif" for name in "ab"
    ]
