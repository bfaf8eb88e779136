"""A scene predicted whole: probabilities, classes, outlines and a picture, on the scene's own grid.

The folder of a scene holds ``probability.tif`` and ``classes.tif`` (cloud-optimised GeoTIFFs),
``polygons.gpkg``, ``quicklook.png`` and ``prediction.json``, which says what they hold and how they
were made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from math import inf, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gim_cv.atomic import atomic_folder, write_text
from gim_cv.backend import backend_name
from gim_cv.blending import blended, rows_from
from gim_cv.contents import raster_digests
from gim_cv.curves import as_levels, check_probability
from gim_cv.errors import ConfigError, DataError, GimError, RunError
from gim_cv.functions import function_name
from gim_cv.maps import CLASSES, PROBABILITY, Summary, write_maps
from gim_cv.patches import PatchGrid, Window, step_px
from gim_cv.pictures import write_png
from gim_cv.polygons import check_geopackage, outline_classes, write_polygons
from gim_cv.predictor import Predictor
from gim_cv.raster import ImageSource
from gim_cv.recipe import recipe_difference
from gim_cv.scanning import rows_of_windows, shown_windows
from gim_cv.scheduling import tracked
from gim_cv.strips import Strips
from gim_cv.symmetry import Image
from gim_cv.unfinished import unfinished_folder, work_key

Array = NDArray[Any]
PruneFn = Callable[[Array], bool]
ABOUT, POLYGONS, QUICKLOOK = "prediction.json", "polygons.gpkg", "quicklook.png"
FILES = frozenset({ABOUT, POLYGONS, QUICKLOOK, CLASSES, PROBABILITY})
BESIDE = (".aux.xml", ".gpkg-journal", ".gpkg-shm", ".gpkg-wal", ".DS_Store")
"""Endings of what programs that look at the files leave beside them."""


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

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    window_px: int
    overlap: float
    batch: int
    min_area_m2: float
    fill_holes_m2: float
    simplify_px: float

    def __post_init__(self) -> None:
        step_px(self.window_px, self.overlap)
        if self.batch % 1:
            raise ConfigError("batch", expected="a whole number", found=self.batch)
        least = {"batch": 1, "min_area_m2": 0, "fill_holes_m2": 0, "simplify_px": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if not lowest <= value < inf:
                raise ConfigError(name, expected=f"at least {lowest}", found=value)


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
    less towards a window's edges. Windows without a valid pixel are not looked at: valid specks in
    them, less than half a pixel of a resampled scene, are background. Memory is that of some rows
    of windows, whatever the height of the scene. A killed call is gone on with at the row of
    windows where it was.

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
        `out_dir` holds other results, and `overwrite` is False; or something else; or cannot be
        written. Or see `check_geopackage`.
    DataError
        Pixels cannot be read; the model's answers are no probabilities.
    """
    check_geopackage()
    recipe = scene_recipe(image, predictor, options, prune_fn)
    if _is_taken(out_dir) and not overwrite:
        return _finished(out_dir, recipe)
    key = work_key({**recipe, "backend": backend_name()})
    work = unfinished_folder(out_dir, key, tmp_dir=tmp_dir)
    with _writing(out_dir), work as state:
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
        "nodata": [None if mark is None else repr(float(mark)) for mark in image.marks],
        "grid": image.grid.attrs(),
        "resampling": None if image.resampler is None else image.resampler.method,
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
    rows = rows_of_windows(image, grid, strips.end)
    windows = shown_windows(tracked(rows, progress, total=len(rows_from(grid, strips.end))), grid)
    answers = _answers(windows, predictor, options.batch, prune_fn)
    for _, values in blended(answers, grid, predictor.channels, strips.end):
        strips.add(as_levels(values.clip(0, 1)))  # sums of shares may be 1 + 1e-7


def _answers(
    windows: Iterator[tuple[Window, Array]],
    predictor: Predictor,
    batch: int,
    prune_fn: PruneFn | None,
) -> Iterator[tuple[Window, Array]]:
    """Yield windows and their probabilities (h, w, channels)."""
    while part := list(islice(windows, batch)):
        asked = [n for n, (_, pixels) in enumerate(part) if not (prune_fn and prune_fn(pixels))]
        images = np.zeros((batch, *part[0][1].shape), np.float32)  # one shape: compiled once
        for place, number in zip(images, asked, strict=False):
            scale = np.float32(predictor.scale)
            np.divide(part[number][1], scale, out=place, casting="same_kind")
        found = np.zeros((len(part), *images.shape[1:3], predictor.channels), np.float32)
        if predictor.channels > 1:
            found[..., 0] = 1
        if asked:
            found[asked] = predict_checked(predictor, images, len(asked))
        yield from zip((window for window, _ in part), found, strict=True)


def predict_checked(predictor: Predictor, images: Image, count: int) -> Array:
    """Return the probabilities (count, h, w, channels) of the first `count` images (B, h, w, C).

    Raises
    ------
    DataError
        The model answers in another shape, or no probabilities.
    """
    found = np.asarray(predictor.predict(images), np.float32)
    expected = (*images.shape[:3], predictor.channels)
    if found.shape != expected:
        raise DataError(
            "the model's answers have another shape than its images",
            expected=expected,
            found=found.shape,
            remedy="Take a model that answers for each pixel, or other windows",
        )
    check_probability(found[:count])
    return found[:count]


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
        return tracked(windows, progress and f"{progress}: maps", total=total)

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


@contextmanager
def _writing(out_dir: Path) -> Iterator[None]:
    """Turn what the system says of folders and files that it cannot write into an error of ours."""
    try:
        yield
    except GimError:
        raise
    except OSError as err:
        raise RunError(
            f"results cannot be written ({err})",
            path=out_dir,
            remedy="Name another folder, or make it writable, or room on the disk",
        ) from err


def _is_taken(out_dir: Path) -> bool:
    """Return whether there are files of a prediction; anything else there is an error."""
    if not out_dir.exists():
        return False
    there = {path.name for path in out_dir.iterdir()} if out_dir.is_dir() else {"a file"}
    there = {name for name in there if not name.endswith(BESIDE)}
    if there - FILES:
        raise RunError(
            "a prediction written here would replace what is none",
            path=out_dir,
            expected="nothing, or the folder of an older prediction",
            found=", ".join(sorted(there - FILES)),
            remedy="Name another folder, or move it away",
        )
    return bool(there)


def _finished(out_dir: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what a finished prediction says, if it is of the same image, model and options."""
    lacking = sorted(name for name in FILES if not (out_dir / name).is_file())
    about = {} if lacking else _read_about(out_dir / ABOUT)
    different = f"no {', '.join(lacking)}" if lacking else None
    different = different or recipe_difference(recipe, about["recipe"], "there")
    if different is not None:
        raise RunError(
            "there is a prediction of something else, or a part of one",
            path=out_dir,
            found=different,
            remedy="Overwrite it, or name another folder",
        )
    return about


def _read_about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return {**about, "recipe": dict(about["recipe"])}
    except (ValueError, LookupError, TypeError) as err:
        remedy = "Overwrite it, or name another folder"
        raise DataError("says nothing of a prediction", path=path, remedy=remedy) from err
