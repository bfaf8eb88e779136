"""Outlines of classes: shapes and areas by hand, holes, corners, files."""

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS
from rasterio.io import MemoryFile
from scenes import PLAIN

from gim_cv.polygons import LAYER, outline_classes, write_polygons

NAMES = ("background", "building", "tree")
TURNED = Affine(0.3, 0.4, 500_000.25, 0.4, -0.3, 4_000_000.125)
DEGREES = Affine(5e-6, 0.0, 15.1234567890123, 0.0, -5e-6, 47.9876543210987)
RING = [
    "1111..",
    "1..1..",
    "1..1.1",
    "1111.1",
]


def ids_of(drawn):
    return np.array([[".12".find(mark) % 256 for mark in row] for row in drawn])


def outlines(ids, transform=PLAIN, crs="EPSG:32633", names=NAMES, **options):
    """The polygons of an array of class ids whose pixels are 0.25 m²."""
    ids = np.asarray(ids, np.uint8)
    defaults = {"cell_m2": 0.25, "min_area_m2": 0.0, "fill_holes_m2": 0.0, "simplify_px": 0.0}
    shape = dict(zip(("height", "width"), ids.shape, strict=True))
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 255, **shape}
    with MemoryFile() as file:
        with file.open(**profile, crs=crs, transform=transform) as sink:
            sink.write(ids, 1)
        return outline_classes(file.name, names, **(defaults | options))


def burnt(polygons, shape, transform=PLAIN):
    """The polygons as class ids again, and how many cover each pixel."""
    ids, count = np.zeros((2, *shape), np.uint8)
    for class_id, outline in zip(polygons["class_id"], polygons.geometry, strict=True):
        where = rasterio.features.rasterize([outline], shape, transform=transform) == 1
        ids[where] = class_id
        count += where
    return ids, count


def test_shapes_and_areas_are_those_drawn():
    found = outlines(ids_of(RING))
    assert found["area_m2"].tolist() == [12 * 0.25, 2 * 0.25]
    assert found["class_id"].tolist() == [1, 1]
    assert found["class_name"].tolist() == ["building", "building"]
    ring, bar = found.geometry
    x, y = 500_000, 4_000_000
    hole = shapely.box(x + 0.5, y - 1.5, x + 1.5, y - 0.5)
    assert ring.equals(shapely.box(x, y - 2, x + 2, y) - hole)
    assert bar.equals(shapely.box(x + 2.5, y - 2, x + 3, y - 1))
    assert found.crs == CRS.from_epsg(32633)


@pytest.mark.parametrize(
    ("least", "areas"), [(0.0, [3.0, 0.5]), (0.5, [3.0, 0.5]), (0.51, [3.0]), (3.01, [])]
)
def test_small_polygons_are_left_out(least, areas):
    assert outlines(ids_of(RING), min_area_m2=least)["area_m2"].tolist() == areas


@pytest.mark.parametrize(("most", "area"), [(0.0, 3.0), (1.0, 3.0), (1.01, 4.0)])
def test_smaller_holes_are_filled(most, area):
    ring = outlines(ids_of(RING), fill_holes_m2=most).iloc[0]
    assert ring["area_m2"] == area
    assert len(ring.geometry.interiors) == (area == 3.0)


def test_a_polygon_is_measured_with_its_holes_filled():
    assert len(outlines(ids_of(RING), fill_holes_m2=2.0, min_area_m2=4.0)) == 1


def test_only_the_holes_that_are_small_are_filled():
    ids = np.ones((10, 20))
    ids[1:3, 1:3] = 0
    ids[3:9, 10:18] = 0
    (found,) = outlines(ids, fill_holes_m2=1.25).geometry
    assert [ring.length for ring in found.interiors] == [14]
    assert found.area == (200 - 48) * 0.25


def test_what_lies_in_a_filled_hole_is_covered_once():
    ids = np.ones((9, 9))
    ids[2:7, 2:7] = 0
    ids[4, 4] = 1
    kept = outlines(ids)
    assert sorted(kept["area_m2"]) == [1 * 0.25, 56 * 0.25]
    filled = outlines(ids, fill_holes_m2=10.0)
    assert filled["area_m2"].tolist() == [81 * 0.25]


def test_another_class_in_a_filled_hole_keeps_its_polygon():
    ids = np.ones((9, 9))
    ids[2:7, 2:7] = 0
    ids[3:5, 3:5] = 2
    filled = outlines(ids, fill_holes_m2=10.0)
    assert sorted(zip(filled["class_name"], filled["area_m2"], strict=True)) == [
        ("building", 81 * 0.25),
        ("tree", 1.0),
    ]


def test_pixels_that_meet_at_a_corner_are_apart():
    found = outlines(ids_of(["1..", ".1.", "..2"]))
    assert found["area_m2"].tolist() == [0.25] * 3
    assert found["class_name"].tolist() == ["building", "building", "tree"]


def test_classes_that_touch_are_apart():
    found = outlines(ids_of(["1122", "1122"]))
    assert found["class_id"].tolist() == [1, 2]
    assert found["area_m2"].tolist() == [1.0, 1.0]


def test_background_and_what_has_no_image_have_no_polygon():
    assert outlines(ids_of(["xx1", "x.1"])).geometry.area.tolist() == [0.5]
    for value in (0, 255):
        assert len(outlines(np.full((5, 5), value))) == 0


def test_what_has_no_image_is_no_hole_that_is_left_open():
    ids = np.ones((5, 5))
    ids[2, 2] = 255
    assert outlines(ids)["area_m2"].tolist() == [6.0]
    assert outlines(ids, fill_holes_m2=1.0)["area_m2"].tolist() == [6.25]


