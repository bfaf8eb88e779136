"""Combining that is killed, and goes on to the same bytes without doing anything twice."""

import os
import re
import shutil
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from killing import PATCH_BYTES, run, write_pairs
from patchsets import patch_set, small_layout

from gim_cv import unfinished
from gim_cv.combine import combine_stores
from gim_cv.errors import StoreError
from gim_cv.shuffle import Spool
from gim_cv.store import store_digest
from gim_cv.writer import shard_files

COUNTS = {"a": 33, "b": 50, "c": 20}  # 7 buckets, the last one shorter; 27 blocks


def patches(dtype="uint8"):
    return {name: patch_set(name, count, dtype=dtype) for name, count in COUNTS.items()}


@pytest.fixture
def pairs(tmp_path):
    """The pair stores of uint8, in ``tmp_path/pairs``."""
    write_pairs(tmp_path, patches())
    return sorted((tmp_path / "pairs").iterdir())


def left(folder):
    """What the killed process left."""
    return list((folder / "tmp").glob("out.of-*.unfinished"))


@pytest.mark.parametrize(
    ("dtype", "kills"),
    [
        # Shares of all file operations; each kill but the first hits a run that goes on.
        ("uint8", (0.002, 0.03, 0.3, 0.2, 0.2)),
        ("uint8", (0.6, 0.2, 0.1)),
        ("uint8", (0.7,)),
        ("uint8", (0.85,)),
        ("uint8", (0.97,)),
        ("uint8", (0.99,)),
        ("uint16", (0.4, 0.35)),
        ("float32", (0.4, 0.35)),
    ],
)
def test_a_killed_combine_goes_on_to_the_same_bytes(tmp_path, dtype, kills):
    sets, size = patches(dtype), np.dtype(dtype).itemsize
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    write_pairs(tmp_path / "whole", sets)
    write_pairs(tmp_path / "cut", sets)
    code, operations, said = run(tmp_path / "whole", size)
    assert (code, said) == (0, "")
    wanted = store_digest(tmp_path / "whole" / "out")
    for share in kills:
        code, _, _ = run(tmp_path / "cut", size, max(1, int(share * operations)))
        assert code == -9
        out = tmp_path / "cut" / "out"
        assert not out.exists() or store_digest(out) == wanted
    assert run(tmp_path / "cut", size)[0] == 0
    assert store_digest(tmp_path / "cut" / "out") == wanted
    assert list((tmp_path / "cut" / "tmp").iterdir()) == []


def spoil(pairs):
    """Break all blocks of some stores, whose files seem the same: to read one is an error."""
    for shard in (shard for pair in pairs for shard in pair.glob("*/c/*/0/0/0")):
        stat = shard.stat()
        with shard.open("r+b") as handle:
            handle.write(b"\xff" * stat.st_size)
        os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_buckets_that_are_done_are_not_done_again(tmp_path, pairs):
    _, operations, _ = run(tmp_path, 1)
    shutil.rmtree(tmp_path / "out")
    run(tmp_path, 1, int(0.6 * operations))
    (folder,) = left(tmp_path)
    done = 7 - len(list((folder / "spool").iterdir()))
    assert 0 < done < 7
    shards = [name for number in range(done) for name in shard_files(number)]
    before = {name: (folder / "store" / name).stat() for name in shards}
    spoil(pairs)
    code, _, said = run(tmp_path, 1)
    assert (code, said) == (0, f"combine: resuming: {done} of 7 buckets are done\n")
    for name, stat in before.items():
        found = (tmp_path / "out" / name).stat()
        assert (found.st_ino, found.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)


def test_stores_that_are_read_are_not_read_again(tmp_path, pairs):
    _, operations, _ = run(tmp_path, 1)
    shutil.rmtree(tmp_path / "out")
    run(tmp_path, 1, int(0.28 * operations))
    spoil(pairs[:1])
    code, _, said = run(tmp_path, 1)
    assert code == 0
    read = re.fullmatch(
        r"combine: resuming: 0 of 7 buckets are done, (\d+) of 27 blocks are read\n", said
    )
    assert 9 <= int(read[1]) < 27  # pair a has 9


