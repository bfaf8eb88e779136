"""Augmenters: image and mask move together, seeds decide, any bands and dtype."""

import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest

from gim_cv.augment import FancyPCA, affine_aug, get_aug_datagen, light_aug, strong_aug
from gim_cv.errors import ConfigError, DataError

KINDS = [("uint8", 3), ("uint8", 1), ("uint8", 4), ("uint16", 1), ("int16", 13), ("float32", 3)]


def patch(dtype="uint8", bands=3, side=48):
    """An image whose bright part is exactly its mask."""
    rng = np.random.default_rng(5)
    mask = np.zeros((side, side, 1), np.uint8)
    mask[8:24, 10:40] = 1
    unit = 0.2 + 0.6 * mask + 0.02 * rng.random((side, side, bands))
    top = {"uint8": 255, "uint16": 4000, "int16": 4000, "float32": 1}[dtype]
    return (unit * top).astype(dtype), mask


def pca(bands=3):
    rng = np.random.default_rng(0)
    return FancyPCA(rng.integers(0, 256, (4, 8, 8, bands)).astype(np.uint8))


AUGMENTERS = {
    "strong": strong_aug(p=1.0),
    "colour": strong_aug(p=1.0, fancy_pca=pca()),
    "light": light_aug(p=1.0),
    "affine": affine_aug(p=1.0),
    "flips": get_aug_datagen(width_shift_range=0.2, height_shift_range=0.1),
}


@pytest.mark.parametrize(("dtype", "bands"), KINDS)
@pytest.mark.parametrize("name", AUGMENTERS)
def test_shape_type_and_classes_are_kept_for_any_kind_of_image(name, dtype, bands):
    image, mask = patch(dtype, bands)
    if name == "colour" and bands != 3:
        with pytest.raises(ConfigError, match="expected 3 bands"):
            AUGMENTERS[name](image, mask, 0)
        return
    for seed in range(20):
        x, y = AUGMENTERS[name](image, mask, seed)
        assert (x.shape, x.dtype, y.shape, y.dtype) == (
            image.shape, image.dtype, mask.shape, mask.dtype,
        )  # fmt: skip
        assert set(np.unique(y)) <= {0, 1, 255}
        assert np.isfinite(x.astype(float)).all()


@pytest.mark.parametrize("name", AUGMENTERS)
def test_the_image_moves_with_its_mask(name):
    image, mask = patch()
    for seed in range(40):
        x, y = AUGMENTERS[name](image, mask, seed)
        known = y[..., 0] != 255
        inside, outside = known & (y[..., 0] == 1), known & (y[..., 0] == 0)
        grey = x.mean(axis=-1)
        middle = (np.median(grey[inside]) + np.median(grey[outside])) / 2
        assert np.median(grey[inside]) > np.median(grey[outside])
        assert ((grey > middle) == inside)[known].mean() > 0.75  # noise and blur


def test_what_a_shift_opens_is_mirrored_and_ignored():
    image = np.arange(1, 17, dtype=np.uint8).reshape(4, 4, 1)
    mask = np.ones((4, 4, 1), np.uint8)
    augment = get_aug_datagen(horizontal_flip=False, vertical_flip=False, width_shift_range=0.5)
    found = {}
    for seed in range(30):
        x, y = augment(image, mask, seed)
        found[int((y[0, :, 0] == 255).sum()) * (-1 if y[0, 0, 0] != 255 else 1)] = x[0, :, 0]
    assert found[0].tolist() == [1, 2, 3, 4]
    assert found[2].tolist() == [2, 1, 1, 2]
    assert found[-1].tolist() == [2, 3, 4, 4]


def test_what_a_warp_opens_is_mirrored_and_ignored():
    """A fifth of the patches is turned by up to 45°, which opens corners."""
    image, mask = np.full((64, 64, 3), 200, np.uint8), np.ones((64, 64, 1), np.uint8)
    opened = 0
    for seed in range(100):
        x, y = strong_aug(p=1.0)._warp(image, mask, seed)
        opened += bool((y == 255).any())
        assert set(np.unique(y)) <= {1, 255}
        assert x.min() == x.max() == 200
    assert 10 < opened < 35


