"""YAML files that a person writes: read, and their first fault told in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from gim_cv.errors import ConfigError, MissingError, nearest

WORDS = {
    "missing": "required key is missing",
    "tuple_type": "not a list",
    "dict_type": "not a mapping",
    "model_type": "not a mapping",
    "model_attributes_type": "not a mapping",
}
"""Kinds of faults that pydantic tells in the words of Python."""


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which no mapping has a key twice: the first would be overlooked."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """Return a mapping, or raise ConstructorError where a key comes a second time."""
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):  # which DVC cannot hash either
                what = "a list cannot be a key; a colour: [{value: [255, 0, 0], id: 1}]"
                raise yaml.constructor.ConstructorError(None, None, what, key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key_node.tag != "tag:yaml.org,2002:merge" and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} comes a second time", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises
    ------
    MissingError
        There is no such file.
    ConfigError
        It is not YAML, not a mapping, or has a key twice.
    """
    if not path.is_file():
        remedy = "Run at the root of a gim_cv project, or name the root in GIM_CV_ROOT"
        raise MissingError("no such file", path=path, remedy=remedy)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), UniqueKeyLoader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as err:
        raise ConfigError(f"not YAML: {' '.join(str(err).split())}", path=path) from err
    if not isinstance(data, dict):
        raise ConfigError(
            "wrong content", path=path, expected="a mapping", found=type(data).__name__
        )
    return data


def first_fault(err: ValidationError, path: Path, model: type[BaseModel]) -> ConfigError:
    """Return a pydantic error's first fault as one sentence that names file and key.

    An unknown key comes before all else: where one is misspelt, another is missing too.

    Parameters
    ----------
    err
        What `model` said of the file's content.
    path
        The file.
    model
        Says which keys are known.
    """
    faults = err.errors(include_url=False)
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    key = ".".join(str(part) for part in fault["loc"])
    found, expected, remedy = fault.get("input"), None, None
    shown = repr(found) if isinstance(found, str | int | float | bool) else None
    message = WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
    if fault["type"] == "extra_forbidden":
        known = _model_at(model, fault["loc"][:-1]).model_fields
        message, shown = "unknown key", None
        expected = f"one of {', '.join(nearest(str(fault['loc'][-1]), known))}"
    if fault["type"] == "missing" and isinstance(fault["loc"][-1], int):
        message = "too few values"
    if isinstance(found, str) and found.lower() in {"none", "nil"}:
        remedy = "Write null for none"
    if found is None and fault["type"] in WORDS and fault["type"] != "missing":
        shown = "nothing"
    others = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    where = f"{path}:{key}" if key else path
    return ConfigError(
        f"{message}{others}", path=where, expected=expected, found=shown, remedy=remedy
    )


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model of a table, given the keys that lead to it."""
    parts = iter(loc)
    for part in parts:
        kind = model.model_fields[str(part)].annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            model = kind
        else:
            model = next(one for one in _models(kind))
            next(parts)  # the key of a row, or its number
    return model


def _models(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in _models(part)]
