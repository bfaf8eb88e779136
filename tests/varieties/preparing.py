"""What becomes of an input."""

from pathlib import Path

from gim_cv.catalog import Pair, Source
from gim_cv.errors import GimError
from gim_cv.ground import GroundSplit
from gim_cv.pairs import stream_pair
from gim_cv.sources import fetch_source
from gim_cv.store import open_store, write_store
from varieties.making import Make, Scene

PREPARE = {
    "patch_px": 32,
    "overlap": 0.0,
    "resolution_m": 0.0,
    "resampling": "bilinear",
    "mask_fraction": 0.1,
    "all_touched": True,
    "min_valid": 0.3,
    "min_labelled": 0.3,
}
SPLIT = {"mode": "pairs", "block_m": 32.0, "fractions": (0.7, 0.2, 0.1)}
SPLIT |= {"seed": 0, "buffer_m": 0.0, "folds": 0, "fold": 0}


def outcome(make: Make, folder: Path) -> str:
    """What preparing the scene gives: what the store holds, or the error's exact words."""
    raw = folder / "raw"
    scene = Scene(raw / "s")
    scene.folder.mkdir(parents=True)
    make(scene)
    try:
        return _take(scene, folder)
    except GimError as err:
        return str(err).replace(f"{raw / 's'}/", "").replace(f"{folder}/", "")


def _take(scene: Scene, folder: Path) -> str:
    if scene.source is not None:
        source = Source(licence="CC0", **scene.source)
        fetch_source(source, folder / "out", name="s", tmp_dir=folder / "tmp")
    pair = Pair(name="p", source="s", **scene.pair)
    split = GroundSplit(**SPLIT)
    patches = stream_pair(
        pair, folder / "raw", split=split, progress=None, **(PREPARE | scene.prepare)
    )
    write_store(patches, folder / "p.zarr", recipe={}, tmp_dir=folder / "tmp")
    return describe(open_store(folder / "p.zarr"))


def describe(store) -> str:
    """One line on what a store holds."""
    image, counts = store["image"], store["class_pixels"].to_numpy().sum(axis=0)
    pixels = store["mask"].size
    shares = [
        f"{name} {100 * n / pixels:.0f} %"
        for name, n in zip(store.attrs["classes"], counts.tolist(), strict=True)
    ]
    ignored = f"ignored {100 * (1 - counts.sum() / pixels):.0f} %"
    return f"{store.sizes['patch']} patches, {store.sizes['band']} × {image.dtype}: " + ", ".join(
        [*shares, ignored]
    )
