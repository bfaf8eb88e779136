"""Stores and outlines have the same bytes whatever was imported before gim_cv."""

import hashlib
import os
import subprocess
import sys

import pytest
from numcodecs.zstd import Zstd

from gim_cv import codec

SAVE = """
import sys
from pathlib import Path
for module in sys.argv[2:]:
    __import__(module)
from gim_cv.store import store_digest, write_store
from patchsets import patch_set
import numpy as np
patches = patch_set("a", 3, px=256)
# Blank ground after texture, longer than one block of zstd: where its versions differ.
texture = np.arange(patches["image"].size) ** 2 % 65521 % 64
patches["image"].values[...] = texture.reshape(patches["image"].shape)
patches["image"].values[1, 100:] = 0
write_store(patches, Path(sys.argv[1]), recipe={})
print(store_digest(sys.argv[1]))
"""


def save(path, *modules, code=SAVE):
    command = [sys.executable, "-W", "ignore", "-c", code, path, *modules]
    env = {"PYTHONPATH": ":".join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env)


by_name = pytest.mark.skipif(not hasattr(os, "RTLD_DEEPBIND"), reason="symbols bind by library")


@by_name
def test_the_same_bytes_after_tensorflow(tmp_path):
    plain, after = save(tmp_path / "a"), save(tmp_path / "b", "tensorflow", "gim_cv.datasets")
    assert plain.returncode == 0, plain.stderr
    assert after.stdout == plain.stdout, after.stderr
    assert save(tmp_path / "c", "zarr").stdout == plain.stdout


@by_name
def test_a_codec_that_calls_another_zstd_is_refused(tmp_path):
    late = save(tmp_path / "late", "tensorflow", "zarr")
    assert "StoreError: zstd compresses into other bytes" in late.stderr
    assert "Import gim_cv before zarr, xarray and TensorFlow." in late.stderr
    assert not (tmp_path / "late").exists()


def test_the_known_answer_is_that_of_the_installed_numcodecs():
    found = hashlib.sha256(Zstd(level=1, checksum=True).encode(codec._probe())).hexdigest()
    assert found.startswith(codec.KNOWN_ANSWER)


OUTLINES = """
import sys
from hashlib import sha256
from pathlib import Path
for module in sys.argv[2:]:
    __import__(module)
from gim_cv.polygons import check_geopackage, write_polygons
import geopandas, shapely
check_geopackage()
write_polygons(Path(sys.argv[1]), geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)]))
print(sha256(Path(sys.argv[1]).read_bytes()).hexdigest())
"""


@by_name
def test_geopackages_have_the_same_bytes_after_tensorflow(tmp_path):
    plain = save(tmp_path / "a.gpkg", code=OUTLINES)
    assert plain.returncode == 0, plain.stderr
    for others in (["tensorflow"], ["tensorflow", "gim_cv.vectors"], ["pyogrio", "tensorflow"]):
        after = save(tmp_path / "b.gpkg", *others, code=OUTLINES)
        assert after.stdout == plain.stdout, after.stderr
        (tmp_path / "b.gpkg").unlink()


@by_name
def test_geopackages_without_an_index_are_refused(tmp_path):
    late = save(tmp_path / "late.gpkg", "tensorflow", "pyogrio", code=OUTLINES)
    assert "RunError: GeoPackages would have no spatial index" in late.stderr
    assert "Import gim_cv.inference before geopandas and TensorFlow." in late.stderr
    assert not (tmp_path / "late.gpkg").exists()
