"""data/catalog.yaml: what is right is read, what is wrong is named with its key."""

import textwrap

import pytest

from gim_cv.catalog import load_catalog
from gim_cv.errors import ConfigError, MissingError, UnknownError

GOOD = """
sources:
  s: {url: "https://example.org/a.zip", sha256: "%s", licence: CC0}
pairs:
  a: {source: s, image: a.tif, labels: a.geojson}
  b: {source: s, image: [b1.tif, b2.tif], labels: b.tif, mask_values: [{value: 255, id: 1}]}
datasets:
  both: {pairs: [a, b], resolution_m: 0.5, aliases: [ab]}
""" % ("0" * 64)


def load(tmp_path, text):
    path = tmp_path / "catalog.yaml"
    path.write_text(textwrap.dedent(text))
    return load_catalog(path)


def test_paths_are_under_the_source(tmp_path):
    catalog = load(tmp_path, GOOD)
    raw = tmp_path / "raw"
    assert catalog.pair("a").image_paths(raw) == [raw / "s" / "a.tif"]
    assert catalog.pair("b").image_paths(raw) == [raw / "s" / "b1.tif", raw / "s" / "b2.tif"]
    assert catalog.pair("b").labels_path(raw) == raw / "s" / "b.tif"
    assert catalog.pair("b").aoi_path(raw) is None


def test_colours_may_be_unknown(tmp_path):
    more = "mask_values: [{value: [9, 0, 0], id: 1}], ignore_values: [7, [255, 255, 255]]"
    text = GOOD.replace("mask_values: [{value: 255, id: 1}]", more)
    pair = load(tmp_path, text).pair("b")
    assert pair.ignore_values == (7, (255, 255, 255))


def test_tags_aliases_and_single_pairs_name_pairs(tmp_path):
    catalog = load(tmp_path, GOOD)
    assert catalog.pairs_of(("ab", "a")) == ["a", "b"]
    assert catalog.pairs_of(("b",)) == ["b"]


def test_a_dataset_goes_before_the_pair_of_its_name(tmp_path):
    """As one that began with a single pair, and grew."""
    catalog = load(tmp_path, GOOD.replace("both:", "a:"))
    assert catalog.pairs_of(("a",)) == ["a", "b"]
    assert catalog.members("b") == ("b",)


def test_an_unknown_tag_lists_the_nearest(tmp_path):
    message = r"unknown dataset or pair 'bot'; expected one of both.* `datasets` in params.yaml"
    with pytest.raises(UnknownError, match=message):
        load(tmp_path, GOOD).members("bot")


def test_class_keys_are_what_yaml_reads(tmp_path):
    more = "labels: a.geojson, class_attribute: c, classes: {1: 1, null: 0}, ignore_values: [x, 3]"
    pair = load(tmp_path, GOOD.replace("labels: a.geojson", more)).pair("a")
    assert pair.classes == {"1": 1, "null": 0}
    assert pair.ignore_values == ("x", 3)


def test_mask_values_are_a_list_or_a_mapping(tmp_path):
    mapping = GOOD.replace("[{value: 255, id: 1}]", "{255: 1}")
    assert load(tmp_path, mapping).pair("b") == load(tmp_path, GOOD).pair("b")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image: a.tif, ", "", r"pairs\.a\.image: required key is missing"),
        ("image: a.tif", "imag: a.tif", r"pairs\.a\.imag: unknown key.* one of image"),
        ("labels: a.geojson}", "labels: a.geojson, extra: 1}", r"pairs\.a\.extra: unknown key"),
        ("{value: 255", "{valu: 255", r"pairs\.b\.mask_values\.0\.valu: unknown key.* of value"),
        ("sources:", "source:", r"source: unknown key.* one of sources"),
        ("a: {source: s, image: a.tif, labels: a.geojson}", "a:", r"not a mapping.* found nothing"),
        ("a: {source: s, image: a.tif, labels: a.geojson}", "a: x", r"pairs\.a: not a mapping"),
        ("  a: {", "  b: {", "the key 'b' comes a second time"),
        ("pairs: [a, b]", "pairs: a", r"datasets\.both\.pairs: not a list; found 'a'"),
        ("labels: a.geojson}", "labels: a.geojson, bands: []}", r"pairs\.a\.bands"),
        ("labels: a.geojson}", "labels: a.geojson, bands: [1, 1]}", "a band is named twice"),
        ("labels: a.geojson}", "labels: a.geojson, bounds: [0, 0, 1]}", r"bounds\.3: too few"),
        ("labels: a.geojson}", "labels: a.geojson, nodata: None}", "Write null for none"),
        ("both:", "a: {pairs: [b], resolution_m: 1}\n  both:", r"the name of the pair 'a'"),
        ("both:", "ab: {pairs: [b], resolution_m: 1}\n  both:", r"has the alias 'ab' of 'ab'"),
        ("pairs: [a, b]", "pairs: [a, c]", r"datasets\.both names the pair 'c'"),
        ("id: 1", "id: 2", r"class_names has no name for class 2"),
        ("labels: a.geojson}", "labels: a.geojson, bounds: [1, 0, 0, 1]}", "left < right"),
        ('sha256: "%s", ' % ("0" * 64), "", "give sha256"),
        ("a: {source", "size: {source", "DVC overlooks what is named 'size'"),
        ("labels: a.geojson}", "labels: a, class_attribute: c, classes: {nfiles: 1}}", "'nfiles'"),
        ("labels: a.geojson", "labels: a.tif, buffer_m: 1", "buffer_m is for vector labels"),
        ("labels: b.tif", "labels: b.shp", "mask_values is for a label raster"),
        ("labels: a.geojson", "labels: a.shp, ignore_values: [1]", "needs class_attribute"),
        ("labels: b.tif", "labels: b.tif, ignore_values: [x]", "are whole numbers"),
        (
            "labels: a.geojson}",
            "labels: a, class_attribute: c, classes: {yes: 1}}",
            "reads a key as true: put it in quotes",
        ),
        ("pairs:", "pairs: [", "not YAML"),
        ("mask_values: [{value: 255, id: 1}]", "mask_values: {[255, 0, 0]: 1}", "cannot be a key"),
        (
            "labels: a.geojson",
            "labels: a.shp, class_attribute: c, classes: {x: 1}, ignore_values: [[1, 2, 3]]",
            "not triples",
        ),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, GOOD.replace(old, new))


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(MissingError, match=r"no such file.*root of a gim_cv project.*GIM_CV_ROOT"):
        load_catalog(tmp_path / "none.yaml")
