"""A scene predicted whole: probabilities, classes, outlines and a picture, on the scene's own grid.

The folder of a scene holds ``probability.tif`` and ``classes.tif`` (cloud-optimised GeoTIFFs),
``polygons.gpkg``, ``quicklook.png`` and ``prediction.json``, which says what they hold and how they
were made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice, zip_longest
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from gim_cv.atomic import atomic_folder, write_text
from gim_cv.blending import blended, rows_from
from gim_cv.contents import raster_digests
from gim_cv.curves import as_levels, check_probability
from gim_cv.errors import ConfigError, DataError, RunError
from gim_cv.functions import function_name
from gim_cv.maps import CLASSES, PROBABILITY, Summary, write_maps
from gim_cv.patches import PatchGrid, Window, step_px
from gim_cv.pictures import write_png
from gim_cv.polygons import outline_classes, write_polygons
from gim_cv.predictor import Predictor
from gim_cv.raster import ImageSource
from gim_cv.recipe import recipe_difference
from gim_cv.strips import Strips
from gim_cv.symmetry import Image
from gim_cv.unfinished import unfinished_folder, work_key

Array = NDArray[Any]
Item = TypeVar("Item")
PruneFn = Callable[[Array], bool]
ABOUT, POLYGONS, QUICKLOOK = "prediction.json", "polygons.gpkg", "quicklook.png"
FILES = frozenset({ABOUT, POLYGONS, QUICKLOOK, CLASSES, PROBABILITY})


@dataclass(frozen=True)
class Options:
    """How a scene is predicted and outlined.

    Parameters
    ----------
    window_px
        Side of the windows that the model sees, px.
    overlap
        Share of a window that its neighbour repeats, from 0 to below 1.
    batch
        Windows at a time; it changes nothing but the last digits of a probability.
    min_area_m2, fill_holes_m2, simplify_px
        See `gim_cv.polygons.outline_classes`.
    """

    window_px: int
    overlap: float
    batch: int
    min_area_m2: float
    fill_holes_m2: float
    simplify_px: float

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError("batch", expected="at least 1", found=self.batch)


def predict_scene(
    image: ImageSource,
    predictor: Predictor,
    out_dir: Path,
    options: Options,
    *,
    overwrite: bool,
    prune_fn: PruneFn | None = None,
    tmp_dir: Path | None = None,
    progress: str | None,
) -> dict[str, Any]:
    """Write the prediction of a scene, whole or not at all; return what ``prediction.json`` says.

    The model sees overlapping windows; where they overlap, its answers are averaged, and count for
    less towards a window's edges. Windows without a valid pixel are not looked at. Memory is that
    of some rows of windows, whatever the height of the scene. A killed call is gone on with at the
    row of windows where it was.

    Parameters
    ----------
    image
        The scene, opened by `Predictor.open_image`.
    predictor
        What predicts.
    out_dir
        Folder of the scene's results. If it holds those of the same image, model and options,
        nothing is done.
    options
        How.
    overwrite
        Whether results of something else, or of the same, are replaced.
    prune_fn
        Takes the pixels (h, w, C) of a window; True: it is background, the model is not asked.
    tmp_dir
        Where unfinished work lies; None: next to `out_dir`.
    progress
        Title of a progress bar on stderr, drawn where that is a terminal; None: no bar.

    Raises
    ------
    RunError
        `out_dir` holds other results, and `overwrite` is False; or something else.
    DataError
        Pixels cannot be read; the model's answers are no probabilities.
    """
    recipe = scene_recipe(image, predictor, options, prune_fn)
    _check_place(out_dir)
    if not overwrite and (out_dir / ABOUT).is_file():
        return _finished(out_dir, recipe)
    with unfinished_folder(out_dir, work_key(recipe), tmp_dir=tmp_dir) as state:
        strips = Strips(state / "strips")
        predict_rows(image, predictor, options, strips, prune_fn=prune_fn, progress=progress)
        with atomic_folder(out_dir, tmp_dir=tmp_dir) as folder:
            return _write_results(
                folder, image, predictor, options, strips, recipe, progress=progress
            )


def scene_recipe(
    image: ImageSource, predictor: Predictor, options: Options, prune_fn: PruneFn | None
) -> dict[str, Any]:
    """Return all that a prediction depends on but the code, without folders and times."""
    pruned = {} if prune_fn is None else {"prune_fn": function_name(prune_fn)}
    return {
        **pruned,
        "image": [raster_digests(Path(path)) for path, _ in image.parts],
        "bands": [list(numbers) for _, numbers in image.parts],
        "window": [*image.origin, image.native.height, image.native.width],
        "nodata": None if image.nodata is None else repr(float(image.nodata)),
        "grid": image.grid.attrs(),
        "model": dict(predictor.about),
        "classes": list(predictor.classes),
        "options": asdict(options),
    }


def predict_rows(
    image: ImageSource,
    predictor: Predictor,
    options: Options,
    strips: Strips,
    *,
    prune_fn: PruneFn | None,
    progress: str | None,
) -> None:
    """Add to `strips` the levels of all rows of the image's grid that are not there yet."""
    grid = PatchGrid(
        image.grid.height,
        image.grid.width,
        options.window_px,
        step_px(options.window_px, options.overlap),
    )
    rows = _rows(image, grid, strips.end)
    windows = _valid_windows(_bar(rows, progress, len(rows_from(grid, strips.end))), grid)
    answers = _answers(windows, predictor, options.batch, prune_fn)
    for _, values in blended(answers, grid, predictor.channels, strips.end):
        strips.add(as_levels(values.clip(0, 1)))  # sums of shares may be 1 + 1e-7


