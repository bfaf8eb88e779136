"""The transformers, one at a time: numbers by hand."""

import dask.array as da
import numpy as np
import pytest
from affine import Affine
from arrays import image_of
from pyproj import CRS

from gim_cv.errors import ConfigError, DataError
from gim_cv.grid import PixelGrid
from gim_cv.patches import Window, cut
from gim_cv.pipelines import (
    ArrayPadder,
    BinariserRGB,
    ChannelSelector,
    DimensionAdder,
    Float32er,
    ImageResampler,
    OverlappingTiler,
    Rechunker,
    SimpleInputScaler,
    SynchronisedShuffler,
    Tiler,
)
from gim_cv.resample import Axis, Resampler


def test_channels_come_in_the_order_asked_for():
    pixel = np.array([[[10, 20, 30]]], np.uint8)
    assert ChannelSelector([2, 0]).transform(pixel).tolist() == [[[30, 10]]]
    assert ChannelSelector().transform(pixel) is pixel


@pytest.mark.parametrize(
    ("channels", "match"),
    [
        ([0, 3], r"channels from 0 to 2, found \[0, 3\]"),
        ([-1], "no such band"),
        ([], "not a list"),
        (["red"], "not a list"),
    ],
)
def test_channels_that_are_not_there(channels, match):
    with pytest.raises(ConfigError, match=match):
        ChannelSelector(channels).fit(image_of(4, 4, 3))


def test_one_number_is_not_a_list_of_channels():
    with pytest.raises(ConfigError, match="not a list of bands"):
        ChannelSelector(1).transform(image_of(4, 4, 3))


def test_a_band_axis_is_added_once_and_taken_off_again():
    adder = DimensionAdder()
    assert adder.fit_transform(np.zeros((3, 5))).shape == (3, 5, 1)
    assert adder.inverse_transform(np.zeros((3, 5, 1))).shape == (3, 5)
    with pytest.raises(DataError, match="expected 1, found 2"):
        adder.inverse_transform(np.zeros((3, 5, 2)))
    assert adder.fit_transform(np.zeros((3, 5, 1))).shape == (3, 5, 1)
    assert adder.inverse_transform(np.zeros((3, 5, 1))).shape == (3, 5, 1)


def test_only_the_whole_colour_is_positive():
    picture = np.array([[[255, 0, 0], [255, 0, 9]], [[0, 0, 0], [255, 0, 0]]], np.uint8)
    mask = BinariserRGB((255, 0, 0)).fit_transform(picture)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[[1], [0]], [[0], [1]]]


@pytest.mark.parametrize(
    ("colour", "match"),
    [((255, 0), "each of 3 bands"), ((256, 0, 0), "0 to 255"), ((0.5, 0, 0), "uint8")],
)
def test_a_colour_that_no_pixel_can_have_is_an_error_not_an_empty_mask(colour, match):
    with pytest.raises(ConfigError, match=match):
        BinariserRGB(colour).transform(image_of(2, 2, 3))


@pytest.mark.parametrize("lazy", [False, True])
def test_padding_is_at_the_bottom_and_right(lazy):
    image = np.array([[[1], [2]]], np.uint8)
    given = da.from_array(image) if lazy else image
    out = ArrayPadder(2, 3, 9).fit_transform(given)
    assert np.asarray(out)[..., 0].tolist() == [[1, 2, 9], [9, 9, 9]]


def test_padding_by_a_value_that_the_type_cannot_hold():
    with pytest.raises(ConfigError, match=r"uint8 \(0 to 255\), found 256"):
        ArrayPadder(9, 9, 256).fit(image_of(4, 4, 1))
    with pytest.raises(ConfigError, match="found nan"):
        ArrayPadder(9, 9, float("nan")).fit(image_of(4, 4, 1))
    out = ArrayPadder(2, 1, float("nan")).fit_transform(np.ones((1, 1, 1), np.float32))
    assert np.isnan(out[1, 0, 0])
    with pytest.raises(ConfigError, match="negative"):
        ArrayPadder(-1, 9).fit(image_of(4, 4, 1))


def test_shrinking_averages_by_area_and_enlarging_interpolates():
    row = np.array([[[0], [10], [20], [30]]], np.float32)
    down = ImageResampler(0.5).transform(np.repeat(row, 2, axis=0))
    assert down[..., 0].tolist() == [[5, 25]]
    up = ImageResampler(2).transform(row)
    assert up[0, :, 0].tolist() == [0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30]


