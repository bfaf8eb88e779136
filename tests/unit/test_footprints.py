import numpy as np
from towns import combined

from gim_cv.footprints import (
    Footprints,
    GroundBlocks,
    Ownership,
    block_side,
    paste,
    put,
    windows_of,
)
from gim_cv.grid import PixelGrid
from gim_cv.ground import GroundSplit, cells_of


def places(*origins, px=4, pair=None):
    rows, cols = np.array(origins, np.int64).reshape(-1, 2).T
    ids = np.zeros(len(rows), np.int64) if pair is None else np.array(pair)
    return Footprints(ids, rows, cols, px)


def test_the_first_patch_owns_the_overlap_whatever_the_order():
    one = places((0, 0), (0, 2))
    assert Ownership(one)(0).all()
    assert Ownership(one)(1).tolist() == [[False, False, True, True]] * 4
    two = places((0, 2), (0, 0))
    assert Ownership(two)(1).all()
    assert Ownership(two)(0).tolist() == [[False, False, True, True]] * 4


def test_pairs_do_not_take_ground_from_each_other():
    owns = Ownership(places((0, 0), (0, 0), pair=[0, 1]))
    assert owns(0).all()
    assert owns(1).all()


def test_every_pixel_has_one_owner():
    rng = np.random.default_rng(5)
    origins = np.unique(rng.integers(0, 20, (40, 2)), axis=0)
    rng.shuffle(origins)
    ground = places(*origins)
    owned, covered = np.zeros((24, 24), int), np.zeros((24, 24), bool)
    owns = Ownership(ground)
    for index, (row, col) in enumerate(origins):
        owned[row : row + 4, col : col + 4] += owns(index)
        covered[row : row + 4, col : col + 4] = True
    assert (owned == covered).all()


def test_each_pixel_lies_in_the_cell_that_the_split_was_drawn_with():
    patches = combined(px=32, pairs=1)
    blocks, rule = GroundBlocks(patches), patches.attrs["pairs"]["town_0"]["ground"]["rule"]
    grid = PixelGrid.from_attrs(patches.attrs["pairs"]["town_0"])
    for index in range(patches.sizes["patch"]):
        found, which = blocks(index)
        assert which.shape == (32, 32)
        for row, col in ((4, 4), (4, 28), (20, 12)):
            place = [
                float(patches[name][index]) + at for name, at in (("row0", row), ("col0", col))
            ]
            cell = cells_of(*grid.lonlat(*np.array(place)[:, None]), rule["block_m"])
            assert found[which[row, col]].tolist() == [0, int(cell[0][0]), int(cell[1][0])]


def test_a_square_across_the_border_counts_for_the_cell_of_its_own_split():
    """Else slivers of other splits' cells would pass for blocks of ground."""
    patches = combined(px=32, pairs=1)
    rule = GroundSplit(
        mode="blocks", block_m=11.0, fractions=(0.5, 0.5), seed=0, buffer_m=0.0, folds=0, fold=0
    )
    patches.attrs["pairs"]["town_0"]["ground"] = {"rule": rule.attrs()}
    lon, lat = PixelGrid.from_attrs(patches.attrs["pairs"]["town_0"]).lonlat(
        patches["row0"].to_numpy() + 16.0, patches["col0"].to_numpy() + 16.0
    )
    patches["split"] = "patch", rule.of_places(lon, lat)
    blocks, cells = GroundBlocks(patches), set()
    for index, split in enumerate(patches["split"].to_numpy()):
        found, _ = blocks(index)
        assert (rule.of_cells(found[:, 1], found[:, 2]) == split).all()
        cells |= {tuple(cell) for cell in found.tolist()}
    # 64 m of town in cells of 11 m: 6 or 7 a side, all of them some patch's
    assert 30 <= len(cells) <= 49


def test_pairs_over_one_place_share_its_blocks():
    patches = combined(pairs=2)
    blocks, pair = GroundBlocks(patches), patches["pair"].to_numpy()
    where = [
        {
            tuple(cell)
            for index in np.flatnonzero(pair == k)
            for cell in blocks(index)[0][:, 1:].tolist()
        }
        for k in (0, 1)
    ]
    assert where[0] == where[1]


def test_a_pair_whose_split_was_given_has_blocks_of_two_patches():
    pair = {"ground": {"rule": None}, "resolution_m": [0.5, 0.4]}
    assert block_side(pair, 64) == 64.0
    assert block_side(pair | {"ground": {"rule": {"mode": "blocks", "block_m": 96}}}, 64) == 96.0


def test_windows_and_paste_put_patches_back_on_the_ground():
    ground = np.arange(64, dtype=np.uint8).reshape(8, 8)
    where = places((0, 0), (0, 4), (4, 0), (4, 4))
    origins = zip(where.row0, where.col0, strict=True)
    patches = np.stack([ground[r : r + 4, c : c + 4] for r, c in origins])
    ((window, members),) = windows_of(where, 0, 16)
    assert (window.height, window.width) == (8, 8)
    assert (paste(patches, members, where, window, fill=255) == ground).all()


def test_thin_patches_make_a_thin_picture_of_the_ground():
    ground = np.arange(80, dtype=np.uint8).reshape(8, 10)
    canvas = np.zeros((3, 4), np.uint8)
    for row in (0, 4):
        for col in (0, 4, 6):
            put(canvas, ground[row : row + 4, col : col + 4], row, col, step=3)
    assert canvas.tolist() == ground[::3, ::3].tolist()


def test_a_patch_beyond_the_canvas_is_cut():
    canvas = np.zeros((3, 3), np.uint8)
    put(canvas, np.ones((2, 2), np.uint8), 2, 2)
    assert canvas.sum() == canvas[2, 2] == 1


def test_windows_are_no_larger_than_asked():
    where = places(*[(0, 4 * n) for n in range(50)])
    found = windows_of(where, 0, 40)
    assert sum(len(members) for _, members in found) == 50
    assert max(window.width for window, _ in found) <= 40
    assert windows_of(where, 9, 40) == []
