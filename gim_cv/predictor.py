"""A trained model with what it takes to ask it about a scene: bands, resolution, threshold."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from gim_cv.catalog import Scene
from gim_cv.curves import level_of, threshold_of
from gim_cv.errors import ConfigError, DataError, MissingError
from gim_cv.grid import NATIVE_TOLERANCE, PixelGrid
from gim_cv.models.segmentalist import BEST_BY_VAL, Segmentalist
from gim_cv.raster import SQUARE_TOLERANCE, ImageSource, open_image
from gim_cv.rundir import find_evaluation, read_run, read_scores, run_digest
from gim_cv.schema import other_colour
from gim_cv.sources import sha256_of
from gim_cv.symmetry import Predict, answers

FACTS = ("band_names", "image_dtype", "resolution_m", "classes", "scale")
"""What a run says of the images that it was trained on."""


@dataclass(frozen=True)
class Predictor:
    """What predicts, and for which images.

    Attributes
    ----------
    predict
        Images (B, h, w, bands), divided by `scale`, float32, to probabilities (B, h, w, 1) of class
        1, or (B, h, w, K) of K > 2 classes.
    classes
        Names of the classes.
    scale
        Divisor of the images.
    level
        From which level, 0–255, a pixel is of class 1 (see `gim_cv.curves`); of more classes, the
        likeliest is chosen.
    bands
        How many an image must have.
    band_names
        Their names where they are known: a scene's bands are taken in this order.
    image_dtype
        Type of the pixels that `scale` is for; None: any.
    resolution_m
        Finest and coarsest ground resolution it was trained at, m; None: any.
    about
        What its answers depend on, for a recipe.
    """

    predict: Predict
    classes: tuple[str, ...]
    scale: float
    level: int
    bands: int
    band_names: tuple[str, ...] | None
    image_dtype: str | None
    resolution_m: tuple[float, float] | None
    about: Mapping[str, Any]

    @classmethod
    def of_run(
        cls, run_dir: Path, *, threshold: float | None, symmetries: bool, evaluation: Path | None
    ) -> Self:
        """Return the best weights of a run, ready for scenes.

        Parameters
        ----------
        run_dir
            The run directory.
        threshold
            Probability (0–1) from which a pixel is foreground; None: the one that the run's
            evaluation chose. Of more than two classes, the likeliest is chosen without one.
        symmetries
            Whether a prediction is the mean over the eight turns and mirror images of a window.
        evaluation
            Folder of its evaluation; None: where the pipeline puts it.

        Raises
        ------
        MissingError
            There is no run; or no evaluation of exactly this run, where its threshold is needed.
        ConfigError
            An earlier gim_cv trained it, which did not keep what it was trained on; or `threshold`
            is no probability.
        """
        run = read_run(run_dir)
        lacking = [name for name in FACTS if name not in run]
        if lacking:
            raise ConfigError(
                "the run does not say what images it was trained on",
                path=run_dir / "run.yml",
                expected=", ".join(FACTS),
                found=f"no {', '.join(lacking)}",
                remedy="Train it again with this gim_cv",
            )
        low, high = run["resolution_m"]
        several = len(run["classes"]) > 2
        _check_threshold(threshold)
        level = level_of(0.5) if several else _level(run_dir, threshold, evaluation)
        model = Segmentalist.load_from_metadata(run)
        about = {
            "run_sha256": run_digest(run_dir),
            "weights_sha256": sha256_of(run_dir / BEST_BY_VAL),
            "symmetries": symmetries,
            "threshold": threshold_of(level),
        }
        return cls(
            answers(model, symmetries=symmetries),
            tuple(run["classes"]),
            float(run["scale"]),
            level,
            len(run["band_names"]),
            tuple(run["band_names"]),
            str(run["image_dtype"]),
            (float(low), float(high)),
            about,
        )

    @classmethod
    def of_model(
        cls,
        model: Any,
        *,
        classes: Sequence[str],
        scale: float,
        threshold: float,
        symmetries: bool,
    ) -> Self:
        """Return a Keras model, ready for scenes of any resolution and type.

        Parameters
        ----------
        model
            Of (B, h, w, bands) to (B, h, w, 1) or (B, h, w, K), for any h and w.
        classes
            Names of the classes.
        scale
            Divisor of the images, as in its training.
        threshold, symmetries
            As for `of_run`.

        Raises
        ------
        ConfigError
            It answers another number of classes, or is no model of images; or `threshold` is no
            probability.
        """
        _check_threshold(threshold)
        shape = getattr(model, "input_shape", None)
        channels = getattr(model, "output_shape", (None,))[-1]
        expected = 1 if len(classes) == 2 else len(classes)
        bands = shape[-1] if isinstance(shape, tuple) and len(shape) == 4 else None
        if bands is None or channels != expected:
            raise ConfigError(
                f"no model of images for the classes {', '.join(classes)}",
                expected=f"(batch, row, col, band) to (batch, row, col, {expected})",
                found=type(model).__name__ if shape is None else f"{shape} to {model.output_shape}",
                remedy='Give a Keras model with `classes`, or a run as {"run_dir": …}',
            )
        level = level_of(threshold)
        return cls(
            answers(model, symmetries=symmetries),
            tuple(classes),
            scale,
            level,
            int(bands),
            None,
            None,
            None,
            {
                "model_sha256": _model_digest(model),
                "scale": scale,
                "symmetries": symmetries,
                "threshold": threshold_of(level),
            },
        )

    @property
    def channels(self) -> int:
        """Probabilities a pixel: one for two classes."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def threshold(self) -> float | None:
        """Probability from which a pixel is foreground; None: there are more than two classes."""
        return threshold_of(self.level) if self.channels == 1 else None

    def open_scene(self, scene: Scene, raw_dir: Path, *, resampling: str) -> ImageSource:
        """Return a scene of the catalog as `open_image` does; `raw_dir` has the sources."""
        return self.open_image(
            scene.image_paths(raw_dir), **scene.image_options(), resampling=resampling
        )

    def open_image(
        self,
        paths: Sequence[Path],
        *,
        bands: Sequence[int | str] | None,
        bounds: tuple[float, float, float, float] | None,
        nodata: float | None,
        image_crs: str | None,
        resampling: str,
        resolution_m: float | None = None,
    ) -> ImageSource:
        """Return an image with the bands, in the order, and at the resolution of the training.

        Parameters
        ----------
        paths, bands, bounds, nodata, image_crs, resampling
            As for `gim_cv.raster.open_image`. Without `bands`, those of the training are taken by
            name where the image has them all.
        resolution_m
            Instead of that of the training, m; 0: the image's own.

        Raises
        ------
        MissingError, DataError
            See `gim_cv.raster.open_image`; or its bands or type are not those of the training.
        """
        given: dict[str, Any] = {"bounds": bounds, "nodata": nodata, "image_crs": image_crs}
        given |= {"resampling": resampling}
        target, chosen = resolution_m, bands is not None
        if target is None:  # its own is looked up at another one: it may not be square
            target = 1.0 if self.resolution_m is None else self.resolution_m[0]
        image = open_image(list(paths), bands=bands, resolution_m=target, **given)
        if resolution_m is None:
            target = self._target_m(image.native)
        known = self.band_names
        if bands is None and known is not None and set(known) <= set(image.band_names):
            bands = known
        image = open_image(list(paths), bands=bands, resolution_m=target, **given)
        self._check(image, paths[0], chosen=chosen)
        return image

    def _check(self, image: ImageSource, path: Path, *, chosen: bool) -> None:
        known = self.band_names or image.band_names
        if len(image.band_names) != self.bands:
            raise DataError(
                "not the bands that the model was trained on",
                path=path,
                expected=f"{self.bands} ({', '.join(self.band_names or ('of any name',))})",
                found=f"{len(image.band_names)} ({', '.join(image.band_names)})",
                remedy="Choose them by `bands`, in the order of the training",
            )
        if not chosen and any(map(other_colour, image.band_names, known)):
            raise DataError(
                "a band is another colour than in the training",
                path=path,
                expected=", ".join(known),
                found=", ".join(image.band_names),
                remedy="Choose them by `bands`, in the order of the training",
            )
        if self.image_dtype not in {None, image.dtype.name}:
            raise DataError(
                "not the type of pixels that the model was trained on",
                path=path,
                expected=f"{self.image_dtype}, divided by {self.scale:g}",
                found=image.dtype.name,
                remedy="Convert the image with gdal_translate -ot -scale",
            )

    def _target_m(self, grid: PixelGrid) -> float:
        """Return the resolution to predict at, m; 0: the image's own, whose pixels are square."""
        low, high = self.resolution_m or (0.0, math.inf)
        own = math.sqrt(math.prod(grid.resolution_m))
        if own < low / (1 + NATIVE_TOLERANCE):
            return low
        if own > high * (1 + NATIVE_TOLERANCE):
            return high
        down, across = grid.resolution_m
        return 0.0 if abs(down / across - 1) <= SQUARE_TOLERANCE else own


def _check_threshold(threshold: float | None) -> None:
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError("threshold", expected="a probability, from 0 to 1", found=threshold)


def _level(run_dir: Path, threshold: float | None, evaluation: Path | None) -> int:
    if threshold is not None:
        return level_of(threshold)
    found = evaluation or find_evaluation(run_dir)
    scores = None if found is None else read_scores(found)
    if scores is None or scores["run_sha256"] != run_digest(run_dir):
        raise MissingError(
            "the run has no evaluation, which chooses the threshold",
            path=run_dir if found is None else found,
            remedy="Run dvc repro evaluate, or give a threshold: predict.threshold, or --threshold",
        )
    return int(scores["level"])


def _model_digest(model: Any) -> str:
    """Return a hash of what a model is made of and of its weights.

    Keras counts the layers of a process in their names: here they are numbered in their order.
    """
    text = json.dumps(model.get_config(), sort_keys=True, default=str)
    for number, layer in enumerate([model, *model.layers]):
        text = text.replace(json.dumps(layer.name), str(number))
    found = hashlib.sha256(text.encode())
    for weights in model.get_weights():
        found.update(np.ascontiguousarray(weights).tobytes())
    return found.hexdigest()