def test_integers_stay_or_become_float_on_request():
    image = np.array([[[0], [1]], [[1], [1]]], np.uint16)
    kept = ImageResampler(0.5).transform(image)
    assert (kept.dtype, kept.item()) == (np.uint16, 1)
    floated = ImageResampler(0.5, preserve_int=False).transform(image)
    assert (floated.dtype, floated.item()) == (np.float32, 0.75)


def test_a_mask_goes_by_the_share_of_the_labelled_part():
    mask = np.array([[1, 0, 255, 255], [0, 0, 0, 255]], np.uint8)[..., None]
    of = {f: ImageResampler(0.5, is_mask=True, mask_fraction=f) for f in (0.1, 0.25)}
    assert of[0.1].transform(mask)[..., 0].tolist() == [[1, 255]]
    assert of[0.25].transform(mask)[..., 0].tolist() == [[0, 255]]


@pytest.mark.parametrize("lazy", [False, True])
def test_a_mask_that_is_not_binary_is_not_resampled(lazy):
    mask = np.array([[[0], [7]]], np.uint8)
    with pytest.raises(DataError, match=r"expected 0, 1 and 255 \(ignore\), found 7"):
        np.asarray(ImageResampler(2, is_mask=True).transform(da.from_array(mask) if lazy else mask))


@pytest.mark.parametrize("factor", [0.99, 1.0, 1.01])
def test_a_factor_near_one_changes_nothing(factor):
    image = image_of(50, 50, 1)
    assert ImageResampler(factor, resample_tolerance=0.0101).transform(image) is image


@pytest.mark.parametrize(
    ("options", "array", "match"),
    [
        ({"sf": 0}, image_of(2, 2, 1), "not a scale"),
        ({"sf": float("nan")}, image_of(2, 2, 1), "not a scale"),
        ({"resample_tolerance": -1}, image_of(2, 2, 1), "negative"),
        ({"mask_fraction": 1}, image_of(2, 2, 1), "not a share"),
        ({"is_mask": True}, image_of(2, 2, 3), "one band of class ids"),
        ({}, np.ones((2, 2, 1), bool), "truth values"),
        ({}, np.ones((0, 2, 1)), "empty"),
    ],
)
def test_resampling_refuses(options, array, match):
    with pytest.raises((ConfigError, DataError), match=match):
        ImageResampler(**options).fit(array)


@pytest.mark.parametrize("sf", [0.3, 0.5, 0.77, 1.5, 2.0])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (40, 33)])
def test_resampled_rasters_have_the_size_and_pixels_of_the_stages(size, sf):
    grid = PixelGrid(CRS.from_epsg(32651), Affine(1, 0, 5e5, 0, -1, 2e6), *size)
    there = grid.resampled((1 / sf, 1 / sf))
    image = image_of(*size, 2)
    axes = [Axis(a, b, 1 / sf) for a, b in zip(size, (there.height, there.width), strict=True)]
    resampler, whole = Resampler(*axes, "bilinear"), Window(0, 0, there.height, there.width)
    part = image[resampler.source_window(whole).slices]
    wanted, _ = resampler.image(part, np.ones(part.shape[:2], bool), whole)
    for given in (image, da.from_array(image, chunks=(7, 4, 1))):
        np.testing.assert_array_equal(np.asarray(ImageResampler(sf).transform(given)), wanted)


def test_chunks_follow_the_resampling():
    image = da.zeros((100, 60, 3), dtype=np.uint8, chunks=(50, 30, 1))
    assert ImageResampler(0.5).transform(image).chunks == ((25, 25), (15, 15), (3,))
    sliver = da.zeros((10, 1, 1), dtype=np.uint8, chunks=(1, 1, 1))
    assert ImageResampler(0.1).transform(sliver).chunks == ((1,), (1,), (1,))


def test_tiles_lie_side_by_side_or_half_a_tile_apart():
    row = np.arange(10, dtype=np.uint8)
    raster = np.repeat(row[None], 4, axis=0)[..., None]
    plain, half = Tiler((4, 4)), OverlappingTiler((4, 4))
    assert plain.fit_transform(raster)[:, 0, 0, 0].tolist() == [0, 4, 6]
    assert half.fit_transform(raster)[:, 0, 0, 0].tolist() == [0, 2, 4, 6]
    assert half.grid_.origins.tolist() == [[0, 0], [0, 2], [0, 4], [0, 6]]


def test_a_row_of_tiles_is_a_chunk():
    tiles = Tiler((4, 4)).fit_transform(da.zeros((9, 12, 3), chunks=5))
    assert tiles.chunks == ((3, 3, 3), (4,), (4,), (3,))


