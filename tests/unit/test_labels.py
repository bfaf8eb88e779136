"""Labels of vector files: which pixels become which class."""

import json
import pickle
import subprocess
import sys

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from pyproj import CRS
from scenes import Scene, georeference

from gim_cv.errors import DataError
from gim_cv.grid import PixelGrid
from gim_cv.labels import open_labels
from gim_cv.patches import Window
from gim_cv.shapes import Shapes, grown, on_lattice

WHOLE = Window(0, 0, 96, 96)


def grid_of(scene: Scene) -> PixelGrid:
    return PixelGrid(CRS(scene.crs), scene.transform, scene.height, scene.width)


def open_it(path, scene, **options):
    defaults = {
        "n_classes": 2,
        "layer": None,
        "where": None,
        "class_attribute": None,
        "classes": None,
        "mask_values": None,
        "ignore_values": (),
        "all_touched": False,
        "buffer_m": 0.0,
        "aoi": None,
        "labels_crs": None,
    }
    return open_labels(path, grid=grid_of(scene), **(defaults | options))


def labelled(scene, folder, **options):
    return open_it(scene.write(folder) / "labels.gpkg", scene, **options)


def write(scene, path, boxes, **columns):
    shapes = Scene(transform=scene.transform, crs=scene.crs, houses=boxes).shapes()
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=scene.crs).to_file(path)
    return path


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:3857", "EPSG:4326"])
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_a_house_is_burnt_where_it_stands(tmp_path, crs, angle):
    _, transform = georeference(crs, 15.0, 36.0, 0.5, angle)
    scene = Scene(crs=crs, transform=transform)
    labels = labelled(scene, tmp_path)
    assert np.array_equal(labels.burn(WHOLE), scene.truth())
    assert labels.report == {"features": 2, "repaired": 0, "cover_percent": pytest.approx(40, 1)}


def test_labels_in_another_crs_land_on_the_same_pixels(tmp_path):
    scene = Scene(houses=[(10.5, 10.5, 40.5, 50.5)])
    near = open_it(scene.write(tmp_path, labels_crs="EPSG:4326") / "labels.gpkg", scene)
    mask = near.burn(WHOLE)
    assert mask[11:40, 11:50].all()
    assert mask.sum() <= 31 * 41


def test_all_touched_takes_each_pixel_that_a_house_meets(tmp_path):
    scene = Scene(houses=[(10.6, 20.4, 12.4, 21.6)])
    touched = labelled(scene, tmp_path, all_touched=True).burn(WHOLE)
    assert np.argwhere(touched).min(axis=0).tolist() == [10, 20]
    assert np.argwhere(touched).max(axis=0).tolist() == [12, 21]
    assert touched.sum() == 6
    centres = labelled(scene, tmp_path / "again").burn(WHOLE)
    assert np.argwhere(centres).tolist() == [[11, 20], [11, 21]]


def test_edges_on_pixel_borders_touch_nothing_beyond(tmp_path):
    scene = Scene()
    assert np.array_equal(labelled(scene, tmp_path, all_touched=True).burn(WHOLE), scene.truth())


def test_outside_the_image_nothing_is_known(tmp_path):
    mask = labelled(Scene(), tmp_path).burn(Window(-2, 90, 10, 10))
    assert (mask[:2] == 255).all()
    assert (mask[:, 6:] == 255).all()
    assert not mask[2:, :6].any()


def test_later_features_win(tmp_path):
    scene = Scene()
    path = write(scene, tmp_path / "l.gpkg", [(0, 0, 20, 20), (10, 10, 30, 30)], kind=["a", "b"])
    options = {"class_attribute": "kind", "classes": {"a": 1, "b": 2}, "n_classes": 3}
    mask = open_it(path, scene, **options).burn(WHOLE)
    assert mask[9, 9] == 1
    assert mask[10, 10] == 2
    assert np.bincount(mask.ravel()).tolist() == [96 * 96 - 700, 300, 400]


@pytest.mark.parametrize("ids", [(10, 2), (2, 10), ("x", "y"), (None, None)])
def test_later_features_of_geojson_win_whatever_their_ids(tmp_path, ids):
    scene = Scene()
    path = write(scene, tmp_path / "l.geojson", [(0, 0, 20, 20), (10, 10, 30, 30)], kind=["a", "b"])
    text = json.loads(path.read_text())
    for feature, number in zip(text["features"], ids, strict=True):
        feature.update({} if number is None else {"id": number})
    path.write_text(json.dumps(text))
    options = {"class_attribute": "kind", "classes": {"a": 1, "b": 2}, "n_classes": 3}
    mask = open_it(path, scene, **options).burn(WHOLE)
    assert np.bincount(mask.ravel()).tolist() == [96 * 96 - 700, 300, 400]


