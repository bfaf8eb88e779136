"""What predicting a whole scene costs, against the least it could cost on the same machine.

    python3 benchmarks/predict.py [--case NAME] [--quick]

prints one JSON line a case:

================== =======================================================================
``case``           name
``n``, ``unit``    windows of 256×256×3 uint8 that the model sees
``wall_s``         time of `predict_scene`: maps, outlines and picture; imports not counted
``cpu_s``          its CPU time, all threads, user and system
``floor_cpu_s``    CPU time of the floor, in one thread: the raster read once with rasterio, block
                   by block, the same function asked about the same windows, and both maps written
                   once as cloud-optimised GeoTIFFs; no blending, outlines or picture. Of `model`:
                   the network alone, asked about the same windows, which are in memory
``ratio``          cpu_s / floor_cpu_s
``per_cpu_s``      windows for each second of CPU
``mpx_per_cpu_s``  millions of the scene's pixels for each second of CPU
``polygons``       outlines found
``peak_rss_mib``   most memory the process held, imports and GDAL's cache counted
``imports_mib``    what it held after its imports (TensorFlow)
================== =======================================================================

Scenes are LZW GeoTIFFs in tiles of 256 px, 2,048 px wide. What "predicts" is the mean of 8×8 pixels
and a little of each pixel, so that all but the model is measured; of `model` it is the network of
params.yaml, with weights as they begin. `tall` has four times the rows of `half_overlap`. Each step
runs in a process of its own, in a temporary folder (TMPDIR) of up to 2 GB. Both sides run `REPEATS`
times in turn, and of each the run with the least CPU time counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import yaml
from measuring import REPEATS, Meter, best_of, line, peak_rss_mib, run_step
from rasters import write_scene

from gim_cv.cog import BLOCK_PX
from gim_cv.curves import level_of
from gim_cv.maps import CLASSES, PROBABILITY
from gim_cv.patches import PatchGrid, Window, step_px
from gim_cv.symmetry import Image, Predict, answers

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("inputs", "predict", "floor")
PX, BATCH, WIDTH, SCALE = 256, 16, 2048, 255.0
NAMES = ("background", "building")
COG: dict[str, Any] = {"driver": "COG", "blocksize": BLOCK_PX, "compress": "deflate"}


class Case(NamedTuple):
    """A case: overlap of its windows, rows of its scene and of its quick form, what predicts."""

    overlap: float
    rows: tuple[int, int]
    model: bool = False


CASES = {
    "no_overlap": Case(0.0, (8192, 1024)),
    "half_overlap": Case(0.5, (8192, 1024)),
    "tall": Case(0.5, (32_768, 2048)),
    "model": Case(0.5, (1024, 512), model=True),
}


def cheap(images: Image) -> Image:
    """Return what stands for a model's answers: smooth, a little noisy, some houses' worth."""
    count, height, width, _ = images.shape
    grey = images.mean(-1)
    coarse = grey.reshape(count, height // 8, 8, width // 8, 8).mean((2, 4), keepdims=True)
    fine = grey.reshape(count, height // 8, 8, width // 8, 8) - coarse
    found: Image = np.clip(0.5 + 8 * (coarse - 0.6) + 0.5 * fine, 0, 1)
    return found.reshape(count, height, width, 1)


def network() -> Predict:
    """Return what asks a new network with the design of params.yaml."""
    import keras  # noqa: PLC0415 - it takes seconds, and not every step needs it

    from gim_cv.models import Segmentalist  # noqa: PLC0415

    keras.utils.set_random_seed(0)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return answers(Segmentalist(**params["model"]), symmetries=False)


def inputs(case: Case, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Write the scene."""
    write_scene(folder / "scene.tif", case.rows[quick], WIDTH)
    return {}


def predict(case: Case, folder: Path) -> dict[str, Any]:
    """Predict the scene; return what it cost and made."""
    from gim_cv.prediction import Options, predict_scene  # noqa: PLC0415
    from gim_cv.predictor import Predictor  # noqa: PLC0415

    ask = network() if case.model else cheap
    imports = peak_rss_mib()
    predictor = Predictor(
        ask, NAMES, SCALE, level_of(0.5), 3, None, None, None, {"model": ask.__name__}
    )
    options = Options(PX, case.overlap, BATCH, min_area_m2=10.0, fill_holes_m2=5.0, simplify_px=1.0)
    open_options = dict.fromkeys(("bands", "bounds", "nodata", "image_crs"))
    ask(np.zeros((BATCH, PX, PX, 3), np.float32))  # tracing is not counted
    with Meter() as meter:
        image = predictor.open_image([folder / "scene.tif"], resampling="bilinear", **open_options)
        about = predict_scene(
            image, predictor, folder / "found", options, overwrite=True, progress=None
        )
    return {
        "wall_s": meter.wall,
        "cpu_s": meter.cpu,
        "n": len(windows_of(image.grid.height, case.overlap)),
        "mpx": image.grid.height * image.grid.width / 1e6,
        "polygons": sum(about["polygons"].values()),
        "peak_rss_mib": peak_rss_mib(),
        "imports_mib": imports,
    }


