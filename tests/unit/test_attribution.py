import pytest

from gim_cv.attribution import effects


def test_data_and_model_share_the_change():
    # old weights: .5 on old ground, .75 on new; new weights: .625 and 1
    found = effects([[0.5, 0.75], [0.625, 1.0]])
    assert found == {"change": 0.5, "data": (0.25 + 0.375) / 2, "model": (0.125 + 0.25) / 2}
    assert found["data"] + found["model"] == pytest.approx(found["change"])


def test_the_same_ground_leaves_all_to_the_model():
    assert effects([[0.5, 0.5], [0.75, 0.75]]) == {"change": 0.25, "data": 0.0, "model": 0.25}


def test_a_score_that_does_not_exist_attributes_nothing():
    assert effects([[0.5, None], [0.625, 1.0]]) == {"change": None, "data": None, "model": None}
