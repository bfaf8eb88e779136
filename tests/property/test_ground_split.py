"""No place on the ground is in two splits, in one raster or across rasters; none is lost."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import OPTIONS, RULE, Scene, georeference, pair

from gim_cv.ground import GroundSplit, cells_of
from gim_cv.pairs import open_scene
from gim_cv.territory import _cells_near, cell_polygons

PLACES = [
    ("EPSG:32633", 15.0, 36.0),
    ("EPSG:32633", 11.9, 64.0),
    ("EPSG:3857", 39.2, -6.1),
    ("EPSG:3857", 10.0, 60.0),
    ("EPSG:4326", 32.6, 0.35),
    ("EPSG:2953", -66.5, 46.0),
]
FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def seen(scene) -> np.ndarray:
    """(3, height, width) bool: pixels that each split's patches show, none of them pruned."""
    px = scene.patches.patch_px
    height, width = scene.patches.shape
    shown = np.zeros((3, height, width), bool)
    for task in scene.tasks():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gim_cv.scene.reason_to_drop", lambda *_, **__: None)
            found = scene.cut(task)
        images, _ = found.patches(0, len(found))
        for image, (row, col, code) in zip(images, found.table.tolist(), strict=True):
            shown[code, row : row + px, col : col + px] |= image.any(axis=-1)
    return shown[:, : scene.image.grid.height, : scene.image.grid.width]


def own_pixels(grid, rule, code: int) -> np.ndarray:
    """(height, width) bool: pixels whose four corners lie in split `code`, by exact transforms."""
    rows, cols = np.mgrid[: grid.height + 1, : grid.width + 1].astype(float)
    own = rule.of_places(*grid.lonlat(rows, cols)) == code
    return own[:-1, :-1] & own[1:, :-1] & own[:-1, 1:] & own[1:, 1:]


def distance_to_others(grid, rule, code: int, pixels: np.ndarray) -> np.ndarray:
    """(n,) distance, px, from pixels (n, 2) to the nearest cell of another split."""
    rows, cols = _cells_near(grid, rule.block_m)
    others = cell_polygons(grid, rows, cols, rule.block_m)[rule.of_cells(rows, cols) != code]
    boxes = shapely.box(pixels[:, 1], pixels[:, 0], pixels[:, 1] + 1, pixels[:, 0] + 1)
    return shapely.distance(boxes, shapely.union_all(others))


@FEW
@given(
    place=st.sampled_from(PLACES),
    angle=st.sampled_from([0.0, 0.3, -1.1]),
    metres=st.floats(0.1, 0.6),
    block=st.floats(12.0, 60.0),
    seed=st.integers(0, 2**32),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    buffer_m=st.sampled_from([0.0, 1.0]),
)
def test_every_pixel_is_in_its_own_split_or_in_none(
    tmp_path_factory, place, angle, metres, block, seed, overlap, buffer_m
):
    crs, lon, lat = place
    if crs == "EPSG:4326":
        angle = 0.0
    _, transform = georeference(crs, lon, lat, metres, angle)
    rule = GroundSplit("blocks", block, (0.6, 0.2, 0.2), seed, buffer_m, 0, 0)
    folder = tmp_path_factory.mktemp("scene")
    Scene(110, 90, crs=crs, transform=transform).write(folder / "s")
    scene = open_scene(pair(), folder, **(OPTIONS | {"overlap": overlap}), split=rule)
    shown, grid = seen(scene), scene.image.grid
    assert shown.sum(axis=0).max() <= 1
    for code in range(3):
        own = own_pixels(grid, rule, code)
        assert not (shown[code] & ~own).any()
        lost = np.argwhere(own & ~shown[code])
        if buffer_m == 0 and len(lost):
            assert distance_to_others(grid, rule, code, lost).max() < 0.02


@FEW
@given(
    other=st.sampled_from(["EPSG:3857", "EPSG:4326", "EPSG:32632"]),
    metres=st.floats(0.15, 0.5),
    resolution=st.sampled_from([0.0, 0.35, 0.9]),
    seed=st.integers(0, 1000),
)
def test_two_rasters_of_one_place_agree(tmp_path_factory, other, metres, resolution, seed):
    """What one raster shows to a split, no other raster shows to another."""
    folder = tmp_path_factory.mktemp("scenes")
    rule = GroundSplit("blocks", 18.0, (0.5, 0.25, 0.25), seed, 0.0, 0, 0)
    for name, crs, size in (("a", "EPSG:32633", 0.3), ("b", other, metres)):
        _, transform = georeference(crs, 14.0, 48.0, size)
        Scene(100, 100, crs=crs, transform=transform).write(folder / name)
    one = open_scene(pair(source="a"), folder, **OPTIONS, split=rule)
    options = OPTIONS | {"resolution_m": resolution or metres}
    two = open_scene(pair(source="b"), folder, **options, split=rule)
    shown_one, shown_two = seen(one), seen(two)
    rows, cols = np.mgrid[: one.image.grid.height, : one.image.grid.width] + 0.5
    r, c = two.image.grid.pixels(*one.image.grid.lonlat(rows, cols))
    r, c = np.floor(r).astype(int), np.floor(c).astype(int)
    inside = (r >= 0) & (r < shown_two.shape[1]) & (c >= 0) & (c < shown_two.shape[2])
    there = shown_two[:, r.clip(0, shown_two.shape[1] - 1), c.clip(0, shown_two.shape[2] - 1)]
    assert inside.mean() > 0.2
    for code in range(3):
        others = np.delete(there, code, axis=0).any(axis=0) & inside
        assert not (shown_one[code] & others).any()


@given(
    lon=st.floats(-180, 180, exclude_max=True),
    lat=st.floats(-85, 85),
    seed=st.integers(0, 2**63),
    block=st.floats(5, 5000),
)
def test_a_place_has_one_split_whatever_else_there_is(lon, lat, seed, block):
    rule = GroundSplit("blocks", block, (0.6, 0.3, 0.1), seed, 0.0, 0, 0)
    alone = rule.of_places(np.array([lon]), np.array([lat]))[0]
    company = rule.of_places(np.array([1.0, lon, -77.0]), np.array([2.0, lat, 33.0]))[1]
    assert alone == company
    rows, cols = cells_of(np.array([lon]), np.array([lat]), block)
    assert rule.of_cells(rows, cols)[0] == alone


@pytest.mark.parametrize("fold", range(3))
def test_folds_move_only_validation(fold):
    lon, lat = np.meshgrid(np.linspace(10, 10.02, 90), np.linspace(50, 50.02, 90))
    plain = replace(RULE, fractions=(0.7, 0.1, 0.2)).of_places(lon, lat)
    codes = replace(RULE, fractions=(0.7, 0.1, 0.2), folds=3, fold=fold).of_places(lon, lat)
    assert ((codes == 2) == (plain == 2)).all()