@pytest.mark.parametrize(
    ("transform", "crs"), [(PLAIN, "EPSG:31370"), (TURNED, "EPSG:32633"), (DEGREES, "EPSG:4326")]
)
def test_they_lie_where_the_pixels_do(transform, crs):
    ids = np.zeros((50, 40))
    ids[7:19, 5:31] = 1
    found = outlines(ids, transform, crs)
    corners = [transform * corner for corner in [(5, 7), (31, 7), (31, 19), (5, 19)]]
    (outline,) = found.geometry
    assert shapely.hausdorff_distance(outline, shapely.Polygon(corners)) < 1e-6 * abs(transform.e)
    assert outline.is_valid
    assert found["area_m2"].tolist() == [12 * 26 * 0.25]
    assert found.crs == CRS(crs)


def test_simplified_outlines_have_fewer_corners():
    rows, cols = np.ogrid[:80, :80]
    ids = (rows - 40) ** 2 + (cols - 40) ** 2 < 900
    exact, plain = (outlines(ids, simplify_px=px) for px in (0.0, 1.0))
    corners = [len(shapely.get_coordinates(found.geometry.to_numpy())) for found in (exact, plain)]
    assert corners[1] < corners[0] / 2
    moved = shapely.hausdorff_distance(*(found.geometry.iloc[0] for found in (exact, plain)))
    assert moved <= 1.0 * 0.5 + 1e-9
    assert plain["area_m2"].iloc[0] == round(plain.geometry.area.iloc[0], 2)
    assert plain["area_m2"].iloc[0] == pytest.approx(exact["area_m2"].iloc[0], rel=0.03)


RASTERS = st.integers(1, 12).flatmap(
    lambda width: st.lists(
        st.lists(st.sampled_from([0, 1, 1, 2, 255]), min_size=width, max_size=width),
        min_size=1,
        max_size=12,
    )
)


@settings(deadline=None)
@given(RASTERS)
def test_burnt_again_they_are_the_raster(rows):
    ids = np.array(rows)
    found = outlines(ids)
    again, count = burnt(found, ids.shape)
    assert np.array_equal(again, np.where(ids == 255, 0, ids))
    assert count.max() <= 1
    assert found.geometry.is_valid.all()
    assert found["area_m2"].sum() == pytest.approx(0.25 * np.isin(ids, (1, 2)).sum())


@settings(deadline=None)
@given(RASTERS, st.floats(0.1, 4.0), st.floats(0, 3.0))
def test_simplified_or_filled_they_are_valid_polygons(rows, simplify, fill):
    found = outlines(rows, simplify_px=simplify, fill_holes_m2=fill)
    assert found.geometry.is_valid.all()
    assert (found.geom_type == "Polygon").all()
    assert (found["area_m2"] > 0).all()


@settings(deadline=None)
@given(RASTERS, st.floats(0, 5.0))
def test_filled_no_two_of_a_class_overlap(rows, fill):
    found = outlines(rows, fill_holes_m2=fill)
    for class_id in (1, 2):
        one = found[found["class_id"] == class_id]
        _, count = burnt(one, np.shape(rows))
        assert count.max() <= 1


def test_the_same_raster_gives_the_same_bytes(tmp_path):
    ids = np.random.default_rng(0).integers(0, 3, (60, 60))
    for name in ("a.gpkg", "b.gpkg"):
        write_polygons(tmp_path / name, outlines(ids))
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gpkg", "b.gpkg"]


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:31370", "EPSG:4326", "ESRI:54009"])
def test_written_they_read_back(tmp_path, crs):
    polygons = outlines(ids_of([*RING, "2.....", "..2..."]), crs=crs)
    write_polygons(tmp_path / "a.gpkg", polygons)
    assert pyogrio.list_layers(tmp_path / "a.gpkg").tolist() == [[LAYER, "Polygon"]]
    found = gpd.read_file(tmp_path / "a.gpkg")
    assert found.crs == CRS(crs)
    assert found.columns.tolist() == ["class_id", "class_name", "area_m2", "geometry"]
    assert found["class_name"].tolist() == polygons["class_name"].tolist()
    assert found["area_m2"].tolist() == polygons["area_m2"].tolist()
    assert found.geometry.geom_equals(polygons.geometry).all()


def test_no_polygon_is_a_layer_of_none(tmp_path):
    some = outlines(ids_of(RING))
    none = outlines(np.zeros((5, 5)), simplify_px=1.0)
    for name, polygons in (("some", some), ("none", none)):
        write_polygons(tmp_path / f"{name}.gpkg", polygons)
    about = [pyogrio.read_info(tmp_path / f"{name}.gpkg", layer=LAYER) for name in ("some", "none")]
    assert [item["features"] for item in about] == [2, 0]
    for key in ("fields", "dtypes", "ogr_types", "crs", "geometry_type"):
        assert list(about[0][key]) == list(about[1][key])
    assert len(gpd.read_file(tmp_path / "none.gpkg")) == 0


def test_names_of_classes_may_be_any_text(tmp_path):
    polygons = outlines(ids_of(["1.2"]), names=("grond", "gebouw, grün", "树"))
    write_polygons(tmp_path / "a.gpkg", polygons)
    assert gpd.read_file(tmp_path / "a.gpkg")["class_name"].tolist() == ["gebouw, grün", "树"]


def test_no_setting_of_gdal_is_left_behind(tmp_path):
    write_polygons(tmp_path / "a.gpkg", outlines(ids_of(RING)))
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None