def _rows(
    image: ImageSource, grid: PatchGrid, first_row: int
) -> Iterator[tuple[int, Array, NDArray[np.bool_]]]:
    """Yield rows of windows: where they begin, px, image and validity; one is read ahead."""

    def read(row: int) -> tuple[Array, NDArray[np.bool_]]:
        return image.read(Window(row, 0, grid.patch_px, grid.shape[1]))

    wanted = rows_from(grid, first_row).tolist()
    with ThreadPoolExecutor(1, "scene") as reader:
        coming = [reader.submit(read, row) for row in wanted[:1]]
        for row, following in zip_longest(wanted, wanted[1:]):
            found = coming.pop().result()
            coming += [] if following is None else [reader.submit(read, following)]
            yield row, *found


def _valid_windows(
    rows: Iterable[tuple[int, Array, NDArray[np.bool_]]], grid: PatchGrid
) -> Iterator[tuple[Window, Array]]:
    for row, pixels, valid in rows:
        for col in grid.cols.tolist():
            part = slice(col, col + grid.patch_px)
            if valid[:, part].any():
                yield Window(row, col, grid.patch_px, grid.patch_px), pixels[:, part]


def _answers(
    windows: Iterator[tuple[Window, Array]],
    predictor: Predictor,
    batch: int,
    prune_fn: PruneFn | None,
) -> Iterator[tuple[Window, Array]]:
    """Yield windows and their probabilities (h, w, channels)."""
    while part := list(islice(windows, batch)):
        pruned = [prune_fn is not None and prune_fn(pixels) for _, pixels in part]
        images = np.zeros((batch, *part[0][1].shape), np.float32)  # one shape: compiled once
        for place, (_, pixels) in zip(images, part, strict=False):
            np.divide(pixels, np.float32(predictor.scale), out=place, casting="same_kind")
        shape = (len(part), *images.shape[1:3], predictor.channels)
        found = np.zeros(shape, np.float32)
        if not all(pruned):
            found[:] = predict_checked(predictor, images)[: len(part)]
        found[pruned] = 0
        if predictor.channels > 1:
            found[pruned, ..., 0] = 1
        yield from zip((window for window, _ in part), found, strict=True)


def predict_checked(predictor: Predictor, images: Image) -> Array:
    """Return the probabilities (B, h, w, channels) of images.

    Raises
    ------
    DataError
        The model answers in another shape, or no probabilities.
    """
    found = np.asarray(predictor.predict(images), np.float32)
    expected = (*images.shape[:3], predictor.channels)
    if found.shape != expected:
        what = "the model's answers have another shape than its images"
        raise DataError(what, expected=expected, found=found.shape)
    check_probability(found)
    return found


def _write_results(
    folder: Path,
    image: ImageSource,
    predictor: Predictor,
    options: Options,
    strips: Strips,
    recipe: dict[str, Any],
    *,
    progress: str | None,
) -> dict[str, Any]:
    names, cell_m2 = predictor.classes, prod(image.native.resolution_m)
    threshold = predictor.threshold
    tags = {"classes": ",".join(names)}
    tags |= {} if threshold is None else {"threshold": str(threshold)}

    def bar(windows: Iterable[Window], total: int) -> Iterable[Window]:
        return _bar(windows, progress and f"{progress}: maps", total)

    found = write_maps(folder, image, strips, names, predictor.level, tags=tags, bar=bar)
    write_png(folder / QUICKLOOK, found.picture())
    polygons = outline_classes(
        folder / CLASSES,
        names,
        cell_m2=cell_m2,
        min_area_m2=options.min_area_m2,
        fill_holes_m2=options.fill_holes_m2,
        simplify_px=options.simplify_px,
    )
    write_polygons(folder / POLYGONS, polygons)
    about = {
        "classes": _class_rows(found, names, cell_m2),
        "pixels_without_image": found.without,
        "polygons": polygons["class_name"].value_counts().sort_index().to_dict(),
        "threshold": threshold,
        "recipe": recipe,
    }
    write_text(folder / ABOUT, json.dumps(about, indent=2, sort_keys=True) + "\n")
    return about


def _class_rows(found: Summary, names: tuple[str, ...], cell_m2: float) -> dict[str, Any]:
    total = max(int(found.pixels.sum()), 1)
    return {
        name: {
            "pixels": count,
            "share": round(count / total, 6),
            "area_m2": round(count * cell_m2, 2),
        }
        for name, count in zip(names, found.pixels.tolist(), strict=True)
    }


def _check_place(out_dir: Path) -> None:
    if not out_dir.exists():
        return
    alien = sorted({path.name for path in out_dir.iterdir()} - FILES) if out_dir.is_dir() else []
    if alien or not out_dir.is_dir():
        raise RunError(
            "a prediction written here would replace what is none",
            path=out_dir,
            expected="nothing, or the folder of an older prediction",
            found=", ".join(alien) or "a file",
            remedy="Name another folder, or move it away",
        )


def _finished(out_dir: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what a finished prediction says, if it is of the same image, model and options."""
    about: dict[str, Any] = json.loads((out_dir / ABOUT).read_text(encoding="utf-8"))
    different = recipe_difference(recipe, about["recipe"])
    if different is not None:
        raise RunError(
            "there is a prediction of something else",
            path=out_dir,
            found=different,
            remedy="Overwrite it, or name another folder",
        )
    return about


def _bar(items: Iterable[Item], title: str | None, total: int) -> Iterable[Item]:
    console = Console(stderr=True)
    quiet = title is None or not console.is_terminal
    return track(items, title or "", total=total, console=console, disable=quiet)
