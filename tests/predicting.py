"""Scenes predicted by plain functions, in this process or in one that kills itself."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from dying import Operations

from gim_cv import maps
from gim_cv.maps import CLASSES, PROBABILITY
from gim_cv.patches import Window
from gim_cv.prediction import Options, predict_scene
from gim_cv.predictor import Predictor
from gim_cv.raster import ImageSource, open_image

# Forked off a process that has imported all: a run takes no start-up time.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["gim_cv.prediction"])


def first_band(images: np.ndarray) -> np.ndarray:
    """Answer with the first band: of uint8 images, a level is then the pixel's value."""
    return images[..., :1]


@dataclass
class Asked:
    """Answers, and keeps how many images that are not empty it was asked about."""

    answer: Callable[[np.ndarray], np.ndarray] = first_band
    windows: int = 0
    batches: int = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.windows += int(images.any(axis=(1, 2, 3)).sum())
        self.batches += 1
        return self.answer(images)


def predictor(predict: Callable[[np.ndarray], Any] = first_band, **options: Any) -> Predictor:
    about = {
        "predict": predict,
        "classes": ("background", "building"),
        "scale": 255.0,
        "level": 128,
        "bands": 3,
        "band_names": None,
        "image_dtype": None,
        "resolution_m": None,
        "about": {"model": "test"},
    }
    return Predictor(**(about | options))


def how(**options: Any) -> Options:
    plain = {"min_area_m2": 0.0, "fill_holes_m2": 0.0, "simplify_px": 0.0}
    return Options(**({"window_px": 32, "overlap": 0.5, "batch": 3} | plain | options))


def opened(path: Path | list[Path], **options: Any) -> ImageSource:
    native = {"bands": None, "bounds": None, "nodata": None, "image_crs": None}
    sampling = {"resolution_m": 0.0, "resampling": "bilinear"}
    return open_image(path, **(native | sampling | options))


def predict(
    path: Path | list[Path], out: Path, model: Predictor | None = None, **options: Any
) -> dict[str, Any]:
    """Predict a raster; options are of `Options`, `open_image` and `predict_scene`."""
    mine = {
        name: options.pop(name)
        for name in ("overwrite", "prune_fn", "tmp_dir", "progress")
        if name in options
    }
    seen = {
        name: options.pop(name)
        for name in ("bands", "bounds", "nodata", "image_crs", "resolution_m", "resampling")
        if name in options
    }
    image = opened(path, **seen)
    chosen = {"overwrite": False, "progress": None} | mine
    return predict_scene(image, model or predictor(), out, how(**options), **chosen)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read(out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Levels (rows, cols, bands), NaN where there are none, and class ids."""
    with rasterio.open(out / PROBABILITY) as probability, rasterio.open(out / CLASSES) as ids:
        return np.moveaxis(probability.read(), 0, -1) * 255, ids.read(1)


def whole(path: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Image and validity of a raster on its own grid."""
    image = opened(path, **options)
    return image.read_native(Window(0, 0, image.native.height, image.native.width))


def run(
    folder: Path, *, kill_at: int = 0, kill_in: int = 0, overwrite: bool = False
) -> tuple[int, int, int]:
    """Predict ``folder/image.tif`` into ``folder/out`` in a process of its own.

    Parameters
    ----------
    folder
        Has the image; unfinished work goes to ``tmp``.
    kill_at
        The file operation below ``tmp`` or upon ``out`` to die before, from 1; 0: none.
    kill_in
        The batch to die in, from 1; 0: none.
    overwrite
        Whether older results are replaced.

    Returns
    -------
    tuple
        Exit code (-9 when killed), number of file operations and of windows asked.
    """
    process = PROCESSES.Process(target=_predict, args=(folder, kill_at, kill_in, overwrite))
    process.start()
    process.join()
    done = process.exitcode == 0
    count, asked = map(int, (folder / "count").read_text().split()) if done else (0, 0)
    return process.exitcode, count, asked


def _predict(folder: Path, kill_at: int, kill_in: int, overwrite: bool) -> None:
    def answer(images: np.ndarray) -> np.ndarray:
        if model.batches == kill_in:
            os.kill(os.getpid(), signal.SIGKILL)
        return first_band(images)

    model = Asked(answer)
    seen = Operations((folder / "tmp", folder / "out"), kill_at)
    options = {"tmp_dir": folder / "tmp", "overwrite": overwrite}
    predict(folder / "image.tif", folder / "out", predictor(model), **options)
    (folder / "count").write_text(f"{seen.count} {model.windows}")


def peak(path: Path, out: Path, **options: Any) -> tuple[float, float]:
    """Return the MiB that predicting took at most: of arrays, and of the whole process."""
    found = PROCESSES.SimpleQueue()
    process = PROCESSES.Process(target=_measure, args=(path, out, options, found))
    process.start()
    process.join()
    return found.get()


def _measure(path: Path, out: Path, options: dict[str, Any], found: Any) -> None:
    os.environ["GDAL_CACHEMAX"] = "4"
    maps.PICTURE_PX = 100  # a picture is the same size for all but small scenes
    tracemalloc.start()
    predict(path, out, **options)
    arrays = tracemalloc.get_traced_memory()[1] / 2**20
    found.put((arrays, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10))
