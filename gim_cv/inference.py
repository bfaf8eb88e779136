"""Inference datasets: images that a trained model is to predict, one or several at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sklearn.pipeline import Pipeline

from gim_cv.catalog import Scene
from gim_cv.config import project
from gim_cv.cuts import read_inference_pipeline
from gim_cv.entries import IMAGE_OPTIONS
from gim_cv.errors import ConfigError, GimError, RunError, UnknownError
from gim_cv.files import Source, check_name, chosen_bands, name_of, paths_of
from gim_cv.givenmodel import is_run, predictor_for
from gim_cv.maps import CLASSES
from gim_cv.pipelines import get_image_inference_pipeline
from gim_cv.prediction import Options, PruneFn, predict_scene
from gim_cv.predictor import Predictor
from gim_cv.raster import ImageSource, open_image
from gim_cv.scheduling import one_by_one

log = logging.getLogger(__name__)
Out = TypeVar("Out")
HOW = {
    "overlap": 0.5,
    "batch": 4,
    "min_area_m2": 0.0,
    "fill_holes_m2": 0.0,
    "simplify_px": 0.0,
}


class Plan(NamedTuple):
    """What is to be done with an image."""

    image: ImageSource
    predictor: Predictor
    options: Options
    folder: Path


class InferenceDataset:
    """One image to predict.

    Parameters
    ----------
    image_src
        Raster, or single-band rasters of one grid; or a scene or pair of the catalog, its files
        under `raw_dir`.
    image_pipeline_factory
        Returns the preprocessing pipeline. It says how large the windows are that the model sees,
        at which resolution, of which bands, and by what values are divided.
    tag
        The dataset that the image belongs to.
    bands
        Numbers from 1, or names, of which the pipeline may keep some; None: those of the entry, or
        those that the model was trained on.
    prune_fn
        Takes the pixels (h, w, C) of a window; True: it is background, the model is not asked.
        Windows without a valid pixel are left out in any case.
    raw_dir
        Folder of the catalog's sources, with an entry of the catalog.
    name
        Of the folder of its results; None: the entry's name, or the file's.

    Examples
    --------
    ``InferenceDataset("a.tif") + InferenceDataset("b.tif")``
    """

    def __init__(
        self,
        image_src: Source | Scene,
        image_pipeline_factory: Callable[[], Pipeline] = get_image_inference_pipeline,
        *,
        tag: str = "",
        bands: Sequence[int | str] | None = None,
        prune_fn: PruneFn | None = None,
        raw_dir: Path | None = None,
        name: str | None = None,
    ) -> None:
        check_name(name)
        self.look = read_inference_pipeline(image_pipeline_factory())
        self.bands = bands
        self._entry = image_src if isinstance(image_src, Scene) else None
        if isinstance(image_src, Scene):
            self.image_paths = image_src.image_paths(raw_dir or Path())
        else:
            self.image_paths = list(paths_of(image_src))
        own = name_of(self.image_paths[0]) if self._entry is None else self._entry.name
        self.name, self.prune_fn = name or own, prune_fn
        self.tag = tag or self.name
        self._prepared = False
        self._target_m: float | None = None
        self._plan: Plan | None = None

    def prepare(self) -> None:
        """Look at the image's header: nothing more is read before the masks are written.

        Raises
        ------
        MissingError, DataError
            See `gim_cv.raster.open_image`.
        """
        image = open_image(self.image_paths, resolution_m=1.0, **self._options())
        factor, own = self.look.resample_factor, math.sqrt(math.prod(image.native.resolution_m))
        self._target_m = None if factor == 1.0 else own / factor
        self._prepared = True

    def schedule_inference(
        self,
        model: Any,
        output_directory: str | Path | None = None,
        *,
        classes: Sequence[str] = ("background", "building"),
        threshold: float | None = None,
        symmetries: bool = False,
        **how: float,
    ) -> None:
        """Say what predicts the image, how, and where the results go; nothing is computed yet.

        Parameters
        ----------
        model
            A Keras model of images; a run, as a row of ``collate_run_data`` (of any revision),
            whose best weights, bands, scale and resolution are taken; or a `Predictor`.
        output_directory
            The results are in a folder of it, under the image's name; None: ``data/predictions``.
        classes
            Names of the classes of a Keras model.
        threshold
            Probability (0–1) from which a pixel is of class 1; None: of a run, the one that its
            evaluation chose; of a Keras model, 0.5.
        symmetries
            Whether a prediction is the mean over the eight turns and mirror images of a window.
        how
            Of `gim_cv.prediction.Options`: ``overlap`` (0.5 where it is not given), ``batch`` (4),
            ``min_area_m2``, ``fill_holes_m2`` and ``simplify_px`` (0).

        Raises
        ------
        RunError
            Nothing is prepared yet.
        ConfigError, MissingError
            See `gim_cv.givenmodel.predictor_for`.
        UnknownError
            There is no such option in `how`.
        DataError
            The image has other bands or another type than those that the run was trained on.
        """
        if not self._prepared:
            raise RunError(f"{self.name} is not prepared", remedy="Call prepare()")
        for name in how:
            if name not in HOW:
                raise UnknownError.among("option", name, HOW)
        predictor = predictor_for(model, classes, self.look.scale, threshold, symmetries=symmetries)
        image = predictor.open_image(
            self.image_paths, resolution_m=self._target_m, **self._options()
        )
        options = Options(window_px=self.look.window_px, **{**HOW, **how})  # type: ignore[arg-type]
        home = project().predictions if output_directory is None else Path(output_directory)
        self._plan = Plan(image, predictor, options, home / self.name)

    def write_mask_raster(self, overwrite: bool = False) -> Path:  # noqa: FBT001, FBT002
        """Predict the image; return the raster of class ids, beside which the other results are.

        Parameters
        ----------
        overwrite
            Whether older results are replaced. Without it, finished results of the same image,
            model and options stay as they are, and any other ones are an error.

        Raises
        ------
        RunError
            Nothing is scheduled yet; or other results are in the way.
        DataError
            Pixels cannot be read; the model's answers are no probabilities.
        """
        if self._plan is None:
            raise RunError(f"{self.name} is not scheduled", remedy="Call schedule_inference()")
        plan = self._plan
        predict_scene(
            plan.image,
            plan.predictor,
            plan.folder,
            plan.options,
            overwrite=overwrite,
            prune_fn=self.prune_fn,
            progress=self.name,
        )
        return plan.folder / CLASSES

    def __add__(
        self, other: InferenceDataset | CompositeInferenceDataset
    ) -> CompositeInferenceDataset:
        """Return a composite of both; neither is changed."""
        return CompositeInferenceDataset([self, other])

    def __radd__(self, other: int) -> CompositeInferenceDataset:
        """Return a composite of this one: ``sum`` begins with 0."""
        return NotImplemented if other != 0 else CompositeInferenceDataset([self])

    def _options(self) -> dict[str, Any]:
        """Return what is said of the image besides its files, for `open_image`."""
        entry, channels = self._entry, self.look.bands
        said = dict.fromkeys(IMAGE_OPTIONS) if entry is None else entry.image_options()
        options = {**said, "bands": self.bands or said["bands"], "resampling": "bilinear"}
        if channels is not None:
            options["bands"] = chosen_bands(options["bands"], channels, self.name)
        return options


class CompositeInferenceDataset:
    """Several images to predict with one model. ``a + b`` is ``CompositeInferenceDataset([a, b])``.

    Parameters
    ----------
    constituents
        Inference datasets; those of a composite are taken out of it.

    Attributes
    ----------
    failures : dict of str to GimError
        Images that are left out, by name, and why: see `prepare`.

    Raises
    ------
    ConfigError
        There are no constituents, or two of them have one name.
    """

    def __init__(
        self, constituents: Sequence[InferenceDataset | CompositeInferenceDataset]
    ) -> None:
        self.constituents = list(_flat(constituents))
        names = [part.name for part in self.constituents]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise ConfigError(
                "images to predict",
                expected="at least one, and a name for each",
                found=f"{twice[0]!r} twice" if twice else "none",
                remedy="Give one another name: InferenceDataset(…, name=…)",
            )
        self.failures: dict[str, GimError] = {}

    @property
    def tags(self) -> list[str]:
        """Tags of the constituents, sorted, each once."""
        return sorted({part.tag for part in self.constituents})

    def prepare(self, skip_failures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Prepare all constituents: see `InferenceDataset.prepare`.

        Parameters
        ----------
        skip_failures
            Whether to go on after an image that fails, here and in the other methods: it is logged
            as an error, kept in `failures`, and left out until `prepare` is called again. False:
            the first error is raised.
        """
        self.failures = {}
        self._each(InferenceDataset.prepare, skip_failures=skip_failures)

    def schedule_inference(
        self,
        model: Any,
        output_directory: str | Path | None = None,
        skip_failures: bool = False,  # noqa: FBT001, FBT002
        **options: Any,
    ) -> None:
        """Schedule all constituents with one model: see `InferenceDataset.schedule_inference`."""
        if is_run(model):  # its weights are loaded once
            threshold, symmetries = options.get("threshold"), options.get("symmetries", False)
            model = predictor_for(model, (), 1.0, threshold, symmetries=symmetries)

        def schedule(part: InferenceDataset) -> None:
            part.schedule_inference(model, output_directory, **options)

        self._each(schedule, skip_failures=skip_failures)

    def write_mask_rasters(
        self,
        overwrite: bool = False,  # noqa: FBT001, FBT002
        skip_failures: bool = False,  # noqa: FBT001, FBT002
    ) -> list[Path]:
        """Predict all images; return the rasters of class ids, see `write_mask_raster`.

        Parameters
        ----------
        overwrite
            Whether older results are replaced.
        skip_failures
            See `prepare`.

        Raises
        ------
        RunError, DataError
            See `InferenceDataset.write_mask_raster`; or every single image failed.
        """

        def write(part: InferenceDataset) -> Path:
            return part.write_mask_raster(overwrite)

        return self._each(write, skip_failures=skip_failures)

    def _each(self, step: Callable[[InferenceDataset], Out], *, skip_failures: bool) -> list[Out]:
        """Return what `step` returns for each constituent that has not failed."""

        def failed(part: InferenceDataset, err: GimError) -> None:
            log.error("%s is not predicted: %s", part.name, err)
            self.failures[part.name] = err

        left = [part for part in self.constituents if part.name not in self.failures]
        done = one_by_one(step, left, failed=failed if skip_failures else None)
        if not done:
            raise next(iter(self.failures.values()))
        return done

    def __add__(
        self, other: InferenceDataset | CompositeInferenceDataset
    ) -> CompositeInferenceDataset:
        """Return a composite of both; neither is changed."""
        return CompositeInferenceDataset([self, other])

    def __radd__(self, other: int) -> CompositeInferenceDataset:
        """Return the composite itself: ``sum`` begins with 0."""
        return NotImplemented if other != 0 else self


def _flat(
    parts: Sequence[InferenceDataset | CompositeInferenceDataset],
) -> Iterator[InferenceDataset]:
    for part in parts:
        if isinstance(part, CompositeInferenceDataset):
            yield from part.constituents
        else:
            yield part
