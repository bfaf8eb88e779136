"""Datasets of the catalog."""

import pytest
from trainings import IMAGES, MASKS, SPLIT

from gim_cv.errors import UnknownError
from gim_cv.preprocessing import balanced_oversample
from gim_cv.store import open_store


@pytest.fixture
def in_project(scenes, tmp_path, monkeypatch):
    """A project whose catalog has the scenes."""
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "scenes").symlink_to(scenes)
    (tmp_path / "data" / "catalog.yaml").write_text(
        "sources: {}\n"
        "pairs:\n"
        "  a: {source: scenes, image: a.tif, labels: a.geojson}\n"
        "  b: {source: scenes, image: b.tif, labels: b.geojson}\n"
        "datasets:\n"
        "  town: {pairs: [a, b], resolution_m: 0.5, aliases: [city]}\n"
        "  hamlet: {pairs: [a, a], resolution_m: 0.5}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_datasets_of_the_catalog(in_project):
    from gim_cv.datasets import get_dataset, list_datasets

    assert list_datasets() == ["hamlet", "town"]
    town = get_dataset("city")
    assert (town.tag, town.spatial_resolution) == ("town", 0.5)
    assert [path.name for path in town.image_paths] == ["a.tif", "b.tif"]
    assert [path.name for path in town.mask_paths] == ["a.geojson", "b.geojson"]
    assert [pair.name for pair in get_dataset("b").pairs] == ["b"]
    assert [pair.name for pair in get_dataset("hamlet").pairs] == ["a"]
    with pytest.raises(UnknownError, match="unknown dataset or pair 'twon'; expected one of town"):
        get_dataset("twon")


def test_a_dataset_loads_its_training_data(in_project):
    from gim_cv.datasets import get_dataset

    tds = get_dataset("town").load_training_data(
        batch_size=3,
        split=SPLIT,
        image_pipeline_factory=IMAGES,
        mask_pipeline_factory=MASKS,
        oversample_fn=balanced_oversample,
        cache_directory=in_project / "c",
    )
    assert tds.oversample_fn is balanced_oversample
    assert (tds.tags_str, len(tds.constituents)) == ("town", 2)
    tds.save_prepared_arrays()
    x, y = tds.batch_gen_train()[0]
    assert (x.shape, y.shape) == ((3, 32, 32, 3), (3, 32, 32, 1))
    assert open_store(in_project / "c").attrs["pairs"].keys() == {"a", "b"}
