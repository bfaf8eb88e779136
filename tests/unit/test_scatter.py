"""What is learnt while the stores are read survives a kill to the last bit."""

import numpy as np
import pytest

from gim_cv.scatter import Reading
from gim_cv.statistics import add_patches, band_sums, summarise


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_a_reading_is_saved_and_goes_on(tmp_path, dtype):
    rng = np.random.default_rng(1)
    images = rng.normal(90, 20, (6, 2, 5, 5, 3)).astype(dtype)
    masks = rng.choice([0, 1, 255], (6, 2, 5, 5, 1)).astype(np.uint8)

    def part(k):
        sums = band_sums(3, dtype)
        add_patches(sums, images[k], masks[k])
        return sums, {7 * k: bytes([k]) * 32}

    whole, cut = Reading(band_sums(3, dtype)), Reading(band_sums(3, dtype))
    for k in range(6):
        whole.take(part(k))
        cut.take(part(k))
        cut.save(tmp_path / "read.npz")
        cut = Reading.load(tmp_path / "read.npz", band_sums(3, dtype))
    assert cut.blocks == 6
    assert cut.digests == whole.digests == {7 * k: bytes([k]) * 32 for k in range(6)}
    assert summarise(cut.sums, [1], dtype) == summarise(whole.sums, [1], dtype)
    assert [item.name for item in tmp_path.iterdir()] == ["read.npz"]


def test_nothing_read_is_saved_too(tmp_path):
    Reading(band_sums(2, "float32")).save(tmp_path / "read.npz")
    found = Reading.load(tmp_path / "read.npz", band_sums(2, "float32"))
    assert (found.blocks, found.digests, found.sums.count) == (0, {}, 0)


def test_products_beyond_64_bits_are_kept(tmp_path):
    reading = Reading(band_sums(2, "uint16"))
    reading.sums.products[1][0] = 2**70 + 1
    reading.save(tmp_path / "read.npz")
    found = Reading.load(tmp_path / "read.npz", band_sums(2, "uint16"))
    assert found.sums.products[1][0] == 2**70 + 1
