"""Combining is an exact permutation within each split, whatever stands on disk."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from patchsets import follows, patch_set, small_layout, watermarks

from gim_cv.combine import combine_stores
from gim_cv.store import open_store, pair_names, split_slice, write_store


@settings(max_examples=10, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    seed=st.integers(0, 2**40),
    block=st.sampled_from([1, 2, 8]),
    blocks=st.sampled_from([1, 4]),
    threads=st.sampled_from([1, 3]),
)
def test_a_combined_store_is_a_permutation(counts, seed, block, blocks, threads):
    sets = {f"p{k}": patch_set(f"p{k}", n, px=3, bands=2) for k, n in enumerate(counts)}
    wanted = {
        (name, mark, int(split))
        for name, part in sets.items()
        for mark, split in zip(watermarks(part), part["split"].to_numpy(), strict=True)
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        small_layout(18, block=block, shard=block * blocks),
    ):
        root = Path(folder)
        for name, part in sets.items():
            write_store(part, root / name, recipe={})
        memory = 1 if threads == 1 else 64
        combine_stores([root / name for name in sets], root / "out", seed=seed, memory_mib=memory)
        found = open_store(root / "out").compute()
    names = pair_names(found)
    rows = [names[code] for code in found["pair"].to_numpy()]
    got = list(zip(rows, watermarks(found), found["split"].to_numpy().tolist(), strict=True))
    assert len(got) == sum(counts)
    assert set(got) == wanted
    assert follows(found)
    slices = [split_slice(found, split) for split in ("train", "val", "test")]
    assert sum(where.stop - where.start for where in slices) == len(got)
