import numpy as np
from towns import combined

from gim_cv.footprints import Footprints, Ownership, ground_blocks, paste, put, windows_of


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


def test_pairs_over_one_place_share_its_ground_blocks():
    patches = combined(pairs=2)
    blocks = ground_blocks(patches)
    assert blocks[:, 0].tolist() == patches["pair"].to_numpy().tolist()
    where = [{tuple(block[1:]) for block in blocks.tolist() if block[0] == k} for k in (0, 1)]
    assert where[0] == where[1]
    # 128 px of 0.5 m in blocks of 2 × 32 px: 2 × 2 of them, or up to 3 × 3 where they are cut
    assert 4 <= len(where[0]) <= 9


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