def test_affine_shows_the_same_ground_larger_and_smaller():
    image, mask = patch()
    sizes = [int((affine_aug(1.0)(image, mask, seed)[1] == 1).sum()) for seed in range(60)]
    assert min(sizes) < 0.75 * (mask == 1).sum()
    assert max(sizes) > 1.25 * (mask == 1).sum()


def test_operations_are_drawn_independently():
    """The eight symmetries of a square come equally often."""
    image = np.array([[60, 100], [140, 180]], np.uint8)[..., None]
    seen = Counter()
    for seed in range(400):
        x, _ = light_aug(p=1.0)(image, np.zeros((2, 2, 1), np.uint8), seed)
        seen[tuple(np.argsort(x.ravel()).tolist())] += 1
    assert len(seen) == 8
    assert all(25 < count < 80 for count in seen.values())


def test_arrays_given_are_not_changed():
    for dtype, bands in KINDS:
        image, mask = patch(dtype, bands)
        kept = image.copy(), mask.copy()
        image.flags.writeable = mask.flags.writeable = False
        for seed in range(20):
            for name in ("strong", "light", "affine", "flips"):
                AUGMENTERS[name](image, mask, seed)
        assert np.array_equal(image, kept[0])
        assert np.array_equal(mask, kept[1])


def test_rectangles_keep_their_shape():
    image, mask = np.ones((16, 24, 3), np.uint8), np.ones((16, 24, 1), np.uint8)
    for seed in range(20):
        for augment in AUGMENTERS.values():
            x, y = augment(image, mask, seed)
            assert (x.shape, y.shape) == (image.shape, mask.shape)


def test_what_needs_rgb_is_left_out_and_said_once(caplog):
    image, mask = patch("uint16", 5)
    for seed in range(3):
        strong_aug(p=1.0)(image, mask, seed)
    assert [r for r in caplog.messages if "5 bands of uint16" in r] == caplog.messages[:1]


def test_large_integers_and_64_bit_floats_are_warped_without_loss():
    for dtype in ("int32", "uint32", "float64"):
        image, mask = (np.arange(64 * 64 * 2).reshape(64, 64, 2) * 1000).astype(dtype), patch()[1]
        big = np.pad(mask, ((0, 16), (0, 16), (0, 0)))
        for seed in range(10):
            x, _ = light_aug(p=1.0)(image, big, seed)
            assert x.dtype == dtype
            assert x.max() <= image.max()


@pytest.mark.parametrize("name", AUGMENTERS)
def test_a_seed_decides_whatever_the_thread(name):
    image, mask = patch()
    augment = AUGMENTERS[name]
    alone = [augment(image, mask, seed) for seed in range(32)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: augment(image, mask, seed), range(32)))
    copy = pickle.loads(pickle.dumps(augment))
    for seed, (one, two) in enumerate(zip(alone, together, strict=True)):
        three = copy(image, mask, seed)
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(one, three, strict=True))
    assert len({x.tobytes() for x, _ in alone}) > 3


def test_probability_zero_changes_nothing():
    image, mask = patch()
    for augment in (light_aug(0.0), affine_aug(0.0), strong_aug(0.0)):
        x, y = augment(image, mask, 3)
        assert np.array_equal(x, image)
        assert np.array_equal(y, mask)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_ground_without_an_image_stays_black(dtype):
    image, mask = patch(dtype)
    image[:5], mask[:5] = 0, 255
    for seed in range(10):
        x, y = light_aug(1.0)(image, mask, seed)
        assert not x[y[..., 0] == 255].any()
        assert (y == 255).sum() == 5 * image.shape[1]


