"""Maps of a prediction: on the scene's own grid, nodata kept, counts and a picture."""

import numpy as np
import pytest
import rasterio
from predicting import opened
from scenes import Scene, pixel_values

from gim_cv import maps
from gim_cv.errors import DataError
from gim_cv.maps import CLASSES, PROBABILITY, write_maps
from gim_cv.pictures import PALETTE
from gim_cv.strips import Strips

TWO, THREE = ("background", "building"), ("ground", "building", "tree")


def plain(windows, _total):
    return windows


def mapped(folder, image, levels, names=TWO, level=128, step=37):
    """Write the maps of levels (rows, cols, channels) that lie in strips of `step` rows."""
    strips = Strips(folder / "strips")
    for row in range(0, len(levels), step):
        strips.add(levels[row : row + step])
    found = write_maps(folder, image, strips, names, level, tags={"made": "here"}, bar=plain)
    with rasterio.open(folder / PROBABILITY) as probability, rasterio.open(folder / CLASSES) as ids:
        return found, np.moveaxis(probability.read(), 0, -1), ids.read(1)


def random_levels(height, width, channels=1):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("level", [0, 1, 128, 255, 256])
def test_two_classes_are_cut_at_a_level(tmp_path, level):
    image, levels = opened(Scene().write_image(tmp_path)), random_levels(96, 96)
    found, probability, ids = mapped(tmp_path, image, levels, level=level)
    assert np.array_equal(probability, levels / np.float32(255))
    assert np.array_equal(ids, levels[..., 0] >= level)
    assert found.pixels.tolist() == [(ids == 0).sum(), (ids == 1).sum()]
    assert found.without == 0


def test_of_more_classes_the_likeliest_is_taken(tmp_path):
    image, levels = opened(Scene().write_image(tmp_path)), random_levels(96, 96, 3)
    found, probability, ids = mapped(tmp_path, image, levels, THREE)
    assert np.array_equal(probability, levels / np.float32(255))
    assert np.array_equal(ids, levels.argmax(-1))
    assert found.pixels.sum() == 96 * 96
    with rasterio.open(tmp_path / PROBABILITY) as raster:
        assert raster.descriptions == THREE


def test_files_say_what_they_hold(tmp_path):
    image = opened(Scene().write_image(tmp_path))
    mapped(tmp_path, image, random_levels(96, 96))
    with rasterio.open(tmp_path / PROBABILITY) as raster:
        assert raster.descriptions == ("building",)
        assert (raster.dtypes, raster.tags()["made"]) == (("float32",), "here")
        assert np.isnan(raster.nodata)
    with rasterio.open(tmp_path / CLASSES) as raster:
        assert raster.descriptions == ("class",)
        assert (raster.dtypes, raster.tags()["made"]) == (("uint8",), "here")
        assert raster.nodata == 255
        colours = raster.colormap(1)
        assert [colours[k][:3] for k in (0, 1)] == list(PALETTE[:2])
        assert colours[255][3] == 0


def test_where_there_is_no_image_there_is_no_class(tmp_path):
    image = opened(Scene(nodata=0, nodata_columns=13).write_image(tmp_path))
    found, probability, ids = mapped(tmp_path, image, random_levels(96, 96))
    assert np.isnan(probability[:, :13]).all()
    assert not np.isnan(probability[:, 13:]).any()
    assert (ids[:, :13] == 255).all()
    assert (ids[:, 13:] != 255).all()
    assert (found.without, found.pixels.sum()) == (13 * 96, 83 * 96)


def test_a_scene_without_any_image_has_maps_too(tmp_path):
    image = opened(Scene(nodata=0, nodata_columns=96).write_image(tmp_path))
    found, probability, ids = mapped(tmp_path, image, random_levels(96, 96))
    assert np.isnan(probability).all()
    assert (ids == 255).all()
    assert (found.without, found.pixels.tolist()) == (96 * 96, [0, 0])
    assert found.picture().shape == (96, 198, 4)


@pytest.mark.parametrize("metres", [0.2, 0.35, 0.9, 1.0, 1.7, 40.0, 200.0])
def test_levels_of_another_resolution_come_back_to_the_grid(tmp_path, metres):
    image = opened(Scene(height=90, width=75).write_image(tmp_path), resolution_m=metres)
    shape = image.grid.height, image.grid.width
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(float) + 0.5
    ground = rows / shape[0], cols / shape[1]
    levels = np.round(200 * (ground[0] + ground[1]) / 2).astype(np.uint8)[..., None]
    _, probability, ids = mapped(tmp_path, image, levels)
    assert ids.shape == (90, 75)
    rows, cols = (np.mgrid[:90, :75] + 0.5) * np.array([1 / 90, 1 / 75])[:, None, None]
    slope = 200 / min(shape)
    assert np.abs(probability[..., 0] * 255 - 100 * (rows + cols)).max() <= slope + 1


@pytest.mark.parametrize("block", [16, 50, 512])
@pytest.mark.parametrize("metres", [0.0, 0.35, 1.2])
def test_maps_do_not_depend_on_the_rows_written_at_once(tmp_path, monkeypatch, block, metres):
    path = Scene(nodata=0, nodata_columns=9).write_image(tmp_path)
    image = opened(path, resolution_m=metres)
    levels = random_levels(image.grid.height, image.grid.width)
    results = []
    for rows, strip_px, step in ((512, 2**16, 37), (block, 300, 5)):
        monkeypatch.setattr(maps, "BLOCK_PX", rows)
        monkeypatch.setattr(maps, "STRIP_PX", strip_px)
        (tmp_path / str(step)).mkdir()
        results.append(mapped(tmp_path / str(step), image, levels, step=step))
    assert np.array_equal(results[0][1], results[1][1], equal_nan=True)
    assert np.array_equal(results[0][2], results[1][2])
    assert np.array_equal(results[0][0].picture(), results[1][0].picture())
    assert results[0][0].pixels.tolist() == results[1][0].pixels.tolist()


@pytest.mark.parametrize(("most", "step"), [(96, 1), (95, 2), (40, 3), (1, 96)])
def test_the_picture_shows_every_nth_pixel(tmp_path, monkeypatch, most, step):
    monkeypatch.setattr(maps, "PICTURE_PX", most)
    monkeypatch.setattr(maps, "BLOCK_PX", 20)
    image = opened(Scene().write_image(tmp_path))
    found, _, ids = mapped(tmp_path, image, random_levels(96, 96))
    assert np.array_equal(np.concatenate([part[1] for part in found._rows]), ids[::step, ::step])
    shown = np.concatenate([part[0] for part in found._rows])
    assert np.array_equal(shown, pixel_values(96, 96)[::step, ::step])
    side = -(-96 // step)
    assert found.picture().shape == (side, 2 * side + 6, 4)


def test_the_picture_is_small_whatever_the_scene(tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "PICTURE_PX", 30)
    image = opened(Scene(height=200, width=20).write_image(tmp_path))
    found, _, _ = mapped(tmp_path, image, random_levels(200, 20))
    assert max(found.picture().shape[:2]) <= 30


def test_an_image_that_breaks_off_leaves_no_map(tmp_path):
    path = Scene(height=1200, width=64).write_image(tmp_path)
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size // 2)
    image = opened(path)
    with pytest.raises(DataError, match=r"image\.tif.*cannot be read"):
        mapped(tmp_path, image, random_levels(1200, 64))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["image.tif", "strips"]