@contextmanager
def stopped(after):
    """Have the block end as Ctrl-C ends it, when so many more buckets are done."""
    drop, seen = Spool.drop, []

    def dropped(self, number):
        if len(seen) == after:
            raise KeyboardInterrupt
        seen.append(number)
        drop(self, number)

    with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Spool, "drop", dropped)
        yield


def combined(folder, pairs, **options):
    values = {"seed": 3, "memory_mib": 64, "tmp_dir": folder / "tmp", "progress": True, **options}
    with small_layout(PATCH_BYTES):
        combine_stores(pairs, folder / "out", **values)
    return store_digest(folder / "out")


def cut(folder, pairs):
    """Combine until two buckets are done; return what is left."""
    with stopped(2):
        combined(folder, pairs)
    assert not (folder / "out").exists()
    (found,) = left(folder)
    return found


def another_seed(_pairs, _patch):
    return {"seed": 4}


def another_memory(_pairs, _patch):
    return {"memory_mib": 65}


def another_input(pairs, _patch):
    """The same recipe, ids and sizes: only pixels differ."""
    write_pairs(pairs[0].parent.parent, {"a": patch_set("a", 33, seed=1)})
    return {}


def another_code(_pairs, patch):
    patch.setattr(unfinished, "PACKAGE", unfinished.PACKAGE / "models")
    return {}


def another_boot(_pairs, patch):
    patch.setattr(unfinished, "BOOT_ID", unfinished.PACKAGE / "none")
    return {}


@pytest.mark.parametrize(
    "change", [another_seed, another_memory, another_input, another_code, another_boot]
)
def test_nothing_of_another_making_is_used(tmp_path, pairs, capsys, monkeypatch, change):
    cut(tmp_path, pairs)
    options = change(pairs, monkeypatch)
    found = combined(tmp_path, pairs, **options)
    assert "resuming" not in capsys.readouterr().err
    assert list((tmp_path / "tmp").iterdir()) == []
    with small_layout(PATCH_BYTES):
        values = {"seed": 3, "memory_mib": 64, **options}
        combine_stores(pairs, tmp_path / "afresh", **values)
    assert found == store_digest(tmp_path / "afresh")


def test_the_order_of_names_does_not_matter(tmp_path, pairs, capsys):
    cut(tmp_path, pairs)
    combined(tmp_path, pairs[::-1])
    assert capsys.readouterr().err == "combine: resuming: 2 of 7 buckets are done\n"


def test_what_a_kill_left_half_written_is_not_taken(tmp_path, pairs, capsys):
    wanted = combined(tmp_path, pairs)
    shutil.rmtree(tmp_path / "out")
    store = cut(tmp_path, pairs) / "store"
    (store / "mask" / "c" / "2" / "0" / "0" / "0").unlink()
    (store / "image" / "c" / "2" / "0" / "0" / "0").write_bytes(b"half")
    (store / "image" / "c" / "2" / "0" / "0" / "0.partial").write_bytes(b"less")
    (store / "image" / "zarr.json").write_text("{")
    assert combined(tmp_path, pairs) == wanted
    assert "2 of 7 buckets" in capsys.readouterr().err


@pytest.mark.parametrize("gone", ["spool/000004.raw", "spool", "store/mask/c/1/0/0/0", "store"])
def test_what_someone_tidied_up_is_made_again(tmp_path, pairs, capsys, gone):
    wanted = combined(tmp_path, pairs)
    shutil.rmtree(tmp_path / "out")
    path = cut(tmp_path, pairs) / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert combined(tmp_path, pairs) == wanted
    assert "resuming" not in capsys.readouterr().err


def test_an_error_leaves_nothing(tmp_path, pairs):
    shard = pairs[1] / "mask" / "c" / "0" / "0" / "0" / "0"
    shard.write_bytes(b"broken")
    with pytest.raises((StoreError, ValueError)):
        combined(tmp_path, pairs)
    assert list((tmp_path / "tmp").iterdir()) == []