def test_classes_of_numbers_and_ignored_values(tmp_path):
    scene = Scene()
    boxes = [(0, 0, 4, 4), (8, 8, 12, 12), (20, 20, 24, 24)]
    path = write(scene, tmp_path / "l.gpkg", boxes, code=[3.0, 7.0, 99.0])
    options = {"class_attribute": "code", "classes": {"3": 1, "7": 2}, "n_classes": 3}
    mask = open_it(path, scene, **options, ignore_values=[99]).burn(WHOLE)
    assert [mask[r, r].item() for r in (1, 9, 21, 50)] == [1, 2, 255, 0]
    with pytest.raises(DataError, match=r"found 99"):
        open_it(path, scene, **options)


def test_a_buffer_is_in_metres_on_the_ground(tmp_path):
    _, transform = georeference("EPSG:3857", 15.0, 60.0, 0.5)
    scene = Scene(crs="EPSG:3857", transform=transform, houses=[(40, 40, 50, 60)])
    wide = labelled(scene, tmp_path, buffer_m=2.0).burn(WHOLE)
    rows, cols = np.nonzero(wide)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (36, 53, 36, 63)
    narrow = labelled(scene, tmp_path / "n", buffer_m=-2.0).burn(WHOLE)
    assert narrow.sum() == 2 * 12


def test_outside_the_aoi_is_ignored(tmp_path):
    scene = Scene()
    aoi = write(scene, tmp_path / "aoi.gpkg", [(0, 0, 50, 96)])
    mask = labelled(scene, tmp_path, aoi=aoi).burn(WHOLE)
    assert np.array_equal(mask[:50], scene.truth()[:50])
    assert (mask[50:] == 255).all()


def test_broken_polygons_are_repaired_and_counted(tmp_path):
    scene = Scene()
    a, b, c, d, e, f = scene.transform[:6]
    bow = shapely.Polygon([(10, 10), (30, 30), (30, 10), (10, 30)])
    bow = shapely.affinity.affine_transform(bow, [a, b, d, e, c, f])
    geopandas.GeoDataFrame(geometry=[bow, None], crs=scene.crs).to_file(tmp_path / "l.gpkg")
    labels = open_it(tmp_path / "l.gpkg", scene)
    assert labels.report["repaired"] == 1
    assert labels.report["features"] == 1
    assert labels.burn(WHOLE).sum() == pytest.approx(200, abs=12)


def test_polygons_of_a_collection_are_burnt_as_one(tmp_path):
    scene = Scene(houses=[(0, 0, 20, 20), (10, 10, 30, 30), (50, 50, 60, 60)])
    one, two, three = scene.shapes()
    inner = shapely.GeometryCollection([shapely.MultiPolygon([three]), one.centroid])
    frame = geopandas.GeoDataFrame(
        geometry=[shapely.GeometryCollection([one, two, inner])], crs=scene.crs
    )
    frame.to_file(tmp_path / "l.geojson")
    assert np.array_equal(open_it(tmp_path / "l.geojson", scene).burn(WHOLE), scene.truth())


@pytest.mark.parametrize("kind", ["string", "object", "Int64", "float64"])
def test_a_feature_without_a_class_is_null_in_any_kind_of_column(tmp_path, kind):
    scene = Scene()
    values = pd.array([None, "1"] if kind in ("string", "object") else [None, 1], dtype=kind)
    frame = geopandas.GeoDataFrame({"code": values}, geometry=scene.shapes(), crs=scene.crs)
    frame.to_parquet(tmp_path / "l.parquet")
    options = {"class_attribute": "code", "classes": {"1": 1, "null": 2}, "n_classes": 3}
    mask = open_it(tmp_path / "l.parquet", scene, **options).burn(WHOLE)
    assert (mask[10, 10], mask[50, 60]) == (2, 1)


@pytest.mark.parametrize("key", ["layer", "where"])
def test_what_geoparquet_has_not_is_refused(tmp_path, key):
    scene = Scene()
    frame = geopandas.GeoDataFrame(geometry=scene.shapes(), crs=scene.crs)
    frame.to_parquet(tmp_path / "l.parquet")
    with pytest.raises(DataError, match=f"`{key}` does not work on GeoParquet"):
        open_it(tmp_path / "l.parquet", scene, **{key: "x"})