def test_predictions_of_other_bands_and_type_go_back_too():
    tiler = Tiler((4, 4)).fit(image_of(6, 9, 3))
    raster = np.random.default_rng(13).random((6, 9, 5))
    patches = cut(raster, tiler.grid_.origins, 4)
    np.testing.assert_array_equal(tiler.inverse_transform(patches), raster)
    lazy = tiler.inverse_transform(da.from_array(patches, chunks=(2, 3, 4, 2)))
    np.testing.assert_array_equal(lazy.compute(), raster)


def test_where_tiles_disagree_numpy_and_dask_choose_the_same():
    tiler = OverlappingTiler((4, 4)).fit(image_of(7, 9, 1))
    patches = np.random.default_rng(13).random((len(tiler.grid_), 4, 4, 1))
    lazy = tiler.inverse_transform(da.from_array(patches, chunks=3))
    np.testing.assert_array_equal(lazy.compute(), tiler.inverse_transform(patches))


@pytest.mark.parametrize("dims", [4, (4,), (4, 6), (4.0, 4.0), "44"])
def test_patches_are_square_pairs(dims):
    with pytest.raises(ConfigError, match=r"e\.g\. \(256, 256\) px"):
        Tiler(dims).fit(image_of(9, 9, 1))


def test_tilers_say_what_to_do():
    with pytest.raises(DataError, match=r"smaller than a patch.*Put an ArrayPadder before"):
        Tiler((4, 4)).fit(image_of(3, 9, 1))
    with pytest.raises(ConfigError, match="patch_px"):
        Tiler((0, 0)).fit(image_of(3, 9, 1))
    tiler = Tiler((4, 4)).fit(image_of(8, 8, 1))
    with pytest.raises(DataError, match=r"found 9 × 8 px\. Call fit_transform"):
        tiler.transform(image_of(9, 8, 1))
    with pytest.raises(DataError, match=r"expected \(4, 4, 4\), found \(3, 4, 4\)"):
        tiler.inverse_transform(np.zeros((3, 4, 4, 1)))


def test_the_order_of_patches_depends_on_seed_and_number_alone():
    images, masks = np.zeros((20, 2, 2, 3)), np.zeros((20, 2, 2, 1), np.uint8)
    a, b, c = (
        SynchronisedShuffler(seed).fit(x) for seed, x in ((1, images), (1, masks), (2, masks))
    )
    np.testing.assert_array_equal(a.permutation_, b.permutation_)
    assert sorted(a.permutation_) == list(range(20))
    assert a.permutation_.tolist() not in (list(range(20)), c.permutation_.tolist())


def test_the_shuffler_refuses():
    patches = image_of(4, 4, 1)[None]
    for seed in (-1, None, 1.5):
        with pytest.raises(ConfigError, match="a whole number, 0 or more"):
            SynchronisedShuffler(seed).fit(patches)
    with pytest.raises(DataError, match="expected 1, found 2"):
        SynchronisedShuffler(3).fit(patches).transform(np.repeat(patches, 2, axis=0))


def test_chunks_are_set_and_set_back():
    lazy = da.zeros((6, 4, 4, 1), chunks=(4, 3, 4, 1))
    rechunker = Rechunker((1, -1, -1, -1))
    out = rechunker.fit_transform(lazy)
    assert out.chunks == ((1,) * 6, (4,), (4,), (1,))
    assert rechunker.inverse_transform(out).chunks == lazy.chunks
    with pytest.raises(ConfigError, match="chunks do not suit the array"):
        Rechunker((1, 2)).fit(lazy)
    with pytest.raises(ConfigError, match="chunks do not suit the array"):
        rechunker.inverse_transform(out[:3])


def test_bytes_are_scaled_as_exactly_as_by_division():
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    scaled = SimpleInputScaler(1 / 255).transform(values)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, values.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [(np.uint16, "f4"), (np.int32, "f8"), (np.float32, "f4"), (np.float64, "f8")],
)
def test_scaled_values_are_float(dtype, wanted):
    assert SimpleInputScaler(0.5).transform(np.ones((1, 1, 1), dtype)).dtype == wanted


def test_the_inverse_rounds_and_clips_to_the_type():
    caster = Float32er().fit(np.zeros((1, 4, 1), np.uint8))
    values = np.array([[[-3.0], [1.6], [254.4], [300]]], np.float32)
    back = caster.inverse_transform(values)
    assert (back.dtype, back[0, :, 0].tolist()) == (np.uint8, [0, 2, 254, 255])


@pytest.mark.parametrize("sf", [0, float("inf"), float("nan")])
def test_a_scale_without_inverse_is_refused(sf):
    with pytest.raises(ConfigError, match="not a factor"):
        SimpleInputScaler(sf).fit(image_of(2, 2, 1))
