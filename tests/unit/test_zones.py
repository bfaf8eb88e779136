"""Splits that a vector file draws: what each one sees, and what is refused."""

import geopandas
import numpy as np
import pytest
from scenes import OPTIONS, RULE, Scene, pair

from gim_cv.errors import DataError, UnknownError
from gim_cv.pairs import stream_pair
from gim_cv.patches import SPLITS, stitch

SCENE = Scene(96, 96)


def draw(folder, *areas, crs=None, column="split"):
    """Write areas.gpkg: boxes (split, row0, col0, row1, col1) in px."""
    shapes = Scene(houses=[area[1:] for area in areas]).shapes()
    frame = geopandas.GeoDataFrame(
        {column: [area[0] for area in areas]}, geometry=shapes, crs=SCENE.crs
    )
    (frame if crs is None else frame.to_crs(crs)).to_file(folder / "s" / "areas.gpkg")


def shown(folder, **more):
    """Split → (96, 96) bool: pixels that its patches show."""
    options = OPTIONS | {"min_valid": 0.01} | more
    entry = pair(split_areas="areas.gpkg")
    found = {}
    for block in stream_pair(entry, folder, split=RULE, **options):
        for k, name in enumerate(SPLITS):
            part = block.isel(patch=block["split"].to_numpy() == k)
            origins = np.stack([part["row0"], part["col0"]], axis=1).astype(np.int64)
            seen = (part["image"].to_numpy() > 0).any(axis=-1)
            both = np.zeros((96, 96), bool)
            for origin, patch in zip(origins, seen, strict=True):
                both |= stitch(patch[None], origin[None], 96, 96)
            found[name] = found.get(name, np.zeros((96, 96), bool)) | both
    return found


@pytest.mark.parametrize("crs", [None, "EPSG:4326"])
def test_each_split_sees_its_own_areas_only(tmp_path, crs):
    SCENE.write(tmp_path / "s")
    draw(
        tmp_path,
        ("train", 0, 0, 96, 50),
        ("val", 0, 50, 40, 96),
        ("train", 60, 60, 96, 96),
        crs=crs,
    )
    expected = np.zeros((3, 96, 96), bool)
    expected[0, :, :50] = expected[1, :40, 50:] = expected[0, 60:, 60:] = True
    seen = shown(tmp_path)
    for k, name in enumerate(SPLITS):
        assert not (seen[name] & ~expected[k]).any()
        # Where two splits meet, the pixel that the line may touch is in neither.
        assert (expected[k] & ~seen[name]).sum() <= (0 if k == 2 else 96 + 40)
    assert not (seen["train"] & seen["val"]).any()


def test_a_buffer_keeps_its_distance_between_areas(tmp_path):
    SCENE.write(tmp_path / "s")
    draw(tmp_path, ("train", 0, 0, 96, 48), ("test", 0, 48, 96, 96))
    rule = {"split": RULE.__class__(**(RULE.attrs() | {"buffer_m": 5.0}))}
    options = OPTIONS | {"min_valid": 0.01} | rule
    cols = {0: [], 2: []}
    for block in stream_pair(pair(split_areas="areas.gpkg"), tmp_path, **options):
        for image, col, code in zip(
            block["image"].to_numpy(),
            block["col0"].to_numpy(),
            block["split"].to_numpy(),
            strict=True,
        ):
            cols[int(code)] += (col + np.flatnonzero(image.any(axis=(0, 2)))).tolist()
    assert (min(cols[2]) - max(cols[0]) - 1) * 0.5 >= 5.0


def test_patches_begin_where_an_area_does(tmp_path):
    SCENE.write(tmp_path / "s")
    draw(tmp_path, ("train", 5, 7, 69, 71))
    (block,) = stream_pair(pair(split_areas="areas.gpkg"), tmp_path, split=RULE, **OPTIONS)
    origins = np.stack([block["row0"], block["col0"]], axis=1)
    assert origins.tolist() == [[5, 7], [5, 39], [37, 7], [37, 39]]
    assert (block["valid_fraction"] == 1).all()


def test_another_word_in_the_column_is_refused(tmp_path):
    SCENE.write(tmp_path / "s")
    draw(tmp_path, ("train", 0, 0, 96, 50), ("holdout", 0, 50, 40, 96))
    with pytest.raises(DataError, match=r"expected train, val, test, found holdout"):
        shown(tmp_path)


def test_areas_of_two_splits_must_not_overlap(tmp_path):
    SCENE.write(tmp_path / "s")
    draw(tmp_path, ("train", 0, 0, 96, 50), ("test", 0, 40, 96, 96))
    with pytest.raises(DataError, match=r"areas of train and test overlap.* found 240 m²"):
        shown(tmp_path)


def test_a_file_without_the_column_is_refused(tmp_path):
    SCENE.write(tmp_path / "s")
    draw(tmp_path, ("train", 0, 0, 96, 50), column="part")
    with pytest.raises(UnknownError, match="split"):
        shown(tmp_path)


def test_areas_beside_the_raster_leave_no_patch(tmp_path):
    SCENE.write(tmp_path / "s")
    draw(tmp_path, ("train", 0, 98, 96, 120), ("val", 98, 0, 120, 40))
    with pytest.raises(DataError, match="holds no ground of any split"):
        shown(tmp_path)


def test_a_pair_has_split_or_split_areas():
    with pytest.raises(ValueError, match="not both"):
        pair(split="train", split_areas="areas.gpkg")


def test_shapes_that_share_a_line_are_apart(tmp_path):
    SCENE.write(tmp_path / "s")
    draw(tmp_path, ("train", 0, 0, 96, 33.37), ("test", 0, 33.37, 96, 96), crs="EPSG:4326")
    seen = shown(tmp_path)
    assert seen["train"][:, 32].all()
    assert seen["test"][:, 34].all()
    assert not (seen["train"] | seen["test"])[:, 33].any()
