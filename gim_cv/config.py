"""Parameters and paths of a project.

``load_params`` is the only reader of params.yaml. No field has a default: a default
in code would be a parameter that DVC cannot see.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gim_cv.yamlfile import first_fault, read_yaml


class Section(BaseModel):
    """A frozen section of params.yaml; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Prepare(Section):
    """How one image and its labels become patches."""

    patch_px: int = Field(ge=16, le=4096, multiple_of=16, description="side of a patch, px")
    overlap: float = Field(ge=0, lt=1, description="share of a patch that its neighbour repeats")
    resolution_m: float = Field(ge=0, description="ground size of a pixel, m; 0 keeps the native")
    resampling: Literal["bilinear", "cubic"] = Field(description="kernel when enlarging")
    mask_fraction: float = Field(
        ge=0, lt=1, description="a resampled pixel is positive where more than this share of it is"
    )
    all_touched: bool = Field(description="burn every pixel that a polygon touches")
    min_valid: float = Field(ge=0, le=1, description="smallest share of valid pixels in a patch")
    min_labelled: float = Field(ge=0, le=1, description="smallest share of labelled pixels")


class Split(Section):
    """Which ground trains, validates and tests."""

    mode: Literal["blocks", "pairs"] = Field(description="split by ground blocks or whole pairs")
    block_m: float = Field(gt=0, description="side of a ground block, m")
    fractions: tuple[float, ...] = Field(
        min_length=2, max_length=3, description="shares of train, val and (optional) test"
    )
    seed: int = Field(ge=0, description="seed of the assignment; changing it moves the test set")
    buffer_m: float = Field(ge=0, description="ground left out between two splits, m")
    folds: int = Field(ge=0, description="k of k-fold cross-validation; 0 is off")
    fold: int = Field(ge=0, description="which of the folds validates, from 0")

    @model_validator(mode="after")
    def _is_partition(self) -> Self:
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError("fractions are shares from 0 to 1 that sum to 1")
        if self.folds == 1 or self.fold >= max(self.folds, 1):
            raise ValueError("folds is 0 or at least 2, and fold is below it")
        return self


class Combine(Section):
    """How the pairs' stores become one shuffled store."""

    shuffle_seed: int = Field(ge=0, description="seed of the permutation")
    memory_mib: int = Field(ge=64, description="memory that the shuffle may use, MiB")


class Model(Section):
    """What the Segmentalist is made of."""

    block: Literal["bottleneck", "basic"] = Field(
        description="3×3 to half the channels, 3×3, 1×1; or 3×3 twice, to all"
    )
    layer_blocks: int = Field(ge=1, description="residual blocks in each stage")
    last_decoder_layer_blocks: int = Field(ge=1, description="residual blocks at full size")
    initial_filters: int = Field(ge=2, description="channels of the stem and of the last stage")
    residual_filters: tuple[int, ...] = Field(
        min_length=1, description="channels of each encoder stage; the last is the bridge"
    )
    initial_kernel_size: int = Field(ge=1, description="kernel of the stem, px")
    head_kernel_size: int = Field(ge=1, description="kernel of the head, px")
    cardinality: int = Field(ge=1, description="groups of a block's second 3×3 convolution")
    act: str = Field(description="a Keras activation")
    downsample: Literal["pool", "strides"] = Field(description="how a stage halves the image")
    decoder_attention_gates: Literal["SAG", "CSAG"] | None = Field(
        description="gates on the skips: spatial, channel and spatial, none"
    )
    encoder_cbam: bool = Field(description="channel and spatial attention in encoder blocks")
    decoder_cbam: bool = Field(description="channel and spatial attention in decoder blocks")
    pyramid_pooling: bool = Field(description="the pooled image joins each encoder stage")
    deep_supervision: bool = Field(description="logits of every decoder stage are summed")
    lambda_conv: bool = Field(description="lambda layers in encoder blocks")
    multi_level_skip: bool = Field(description="a decoder stage gets all deeper skips")


class Train(Section):
    """How the model is trained."""

    epochs: int = Field(ge=1, description="passes over the train split, at most")
    batch: int = Field(ge=1, description="patches per step")
    optimizer: Literal["adam", "adamw", "ranger", "sgd"] = Field(description="update rule")
    learning_rate: float = Field(gt=0, description="largest learning rate")
    weight_decay: float = Field(ge=0, description="decoupled weight decay; 0 is off")
    clipnorm: float = Field(ge=0, description="largest norm of all gradients; 0 is off")
    schedule: Literal["constant", "cosine", "one_cycle", "plateau"] = Field(
        description="how the learning rate changes"
    )
    warmup_epochs: float = Field(ge=0, description="epochs of linear rise (cosine)")
    final_share: float = Field(ge=0, le=1, description="last learning rate / largest")
    plateau_patience: int = Field(ge=1, description="epochs without progress before a drop")
    plateau_factor: float = Field(ge=0, le=1, description="what a drop multiplies by")
    patience: int = Field(ge=0, description="epochs without progress before the end; 0 is off")
    swa_share: float = Field(
        ge=0, le=1, description="last share of `epochs` that is averaged; 0 is off"
    )
    swa_batches: int = Field(ge=1, description="batches that re-estimate batch-norm statistics")
    sheet_epochs: int = Field(
        ge=0, description="epochs between pictures of what it says of validation patches; 0 is off"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        description="type of the arithmetic; weights and losses stay float32"
    )
    class_weights: Literal["balanced"] | tuple[float, ...] | None = Field(
        description="weight of each class in the loss: balanced, numbers, or none"
    )
    oversample: float | None = Field(
        gt=0, lt=1, description="share of train patches with a building, by repetition"
    )
    threshold: float = Field(ge=0, le=1, description="probability of a positive, in the history")
    deterministic: bool = Field(description="only operations that repeat to the bit")
    workers: int = Field(ge=0, description="threads that read and augment; changes no result")
    devices: Literal[0, 1] = Field(description="1, or 0 for all accelerators of the machine")


