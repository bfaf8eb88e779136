"""Datasets of files: names of pairs, and what files hold."""

import os
import shutil
from functools import partial

import geopandas
import pytest
import rasterio
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from trainings import IMAGES, MASKS, SPLIT, dataset

from gim_cv import contents
from gim_cv.catalog import Pair
from gim_cv.contents import label_digests, raster_digests
from gim_cv.errors import ConfigError, MissingError, StoreError
from gim_cv.training import CompositeTrainingDataset, TrainingDataset


@pytest.fixture
def sites(scenes, tmp_path):
    """Folders that each have an image a.tif and labels a.geojson, of other content."""
    for site, image in (("siteA", "a"), ("siteB", "b")):
        folder = tmp_path / site
        folder.mkdir()
        shutil.copy(scenes / f"{image}.tif", folder / "a.tif")
        shutil.copy(scenes / f"{image}.geojson", folder / "a.geojson")
    return tmp_path


def test_a_cache_is_of_the_files_it_was_made_from(sites):
    here = {"cache_directory": sites / "cache"}
    dataset(sites / "siteA", "a", **here).save_prepared_arrays()
    dataset(sites / "siteA", "a", **here).load_prepared_arrays()
    with pytest.raises(StoreError, match=r"files\.image\[0\]\.a\.tif: \"\w{64}\" here, \"\w{64}\""):
        dataset(sites / "siteB", "a", **here).load_prepared_arrays()
    (sites / "siteA").rename(sites / "moved")
    moved = dataset(sites / "moved", "a", **here)
    moved.load_prepared_arrays()
    with rasterio.open(sites / "moved/a.tif", "r+") as image:
        image.write(image.read() // 2)
    with pytest.raises(StoreError, match=r"files\.image"):
        moved.load_prepared_arrays()
    (sites / "moved/a.tif").unlink()
    with pytest.raises(MissingError):
        moved.load_prepared_arrays()


def test_a_cache_of_catalog_pairs_is_the_pipelines_and_yet_knows_its_files(sites, tmp_path):
    path, note = tmp_path / "cache", tmp_path / "cache.origins.json"
    pair = Pair(name="a", source="siteA", image="a.tif", labels="a.geojson")
    options = {"image_pipeline_factory": IMAGES, "mask_pipeline_factory": MASKS, "split": SPLIT}
    tds = TrainingDataset(pair, raw_dir=sites, cache_directory=path, **options)
    tds.save_prepared_arrays()
    assert "files" not in tds.recipe()
    assert str(sites) not in note.read_text()
    tds.load_prepared_arrays()
    shutil.copytree(path, tmp_path / "pipelines")
    shutil.copy(sites / "siteB/a.geojson", sites / "siteA/a.geojson")
    loaded = tds.patches
    with pytest.raises(StoreError, match=r"made of other files: a\.labels\.a\.geojson: .*save aga"):
        tds.load_prepared_arrays()
    assert tds.patches is loaded
    tds.cache_directory = tmp_path / "pipelines"
    tds.load_prepared_arrays()
    tds.cache_directory = path
    metadata = path / "zarr.json"
    metadata.write_text(metadata.read_text() + "\n")  # another store by now
    tds.load_prepared_arrays()
    tds.delete_prepared_arrays()
    assert not note.exists()
    with pytest.raises(ConfigError, match="a pair of the catalog has its name; expected a, found"):
        TrainingDataset(pair, raw_dir=sites, name="b", **options)


def test_labels_count_with_all_their_files(sites):
    folder = sites / "siteA"
    geopandas.read_file(folder / "a.geojson").assign(kind=1).to_file(folder / "a.shp")
    before = label_digests(folder / "a.shp")
    assert before.keys() == {"a.shp", "a.shx", "a.dbf", "a.prj", "a.cpg"}
    geopandas.read_file(folder / "a.geojson").assign(kind=2).to_file(folder / "a.shp")
    after = label_digests(folder / "a.shp")
    assert [name for name in before if before[name] != after[name]] == ["a.dbf"]
    with pytest.raises(MissingError):
        label_digests(folder / "b.shp")


def test_a_virtual_raster_counts_with_its_sources(sites):
    vrt = sites / "siteA/all.vrt"
    with rasterio.open(sites / "siteA/a.tif") as image:
        width, height, transform = image.width, image.height, image.transform
    vrt.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>EPSG:32651</SRS>'
        f"<GeoTransform>{', '.join(map(str, transform.to_gdal()))}</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert raster_digests(vrt).keys() == {"all.vrt", "a.tif"}


def test_a_file_is_read_again_only_when_it_changed(sites, monkeypatch):
    path, read = sites / "siteA/a.geojson", []
    monkeypatch.setattr(contents, "sha256_of", lambda path: read.append(path) or str(len(read)))
    first = label_digests(path)
    assert label_digests(path) == first
    os.utime(path, ns=(1, 1))
    assert label_digests(path) != first


def test_a_bar_over_a_long_file_changes_no_digest(sites, monkeypatch):
    path = sites / "siteA/a.geojson"
    plain = label_digests(path)
    contents._known_digest.cache_clear()
    monkeypatch.setattr(contents, "LONG_BYTES", 1)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(contents, "sha256_of", None)
    assert label_digests(path) == plain


def test_pairs_of_one_name_are_refused_and_can_be_named(sites):
    one, other = dataset(sites / "siteA", "a"), dataset(sites / "siteB", "a")
    both = one + other
    message = r"two training datasets are named 'a'; found .*siteA.*a\.tif and .*siteB.*name=…"
    for work in (both.prepare, both.recipe):
        with pytest.raises(ConfigError, match=message):
            work()
    both = one + dataset(sites / "siteB", "a", name="b-a")
    both.prepare()
    assert both.groups() == {"a": "a", "b-a": "b-a"}
    with pytest.raises(ConfigError, match="letters, digits, - and _, found b a"):
        dataset(sites / "siteB", "a", name="b a")


def darker(image, mask, level):
    return image.mean() < level


def scaled(image, by=2):
    return image // by


def test_functions_of_other_arguments_make_another_recipe(scenes):
    levels = [dataset(scenes, "a", prune_fn=partial(darker, level=level)) for level in (0, 90)]
    lambdas = [dataset(scenes, "a", prune_fn=lambda i, m: False), dataset(scenes, "a")]
    recipes = [str(tds.recipe()) for tds in (*levels, *lambdas)]
    assert len(set(recipes)) == 4
    both = CompositeTrainingDataset([levels[0]], prune_fn=partial(darker, level=1))
    assert str(both.recipe()).count("darker, Python") == 2


def test_a_function_in_a_step_has_no_address_in_the_recipe(scenes):
    def steps(function, **options):
        step = FunctionTransformer(function, **options)
        return dataset(
            scenes, "a", image_pipeline_factory=lambda: Pipeline([*IMAGES().steps, ("f", step)])
        ).recipe()["image_steps"][0]

    assert "test_files.scaled, Python" in steps(scaled)
    assert " at 0x" not in steps(scaled)
    assert steps(scaled) != steps(darker)
    assert steps(scaled) != steps(scaled, kw_args={"by": 3})