def test_colour_pca_equals_a_dense_eigendecomposition():
    rng = np.random.default_rng(1)
    mix = rng.normal(0, 1, (3, 3))
    X = np.clip(128 + 30 * rng.normal(0, 1, (10, 16, 16, 3)) @ mix, 0, 255).astype(np.uint8)
    covariance = np.cov((X.reshape(-1, 3) / 255.0).T, bias=True)
    found = FancyPCA(da.from_array(X, chunks=(3, -1, -1, -1)), alpha_std=0.3).sampler
    vectors, values = found.eig_vecs, found.eig_vals
    np.testing.assert_allclose(covariance @ vectors, vectors * values, atol=1e-4)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(covariance)[::-1], rtol=2e-3)


def test_colour_pca_shifts_along_the_axis_of_the_data():
    """Colours that vary along (1, 1, 0) only are shifted along it only."""
    ramp = np.arange(0, 200, dtype=np.uint8)
    X = np.stack([ramp, ramp, np.full_like(ramp, 7)], -1).reshape(2, 10, 10, 3)
    sampler = FancyPCA(X).sampler
    rng = np.random.default_rng(0)
    for _ in range(5):
        shift = sampler.shift(rng)
        assert shift[0] == pytest.approx(shift[1])
        assert shift[2] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_colour_pca_skips_ground_without_an_image(dtype):
    X = np.random.default_rng(2).integers(0, 200, (6, 16, 16, 3)).astype(dtype)
    X[:, 0, 0] = 0, 5, 0
    blank = X.copy()
    blank[2:4], blank[4, :8] = 0, 0
    kept = np.concatenate([X[:2].reshape(-1, 3), X[4, 8:].reshape(-1, 3), X[5].reshape(-1, 3)])
    kept = kept[kept.any(axis=-1)] / 255.0
    wanted = np.linalg.eigvalsh(np.cov(kept.T, bias=True))[::-1]
    found = FancyPCA(da.from_array(blank, chunks=(4, -1, -1, -1)), scale=255.0).sampler
    np.testing.assert_allclose(found.eig_vals, wanted, rtol=1e-5)
    with pytest.raises(DataError, match=r"no colours.*found \(6, 16, 16, 3\)"):
        FancyPCA(np.zeros_like(X))


def test_colour_pca_from_statistics_reads_no_pixel():
    covariance = np.diag([400.0, 100.0, 25.0])
    pca = FancyPCA.from_statistics({"covariance": covariance.tolist(), "scale": 10.0})
    np.testing.assert_allclose(pca.sampler.eig_vals, [4.0, 1.0, 0.25])
    np.testing.assert_allclose(pca.sampler.eig_vecs, np.eye(3))


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_colour_pca_shifts_every_pixel_alike_and_stays_in_range(bands):
    image, mask = patch(bands=bands)
    covariance = np.diag([9e3] * bands).tolist()
    pca = FancyPCA.from_statistics({"covariance": covariance, "scale": 255.0})
    x, y = pca(image, mask, 4)
    shift = x.astype(int) - image
    kept = (x > 0).all(axis=-1) & (x < 255).all(axis=-1)
    assert len(np.unique(shift[kept].reshape(-1, bands), axis=0)) == 1
    assert np.array_equal(y, mask)
    wide, _ = pca(image.astype(np.float64), mask, 4)
    assert np.array_equal(np.rint(wide).clip(0, 255), x)


def test_colour_pca_has_its_own_probability():
    image, mask = patch()
    data = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    half = FancyPCA(data, alpha_std=1.0, p=0.5)
    changed = sum(not np.array_equal(half(image, mask, seed)[0], image) for seed in range(200))
    assert 70 < changed < 130


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="p of an augmentation"):
        light_aug(1.5)
    with pytest.raises(ConfigError, match="FancyPCA"):
        FancyPCA(np.ones((1, 4, 4, 1), np.uint8), alpha_std=-1)
    with pytest.raises(ConfigError, match="width_shift_range"):
        get_aug_datagen(width_shift_range=1.0)


def test_colour_pca_asks_for_a_scale_where_none_is_known():
    with pytest.raises(ConfigError, match="no scale is known for uint16"):
        FancyPCA(np.ones((1, 4, 4, 1), np.uint16))