class Augment(Section):
    """How train patches are varied."""

    recipe: Literal["none", "light", "affine", "strong", "device"] = Field(
        description="none; flips, turns, mild brightness; also rotation, zoom and colour; "
        "the full list; or light on the device"
    )
    p: float = Field(ge=0, le=1, description="probability that a patch is varied at all")
    fancy_pca_alpha: float = Field(ge=0, description="spread of the colour PCA; 0 is off")


class Evaluate(Section):
    """How a trained model is scored."""

    batch: int = Field(ge=1, description="patches at a time")
    threshold: float | None = Field(
        ge=0, le=1, description="probability of a positive; none: the best on validation ground"
    )
    symmetries: bool = Field(
        description="a prediction is the mean over a patch's eight turns and mirror images"
    )


class Predict(Section):
    """How the scenes of the catalog are predicted."""

    window_px: int = Field(ge=16, le=8192, description="side of the windows the model sees, px")
    overlap: float = Field(ge=0, lt=1, description="share of a window that its neighbour repeats")
    batch: int = Field(ge=1, description="windows at a time")
    threshold: float | None = Field(
        ge=0, le=1, description="probability of a positive; none: the one that evaluate chose"
    )
    symmetries: bool = Field(
        description="a prediction is the mean over a window's eight turns and mirror images"
    )
    min_area_m2: float = Field(ge=0, description="smaller polygons are left out, m²")
    fill_holes_m2: float = Field(ge=0, description="smaller holes in polygons are filled, m²")
    simplify_px: float = Field(
        ge=0, description="how far an outline may be moved to have fewer corners, px"
    )


class Report(Section):
    """What the page about a run shows."""

    patches_shown: int = Field(ge=1, le=100, description="patches in each gallery")


def _as_tags(value: Any) -> Any:
    parts = value.split(",") if isinstance(value, str) else value
    return [part.strip() for part in parts] if isinstance(parts, list) else parts


class Params(Section):
    """All of params.yaml."""

    loss: str = Field(min_length=1, description="name of a loss, or name:key=value,key=value")
    datasets: Annotated[tuple[str, ...], BeforeValidator(_as_tags)] = Field(
        min_length=1, description="tags of the catalog's datasets (or pairs) to train on"
    )
    seed: int = Field(ge=0, description="seed of initial weights, batch order and augmentation")
    loss_args: dict[str, dict[str, float]] = Field(description="loss name → its coefficients")
    prepare: Prepare
    split: Split
    combine: Combine
    model: Model
    train: Train
    augment: Augment
    evaluate: Evaluate
    predict: Predict
    report: Report


def load_params(path: Path) -> Params:
    """Return the parameters in a YAML file.

    Raises
    ------
    MissingError
        There is no such file.
    ConfigError
        A value is missing, unknown or out of range; the first fault is named.
    """
    try:
        return Params(**read_yaml(path))
    except ValidationError as err:
        raise first_fault(err, path, Params) from err


def override(key: str, value: str | float | None) -> str:
    """Return what sets one parameter: ``key=value`` for ``dvc exp run --set-param``.

    Text is quoted where DVC would read more than one value from it.
    """
    if value is None or isinstance(value, bool):
        value = "null" if value is None else str(value).lower()
    text = str(value)
    if not re.fullmatch(r"[\w.+-]+", text):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{key}={text}"


class Project:
    """The folders of a project, each relative to its root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.params = root / "params.yaml"
        self.catalog = root / "data" / "catalog.yaml"
        self.raw = root / "data" / "raw"
        self.recipes = root / "data" / "recipes"
        self.patches = root / "data" / "patches"
        self.prepared = root / "data" / "prepared"
        self.tmp = root / "data" / ".tmp"
        self.manifest = root / "data" / "manifest.json"
        self.combined = root / "data" / "combined.zarr"
        self.models = root / "data" / "models"
        self.results = root / "data" / "results"
        self.predictions = root / "data" / "predictions"


def project() -> Project:
    """Return the project that the working directory is the root of (or ``GIM_CV_ROOT`` names)."""
    return Project(Path(os.environ.get("GIM_CV_ROOT", ".")))


SEED_PATHS = {
    "raw_data_path": "raw",
    "proc_data_path": "prepared",
    "models_path": "models",
    "models_volume_path": "models",
    "predictions_data_tif_path": "predictions",
}
"""The path names of the seed's ``cfg`` and the folders they stand for here.

Arrays that a script saves have a folder of their own: what is in ``patches`` is DVC's."""


def __getattr__(name: str) -> Path:
    if name not in SEED_PATHS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    path: Path = getattr(project(), SEED_PATHS[name])
    return path
