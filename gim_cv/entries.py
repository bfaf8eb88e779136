"""The rows of the catalog's tables: sources, pairs, datasets, scenes."""

from __future__ import annotations

import math
from numbers import Integral, Real
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

NAME = r"^[A-Za-z0-9_-]+$"
SPLIT_NAME = Literal["train", "val", "test"]
RASTERS = (".tif", ".tiff", ".vrt", ".jp2", ".png", ".img", ".bmp")
"""Endings of label rasters; labels with any other are a vector file."""
OF_VECTORS = ("layer", "where", "class_attribute", "buffer_m")
"""Keys of a pair that say nothing about a label raster."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def attribute_text(value: object) -> str:
    """Return a value of a vector column as the catalog writes it: 3.0 is "3", none is "null"."""
    if value is None or (isinstance(value, Real) and math.isnan(value)):
        return "null"
    whole = isinstance(value, Real) and float(value).is_integer()
    return f"{value:.0f}" if whole and not isinstance(value, Integral) else str(value)


def _as_texts(value: Any) -> Any:
    """Let class keys be numbers and null, as YAML reads them."""
    if not isinstance(value, dict):
        return value
    for key in value:
        if isinstance(key, bool):
            found = str(key).lower()
            hint = f"{str(key)!r} where the column holds truth values"
            raise ValueError(  # noqa: TRY004
                f"YAML reads a key as {found}: put it in quotes, as {hint}"
            )
    return {attribute_text(key): number for key, number in value.items()}


def _as_rows(value: Any) -> Any:
    """Let mask values be a mapping, value: id."""
    if not isinstance(value, dict):
        return value
    return [{"value": key, "id": number} for key, number in value.items()]


IMAGE_OPTIONS = ("bands", "bounds", "nodata", "image_crs")
"""Keys that say how the files of an image are read."""


class Entry(BaseModel):
    """A frozen table row; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceFile(Entry):
    """One file of a source."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="hash of the file's bytes")
    member: str | None = Field(None, description="path inside the archive at `url`")
    url: str | None = Field(None, description="where this file alone comes from")


class Source(Entry):
    """Raw data that `fetch` can bring to `data/raw/<name>`."""

    url: str | None = Field(None, description="file:, https:, s3: or pypi:NAME==VERSION")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="hash of `url`")
    files: dict[str, SourceFile] = Field(
        default_factory=dict, description="target name → file; empty: all that `url` holds"
    )
    licence: str = Field(description="terms under which the data may be used")
    attribution: str = Field("", description="words that the licence asks for")

    @model_validator(mode="after")
    def _is_verifiable(self) -> Self:
        if self.url is None and not (self.files and all(f.url for f in self.files.values())):
            raise ValueError("give the source a url, or each of its files one")
        local = (self.url or "").startswith("file:")
        if not self.files and self.sha256 is None and not local:
            raise ValueError("give sha256, of the url or of each file, so that it can be verified")
        return self


class MaskValue(Entry):
    """One raw value of a label raster and the class it stands for."""

    value: int | tuple[int, int, int] = Field(description="pixel value, or an RGB triple")
    id: int = Field(ge=0, le=254, description="class id in the mask")


class Scene(Entry):
    """One image; paths are relative to `data/raw/<source>`."""

    name: str = Field(pattern=NAME, description="the key in the catalog")
    source: str = Field(pattern=NAME, description="folder of data/raw that holds the files")
    image: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        min_length=1, description="one raster, or single-band rasters in band order"
    )
    bands: tuple[int | str, ...] | None = Field(
        None, min_length=1, description="bands to keep: 1-based or names"
    )
    bounds: tuple[float, float, float, float] | None = Field(
        None, description="left, bottom, right, top in the image's CRS: use only this window"
    )
    nodata: float | None = Field(None, description="pixel value that means 'no image here'")
    image_crs: str | None = Field(None, description="CRS of an image that has none")

    @field_validator("bounds")
    @classmethod
    def _has_area(cls, bounds: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if bounds is not None and (bounds[0] >= bounds[2] or bounds[1] >= bounds[3]):
            raise ValueError("expected left < right and bottom < top")
        return bounds

    @field_validator("bands")
    @classmethod
    def _are_distinct(cls, bands: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        if bands is not None and len(set(bands)) < len(bands):
            raise ValueError("a band is named twice")
        return bands

    def image_paths(self, raw_dir: Path) -> list[Path]:
        """Return the image files under `raw_dir` (the project's `data/raw`)."""
        return [raw_dir / self.source / part for part in self.image]

    def image_options(self) -> dict[str, Any]:
        """Return what is said of the image besides its files, as `raster.open_image` takes it."""
        return {key: getattr(self, key) for key in IMAGE_OPTIONS}


class Pair(Scene):
    """One image and its labels; paths are relative to `data/raw/<source>`."""

    labels: str = Field(description="vector file or label raster")
    labels_crs: str | None = Field(None, description="CRS of labels (and areas) that have none")
    layer: str | None = Field(None, description="layer of a vector file with several")
    where: str | None = Field(None, description="OGR attribute filter on the vector labels")
    class_attribute: str | None = Field(None, description="vector column that names the class")
    classes: Annotated[
        dict[str, Annotated[int, Field(ge=0, le=254)]] | None, BeforeValidator(_as_texts)
    ] = Field(None, description="value of class_attribute (null where it has none) → class id")
    class_names: tuple[str, ...] = Field(
        ("background", "building"), min_length=2, description="name of class 0, 1, …"
    )
    mask_values: Annotated[tuple[MaskValue, ...] | None, BeforeValidator(_as_rows)] = Field(
        None,
        description="raw value of a label raster → class id, 0 → 0 where none has class 0; or a "
        "list of value and id",
    )
    ignore_values: tuple[int | str | tuple[int, int, int] | None, ...] = Field(
        (),
        description="values (or RGB triples) of a label raster, or of class_attribute, that mean "
        "'unknown'",
    )
    all_touched: bool | None = Field(None, description="overrides prepare.all_touched")
    buffer_m: float = Field(0.0, description="grows (or, below 0, shrinks) each polygon, m")
    aoi: str | None = Field(None, description="vector file: the area that is fully labelled")
    split: SPLIT_NAME | None = Field(None, description="forces the whole pair into one split")
    split_areas: str | None = Field(
        None, description="vector file whose column `split` says which ground trains, vals or tests"
    )

    @model_validator(mode="after")
    def _is_split_once(self) -> Self:
        if self.split is not None and self.split_areas is not None:
            raise ValueError("give split or split_areas, not both")
        return self

    @model_validator(mode="after")
    def _classes_are_named(self) -> Self:
        if (self.class_attribute is None) != (self.classes is None):
            raise ValueError("class_attribute and classes go together")
        ids = [*(self.classes or {}).values(), *(m.id for m in self.mask_values or ())]
        if ids and max(ids) >= len(self.class_names):
            raise ValueError(f"class_names has no name for class {max(ids)}")
        return self

    @model_validator(mode="after")
    def _keys_fit_the_labels(self) -> Self:
        """Refuse what would be overlooked."""
        raster = self.has_label_raster
        given = [name for name in OF_VECTORS if getattr(self, name)]
        if raster and given:
            raise ValueError(f"{given[0]} is for vector labels, and labels is a raster")
        if not raster and self.mask_values is not None:
            raise ValueError("mask_values is for a label raster, and labels is a vector file")
        if not raster and self.ignore_values and self.class_attribute is None:
            raise ValueError("ignore_values of vector labels needs class_attribute")
        if raster and not all(isinstance(value, int | tuple) for value in self.ignore_values):
            raise ValueError("ignore_values of a label raster are whole numbers or RGB triples")
        if not raster and any(isinstance(value, tuple) for value in self.ignore_values):
            raise ValueError("ignore_values of vector labels are numbers or words, not triples")
        return self

    @property
    def has_label_raster(self) -> bool:
        """Whether the labels are a raster, by the file's ending."""
        return PurePosixPath(self.labels).suffix.lower() in RASTERS

    def labels_path(self, raw_dir: Path) -> Path:
        """Return the label file under `raw_dir`."""
        return raw_dir / self.source / self.labels

    def aoi_path(self, raw_dir: Path) -> Path | None:
        """Return the file that bounds the labelled area under `raw_dir`, if there is one."""
        return None if self.aoi is None else raw_dir / self.source / self.aoi

    def split_areas_path(self, raw_dir: Path) -> Path | None:
        """Return the file that says which ground is in which split under `raw_dir`, if any."""
        return None if self.split_areas is None else raw_dir / self.source / self.split_areas


class DatasetSpec(Entry):
    """A tag that names several pairs."""

    pairs: tuple[str, ...] = Field(min_length=1, description="names of pairs")
    resolution_m: float = Field(
        gt=0,
        description="nominal ground resolution, m per px; prepare.resolution_m resamples to one",
    )
    aliases: tuple[str, ...] = Field((), description="other tags for the same pairs")
    description: str = Field("", description="what a reader should know")
