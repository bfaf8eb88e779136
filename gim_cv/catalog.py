"""The catalog: which raw data there is, and under which names it is used.

`data/catalog.yaml` holds four tables: `sources` (what `fetch` brings to
`data/raw/<source>`), `pairs` (one image and its labels under a name),
`datasets` (a tag for several pairs) and `scenes` (images to predict).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from gim_cv.entries import (
    NAME,
    RASTERS,
    DatasetSpec,
    Entry,
    MaskValue,
    Pair,
    Scene,
    Source,
    SourceFile,
    attribute_text,
)
from gim_cv.errors import UnknownError
from gim_cv.yamlfile import first_fault, read_yaml

__all__ = [
    "NAME",
    "RASTERS",
    "Catalog",
    "DatasetSpec",
    "MaskValue",
    "Pair",
    "Scene",
    "Source",
    "SourceFile",
    "attribute_text",
    "load_catalog",
]

UNSEEN = frozenset({"size", "nfiles"})
"""Keys that DVC leaves out, at any depth, when it looks for a result of the same parameters."""


class Catalog(Entry):
    """All sources, pairs, datasets and scenes of a project."""

    path: Path
    sources: dict[Annotated[str, Field(pattern=NAME)], Source] = Field(default_factory=dict)
    pairs: dict[str, Pair]
    datasets: dict[Annotated[str, Field(pattern=NAME)], DatasetSpec]
    scenes: dict[str, Scene] = Field(default_factory=dict)

    @classmethod
    def tables(cls) -> list[str]:
        """Return the names of the tables; dvc.yaml reads each, empty or not."""
        return [name for name in cls.model_fields if name != "path"]

    @model_validator(mode="before")
    @classmethod
    def _dvc_sees_all_names(cls, data: dict[str, Any]) -> dict[str, Any]:
        for name in UNSEEN & set(_keys(data)):
            raise ValueError(f"DVC overlooks what is named {name!r}: choose another name")
        return data

    @model_validator(mode="before")
    @classmethod
    def _name_images(cls, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, **{key: _named(data[key]) for key in ("pairs", "scenes") if key in data}}

    @model_validator(mode="after")
    def _datasets_exist(self) -> Self:
        for tag, spec in self.datasets.items():
            for name in spec.pairs:
                if name not in self.pairs:
                    raise ValueError(
                        f"datasets.{tag} names the pair {name!r}, which is not defined"
                    )
        return self

    @model_validator(mode="after")
    def _names_are_clear(self) -> Self:
        owners = {tag: tag for tag in self.datasets}
        for tag, spec in self.datasets.items():
            for alias in spec.aliases:
                if owners.setdefault(alias, tag) != tag:
                    raise ValueError(f"datasets.{tag} has the alias {alias!r} of {owners[alias]!r}")
            for name in {tag, *spec.aliases} & set(self.pairs):
                if name not in spec.pairs:
                    raise ValueError(f"datasets.{tag} has the name of the pair {name!r}, not in it")
        return self

    @cached_property
    def tags(self) -> dict[str, str]:
        """Every dataset tag and alias, each with the tag that defines it."""
        own = {tag: tag for tag in self.datasets}
        return own | {a: tag for tag, spec in self.datasets.items() for a in spec.aliases}

    def pair(self, name: str) -> Pair:
        """Return the pair `name`, or raise UnknownError with the nearest names."""
        if name not in self.pairs:
            raise UnknownError.among("pair", name, self.pairs, path=self.path)
        return self.pairs[name]

    def scene(self, name: str) -> Scene:
        """Return the scene `name`, or raise UnknownError with the nearest names."""
        if name not in self.scenes:
            raise UnknownError.among("scene", name, self.scenes, path=self.path)
        return self.scenes[name]

    def source(self, name: str) -> Source:
        """Return the source `name`, or raise UnknownError with the nearest names."""
        if name not in self.sources:
            raise UnknownError.among("source", name, self.sources, path=self.path)
        return self.sources[name]

    def members(self, tag: str) -> tuple[str, ...]:
        """Return the names of the pairs of a dataset; a pair's name stands for itself.

        Raises
        ------
        UnknownError
            Neither a dataset nor a pair has that name; the nearest names are listed.
        """
        if tag in self.tags:
            return self.datasets[self.tags[tag]].pairs
        if tag in self.pairs:
            return (tag,)
        known = {*self.tags, *self.pairs}
        remedy = "Define it, or mend the name, e.g. `datasets` in params.yaml"
        raise UnknownError.among("dataset or pair", tag, known, path=self.path, remedy=remedy)

    def pairs_of(self, tags: tuple[str, ...]) -> list[str]:
        """Return the sorted names of all pairs of the datasets (or single pairs) `tags`."""
        return sorted({name for tag in tags for name in self.members(tag)})


def _named(rows: object) -> object:
    """Return a table's rows, each with its key as its name."""
    if not isinstance(rows, dict):
        return rows
    return {k: {"name": k, **row} if isinstance(row, dict) else row for k, row in rows.items()}


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _keys(item)


def load_catalog(path: Path) -> Catalog:
    """Return the catalog in a YAML file.

    Raises
    ------
    MissingError
        There is no such file.
    ConfigError
        It is not a valid catalog; the first wrong entry is named.
    """
    data = read_yaml(path)
    try:
        return Catalog(path=Path(PurePosixPath(path)), **data)
    except ValidationError as err:
        raise first_fault(err, path, Catalog) from err
