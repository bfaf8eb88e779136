"""Real imagery: two kinds of labels agree, and classes are where their polygons are."""

from contextlib import suppress

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize
from scenes import OPTIONS

from gim_cv.catalog import Pair
from gim_cv.errors import DataError
from gim_cv.ground import GroundSplit
from gim_cv.pairs import open_scene, stream_pair
from gim_cv.patches import IGNORE, Window

TRAIN = GroundSplit("blocks", 200.0, (1.0, 0.0), 1, 0.0, 0, 0)
CHOSEN = OPTIONS | {"split": TRAIN, "all_touched": False}


@pytest.fixture
def raw(shared_data, tmp_path):
    """A raw folder whose one source holds all real imagery."""
    (tmp_path / "real").symlink_to(shared_data)
    return tmp_path


def class_ids(raw, image, labels):
    pair = Pair(name="p", source="real", image=image, labels=labels)
    scene = open_scene(pair, raw, **CHOSEN)
    grid = scene.image.grid
    return scene.read(Window(0, 0, grid.height, grid.width))[1]


def agreement(couples):
    """Share of equal pixels among those that both label, and how many those are."""
    known = same = 0
    for one, other in couples:
        both = (one != IGNORE) & (other != IGNORE)
        known += both.sum()
        same += (one == other)[both].sum()
    return same / known, known


def test_kampala_by_polygons_and_by_chips_agree(raw):
    """On each chip's own grid (degrees), and where the chips lie on the mosaic's (Mercator)."""
    polygons = "hot_kampala/buildings.geojson"
    chips = sorted((raw / "real" / "hot_kampala_chips" / "images").glob("*.tif"))
    masks = [f"hot_kampala_chips/masks/{path.stem}.mask.tif" for path in chips]
    images = [f"hot_kampala_chips/images/{path.name}" for path in chips]
    on_chips = [
        (class_ids(raw, image, mask), class_ids(raw, image, polygons))
        for image, mask in zip(images, masks, strict=True)
    ]
    mosaic = "hot_kampala/images/kampala_2.tif"
    whole, on_mosaic = class_ids(raw, mosaic, polygons), []
    for mask in masks:
        with suppress(DataError):  # a chip of elsewhere
            on_mosaic.append((whole, class_ids(raw, mosaic, mask)))
    for couples, least in ((on_chips, 1_800_000), (on_mosaic, 250_000)):
        share, known = agreement(couples)
        assert share > 0.999
        assert known > least


@pytest.mark.parametrize("part", [1, 2])
def test_baker_lake_by_attribute(raw, part):
    """Five values, one of which is unknown; a raster a little larger than a patch."""
    folder = raw / "real" / "nb_bakerlake_multiclass"
    image = f"23322E759967N_clipped_{part}of2.tif"
    pair = Pair(
        name="p",
        source="real",
        image=f"{folder.name}/{image}",
        labels=f"{folder.name}/BakerLake_2017_clipped.gpkg",
        class_attribute="Quatreclasses",
        classes={"1": 1, "2": 2, "3": 3, "4": 4},
        ignore_values=[255],
        class_names=["other", "vegetation", "water", "road", "building"],
    )
    table = geopandas.read_file(folder / "BakerLake_2017_clipped.gpkg")
    shapes = zip(table.geometry, table["Quatreclasses"].astype(int), strict=True)
    with rasterio.open(folder / image) as source:
        pixels = np.moveaxis(source.read(), 0, -1)
        truth = rasterize(shapes, source.shape, transform=source.transform)
    patches = list(stream_pair(pair, raw, **CHOSEN | {"patch_px": 256}))
    assert sum(block.sizes["patch"] for block in patches) == 4
    seen = set()
    for block in patches:
        for k in range(block.sizes["patch"]):
            place = np.s_[int(block.row0[k]) :, int(block.col0[k]) :]
            known = truth[place][:256, :256]
            found = block.mask.values[k, ..., 0]
            assert np.array_equal(block.image.values[k], pixels[place][:256, :256])
            assert (found == known).mean() > 0.999
            seen |= set(np.unique(found).tolist())
    assert seen >= {1, 2, 3, 4}
