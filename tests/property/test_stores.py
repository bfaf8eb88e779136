"""Writing and reading are inverse; how the patches came in leaves no trace."""

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from patchsets import patch_set, same, small_layout

from gim_cv.store import open_store, store_digest, write_store

KINDS = st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"])


@settings(max_examples=12, deadline=None)
@given(
    count=st.integers(1, 40),
    px=st.integers(3, 6),
    bands=st.integers(1, 5),
    dtype=KINDS,
    block=st.sampled_from([1, 2, 4]),
    blocks=st.sampled_from([1, 2, 8]),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_write_then_open_is_identity_whatever_the_parts(
    count, px, bands, dtype, block, blocks, cuts
):
    patches = patch_set("some-pair_1", count, px=px, bands=bands, dtype=dtype)
    edges = [0, *sorted(min(cut, count) for cut in cuts), count]
    parts = [patches.isel(patch=slice(a, b)) for a, b in pairwise(edges)]  # some are empty
    size = px * px * bands * np.dtype(dtype).itemsize
    with (
        tempfile.TemporaryDirectory() as folder,
        small_layout(size, block=block, shard=block * blocks),
    ):
        one, other = Path(folder) / "1" / "a.zarr", Path(folder) / "2" / "a.zarr"
        write_store(parts, one, recipe={"parts": 1})
        write_store(patches.chunk(patch=3), other, recipe={"parts": 1}, tmp_dir=Path(folder))
        opened = open_store(one, recipe={"parts": 1})
        assert same(opened, patches)
        assert max(opened["image"].chunks[0]) <= block
        assert store_digest(one) == store_digest(other)