def windows_of(rows: int, overlap: float) -> list[Window]:
    """Return the windows of a scene."""
    return list(PatchGrid(rows, WIDTH, PX, step_px(PX, overlap)))


def floor(case: Case, folder: Path) -> dict[str, Any]:
    """Do the least that could be done; return what it cost."""
    if case.model:
        return alone(case, folder)
    maps = {name: whole(folder / "found" / name) for name in (PROBABILITY, CLASSES)}
    with Meter() as meter:
        pixels = by_blocks(folder / "scene.tif")
        for images in batches(pixels, case.overlap):
            cheap(images)
        for name, (profile, planes) in maps.items():
            with rasterio.open(folder / name, "w", **profile) as sink:
                sink.write(planes)
    return {"cpu_s": meter.cpu}


def alone(case: Case, folder: Path) -> dict[str, Any]:
    """Ask the network about all windows; return what it cost."""
    ask, pixels = network(), by_blocks(folder / "scene.tif")
    prepared = [images.copy() for images in batches(pixels, case.overlap)]
    ask(prepared[0])
    with Meter() as meter:
        for images in prepared:
            ask(images)
    return {"cpu_s": meter.cpu}


def by_blocks(path: Path) -> Any:
    """Return all pixels (row, col, band) of a raster, each of its blocks read once."""
    with rasterio.open(path) as raster:
        found = np.empty((raster.height, raster.width, raster.count), np.uint8)
        for _, window in raster.block_windows(1):
            rows, cols = window.toslices()
            found[rows, cols] = np.moveaxis(raster.read(window=window), 0, -1)
    return found


def batches(pixels: Any, overlap: float) -> Iterator[Image]:
    """Yield all windows, scaled, `BATCH` at a time; the array is used again."""
    images = np.zeros((BATCH, PX, PX, 3), np.float32)
    windows = windows_of(len(pixels), overlap)
    for start in range(0, len(windows), BATCH):
        for place, window in zip(images, windows[start : start + BATCH], strict=False):
            np.divide(pixels[window.slices], np.float32(SCALE), out=place)
        yield images


def whole(path: Path) -> tuple[dict[str, Any], Any]:
    """Return how to write a map again, and its pixels."""
    with rasterio.open(path) as raster:
        kept = ("width", "height", "count", "dtype", "crs", "transform", "nodata")
        how = {key: raster.profile[key] for key in kept} | COG
        how["overview_resampling"] = "average" if raster.dtypes[0] == "float32" else "mode"
        return how | {"predictor": "yes"}, raster.read()


def run_case(name: str, *, quick: bool) -> dict[str, Any]:
    """Return the line of one case."""
    with tempfile.TemporaryDirectory(prefix="gim_cv-predict-") as temporary:
        folder = Path(temporary)
        run_step(__file__, "inputs", folder, name, *["--quick"] * quick)
        found, least = best_of(1 if quick else REPEATS, __file__, STEPS[1:], folder, name)
    return line(
        name,
        found["n"],
        "windows",
        wall_s=found["wall_s"],
        cpu_s=found["cpu_s"],
        floor_cpu_s=least["cpu_s"],
        mpx_per_cpu_s=round(found["mpx"] / found["cpu_s"], 2),
        polygons=found["polygons"],
        peak_rss_mib=found["peak_rss_mib"],
        imports_mib=found["imports_mib"],
    )


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--case", choices=CASES, action="append", help="one case (may repeat)")
    parser.add_argument("--quick", action="store_true", help="smaller scenes: under 50 s in all")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        case = CASES[args.case[0]]
        steps = {
            "inputs": lambda: inputs(case, args.folder, quick=args.quick),
            "predict": lambda: predict(case, args.folder),
            "floor": lambda: floor(case, args.folder),
        }
        print(json.dumps(steps[args.step]()))
        return
    for name in args.case or CASES:
        print(json.dumps(run_case(name, quick=args.quick)), flush=True)


if __name__ == "__main__":
    main()
