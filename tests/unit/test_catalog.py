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


def test_tags_aliases_and_single_pairs_name_pairs(tmp_path):
    catalog = load(tmp_path, GOOD)
    assert catalog.pairs_of(("ab", "a")) == ["a", "b"]
    assert catalog.pairs_of(("b",)) == ["b"]


def test_an_unknown_tag_lists_the_nearest(tmp_path):
    with pytest.raises(UnknownError, match=r"unknown dataset 'bot'; expected one of both"):
        load(tmp_path, GOOD).dataset("bot")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image: a.tif", "imag: a.tif", r"pairs\.a\.image: required key is missing"),
        ("labels: a.geojson}", "labels: a.geojson, extra: 1}", r"pairs\.a\.extra: unknown key"),
        ("pairs: [a, b]", "pairs: [a, c]", r"datasets\.both names the pair 'c'"),
        ("id: 1", "id: 2", r"class_names has no name for class 2"),
        ("labels: a.geojson}", "labels: a.geojson, bounds: [1, 0, 0, 1]}", "left < right"),
        ('sha256: "%s", ' % ("0" * 64), "", "give sha256"),
        ("a: {source", "size: {source", "DVC overlooks what is named 'size'"),
        ("labels: a.geojson}", "labels: a, class_attribute: c, classes: {nfiles: 1}}", "'nfiles'"),
        ("pairs:", "pairs: [", "not YAML"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, GOOD.replace(old, new))


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(MissingError, match="no such file"):
        load_catalog(tmp_path / "none.yaml")