def test_a_file_far_larger_than_the_image_is_read_near_it(tmp_path):
    scene = Scene(houses=[(4, 6, 20, 30), (40_000, 50, 40_020, 70)])
    labels = open_it(scene.write(tmp_path) / "labels.gpkg", scene)
    assert labels.report["features"] == 1
    assert labels.report["cover_percent"] == pytest.approx(100 * 92 / 96 * 64 / 96, abs=0.2)


def test_an_empty_corner_of_the_labels_is_background(tmp_path):
    scene = Scene(houses=[(-50, -50, -40, -40), (500, 500, 510, 510)])
    assert not labelled(scene, tmp_path).burn(WHOLE).any()


def test_labels_pickle(tmp_path):
    labels = labelled(Scene(), tmp_path, all_touched=True)
    again = pickle.loads(pickle.dumps(labels))
    assert np.array_equal(again.burn(WHOLE), labels.burn(WHOLE))


def test_three_dimensions_are_flattened(tmp_path):
    scene = Scene()
    shapes = [shapely.force_3d(shape, 7.0) for shape in scene.shapes()]
    geopandas.GeoDataFrame(geometry=shapes, crs=scene.crs).to_file(tmp_path / "l.gpkg")
    assert np.array_equal(open_it(tmp_path / "l.gpkg", scene).burn(WHOLE), scene.truth())


def test_growing_knows_that_pixels_may_not_be_square():
    grid = PixelGrid(CRS(32633), Affine(0.5, 0, 500_000, 0, -1.0, 4_000_000), 50, 50)
    wide = grown(np.array([shapely.box(10, 10, 20, 20)]), 2.0, grid)
    assert wide[0].bounds == pytest.approx((6, 8, 24, 22), abs=0.01)


def test_the_lattice_moves_a_corner_by_half_a_step_at_most():
    moved = on_lattice(np.array([shapely.box(1 / 3, 0, 2 / 3, 1)]))
    assert moved[0].bounds == (341 / 1024, 0, 683 / 1024, 1)


def test_a_country_s_outline_does_not_overflow():
    far = 3e7  # 15 000 km at 0.5 m
    outline = shapely.Polygon([(-far, -far + 7), (far, 50.0), (far, far), (-far, far)])
    country = Shapes(on_lattice(np.array([outline])), np.array([1], np.uint8), all_touched=True)
    mask = country.burn(Window(0, 0, 100, 100), 0)
    assert mask.all()
    above = shapely.Polygon([(-far, 50.0), (far, 50.0), (far, far), (-far, far)])
    half = Shapes(on_lattice(np.array([above])), np.array([1], np.uint8), all_touched=False)
    assert half.burn(Window(0, 0, 100, 100), 0).sum(axis=0).tolist() == [50] * 100


def test_nothing_near_is_background():
    shapes = Shapes(np.array([shapely.box(0, 0, 4, 4)]), np.array([1], np.uint8), all_touched=True)
    assert (shapes.burn(Window(100, 100, 3, 5), 7) == 7).all()


def test_a_window_four_pixels_in_is_burnt_without_a_warning():
    shapes = Shapes(np.array([shapely.box(0, 0, 6, 6)]), np.array([1], np.uint8), all_touched=False)
    assert shapes.burn(Window(4, 4, 3, 3), 0).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


AFTER_KERAS = """
import keras, pickle, sys
from pathlib import Path
from gim_cv.vectors import read_features
known = {"layer": None, "where": None, "attribute": None, "crs": None, "reach_m": 0}
grid = pickle.loads(Path(sys.argv[2]).read_bytes())
print(len(read_features(Path(sys.argv[1]), grid, **known).geometries))
"""


def test_a_geopackage_is_read_in_a_process_that_has_keras(tmp_path, root):
    # TensorFlow brings an SQLite without spatial indices, which takes the place of GDAL's.
    scene = Scene()
    path, grid = scene.write(tmp_path) / "labels.gpkg", tmp_path / "grid"
    corner = PixelGrid(CRS(scene.crs), scene.transform, 20, 20)
    for wanted, seen in ((2, grid_of(scene)), (1, corner)):
        grid.write_bytes(pickle.dumps(seen))
        command = [sys.executable, "-c", AFTER_KERAS, str(path), str(grid)]
        done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
        assert int(done.stdout) == wanted
