"""Cells on the ground and the split that each belongs to."""

import numpy as np
import pytest

from gim_cv.errors import ConfigError
from gim_cv.ground import METRES_PER_DEGREE, GroundSplit, cell_width, cells_of, draw, split_names

ROWS, COLS = np.mgrid[-40:40, -60:60]


def rule(**more) -> GroundSplit:
    options = {"mode": "blocks", "block_m": 100.0, "fractions": (0.7, 0.2, 0.1), "seed": 1}
    return GroundSplit(**(options | {"buffer_m": 0.0, "folds": 0, "fold": 0} | more))


def test_rows_are_strips_of_block_m():
    lat = np.array([0.0, 99.9, 100.1, -0.1, 1000.5]) / METRES_PER_DEGREE
    assert cells_of(np.zeros(5), lat, 100.0)[0].tolist() == [0, 0, 1, -1, 10]


def test_columns_are_as_wide_as_the_rows_are_high():
    row = np.array([0, int(60 * METRES_PER_DEGREE / 100)])
    metres = cell_width(row, 100.0) * METRES_PER_DEGREE * np.cos(np.radians([0, 60]))
    assert metres.tolist() == pytest.approx([100, 100], rel=1e-4)


def test_longitudes_wrap():
    lat = np.array([10.0, 10.0])
    a = cells_of(np.array([179.5, -180.0]), lat, 500.0)[1]
    b = cells_of(np.array([-180.5, 180.0]), lat, 500.0)[1]
    assert a.tolist() == b.tolist()


def test_draws_never_change():
    """A published split must stay what it was: these numbers are fixed for ever."""
    found = draw(1, np.array([0, 0, 1, -1, 4000]), np.array([0, 1, 0, -1, -7000]))
    assert found.tolist() == [
        0.23906234752269437,
        0.051562347522694375,
        0.6765623475226944,
        0.5592382815188017,
        0.3325027237394505,
    ]


def test_draws_are_uniform_and_balanced_in_squares_of_sixteen():
    u = draw(5, ROWS, COLS)
    assert u.min() >= 0
    assert u.max() < 1
    ranks = np.floor(u * 16).astype(int).reshape(20, 4, 30, 4).transpose(0, 2, 1, 3).reshape(-1, 16)
    assert (np.sort(ranks, axis=1) == np.arange(16)).all()
    assert np.histogram(u, 10, (0, 1))[0] / u.size == pytest.approx(np.full(10, 0.1), abs=0.01)


def test_another_seed_is_another_assignment():
    same = rule(seed=1).of_cells(ROWS, COLS) == rule(seed=2).of_cells(ROWS, COLS)
    assert same.mean() == pytest.approx(0.49 + 0.04 + 0.01, abs=0.03)


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.1), (0.5, 0.5), (1.0, 0.0), (0.0, 0.0, 1.0)])
def test_fractions_are_met(fractions):
    codes = rule(fractions=fractions).of_cells(ROWS, COLS)
    expected = [*fractions, 0.0][:3]
    assert np.bincount(codes.ravel(), minlength=3) / codes.size == pytest.approx(expected, abs=0.01)


def test_whole_pairs_go_by_name():
    codes = np.array([rule(mode="pairs").of_pair(f"pair_{i}") for i in range(2000)])
    assert np.bincount(codes) / 2000 == pytest.approx([0.7, 0.2, 0.1], abs=0.03)
    assert rule(mode="pairs").of_pair("kampala") == rule(mode="pairs").of_pair("kampala")


def test_folds_share_out_all_that_is_not_test():
    codes = np.stack([rule(folds=5, fold=k).of_cells(ROWS, COLS) for k in range(5)])
    plain = rule().of_cells(ROWS, COLS)
    assert ((codes == 2) == (plain == 2)).all()
    assert ((codes == 1).sum(axis=0) == (plain != 2)).all()
    assert (codes == 1).mean(axis=(1, 2)) == pytest.approx(np.full(5, 0.18), abs=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fractions": (0.7, 0.2)},
        {"fractions": (1.0,)},
        {"fractions": (1.2, -0.2)},
        {"fractions": (0.25, 0.25, 0.25, 0.25)},
        {"mode": "tiles"},
        {"block_m": 0.0},
        {"buffer_m": -1.0},
        {"folds": 1},
        {"folds": 3, "fold": 3},
        {"fold": 1},
    ],
)
def test_impossible_rules_are_refused(wrong):
    with pytest.raises(ConfigError):
        rule(**wrong)


def test_a_rule_survives_its_attributes():
    assert GroundSplit(**rule(folds=4, fold=2).attrs()) == rule(folds=4, fold=2)


def test_names_of_codes():
    assert split_names(np.array([2, 0, 0], np.int8)) == ["train", "test"]
