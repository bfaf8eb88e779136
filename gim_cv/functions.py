"""What a function does, told from its code: two that do otherwise have two names in a recipe.

The byte code is what runs, whatever has become of the source file, and holds no path, line or
comment. Another version of Python has another: a store is then made again rather than trusted.
"""

from __future__ import annotations

import copyreg
import dis
import hashlib
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cached_property, partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from gim_cv.errors import ConfigError
from gim_cv.recipe import canonical_json, sha256_text

PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
INSTALLED = {"site-packages", "dist-packages"}
PLAIN = (bool, int, float, complex, str, type(None))


def function_name(function: Callable[..., Any]) -> str:
    """Return a function's name and, unless it is a library's, a digest of what it does.

    The digest covers its byte code, constants, defaults, closure and the globals that it uses, the
    arguments of a `partial`, the state of an object with ``__call__``, and so on for each of these.
    What an installed package has under a name counts by that name.

    Raises
    ------
    ConfigError
        It depends on something that has no repeatable description, such as an open file.

    Examples
    --------
    >>> import statistics
    >>> function_name(statistics.mean)
    'statistics.mean'
    """
    label = _label(function)
    if _is_named(function):
        return label
    return f"{label}, {PYTHON} code {digest_of(function, label)}"


def value_name(value: Any) -> str:
    """Return a value as text without an address: its ``repr`` if it is plain, or its digest.

    Raises
    ------
    ConfigError
        It has no repeatable description.
    """
    return repr(value) if _is_plain(value) else function_name(value)


def is_own(kind: type) -> bool:
    """Return whether a class is the user's, not one of an installed package."""
    return not _is_installed(kind.__module__)


def digest_of(value: object, label: str) -> str:
    """Return 16 hexadecimal digits that tell `value`, called `label` in errors, from others."""
    return sha256_text(canonical_json(_Description(label).of(value)))[:16]


def _label(value: Any) -> str:
    while isinstance(value, partial):
        value = value.func
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__ or 'builtins'}.{named.__qualname__}"


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(part) for item in value.items() for part in item)
    if type(value) in (tuple, list):
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    return type(value) in PLAIN


def _is_installed(module: str | None) -> bool:
    top = (module or "builtins").partition(".")[0]
    if top == "gim_cv" or top in sys.stdlib_module_names:
        return True
    found = sys.modules.get(top)
    places = [getattr(found, "__file__", None), *getattr(found, "__path__", ())]
    return any(INSTALLED & set(Path(place).parts) for place in places if place)


def _is_named(value: Any) -> bool:
    """Return whether a module of an installed package has the value under its own name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or not _is_installed(module):
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


class _Description:
    """Values as JSON: equal in every process of one version of Python if they do the same.

    Parameters
    ----------
    label
        What is described, for errors.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._numbers: dict[int, int] = {}
        self._kept: list[object] = []  # or an address could be used again
        self._within: set[int] = set()

    def of(self, value: Any) -> object:
        """Return the description of any value."""
        if type(value) in PLAIN or value is Ellipsis:
            return [type(value).__name__, repr(value)]
        if _is_named(value):
            return [_label(value)]
        if isinstance(value, (FunctionType, type)):
            return self._once(value)
        if id(value) in self._within:
            raise self._refused(value, "it contains itself")
        self._within.add(id(value))
        try:
            return [type(value).__name__, *self._parts(value)]
        finally:
            self._within.discard(id(value))

    def _once(self, value: Any) -> object:
        """Describe a function or class where it comes first: they may refer to each other."""
        name = _label(value)
        if id(value) in self._numbers:
            return [name, self._numbers[id(value)]]
        self._numbers[id(value)] = len(self._numbers)
        self._kept.append(value)
        parts = self._function(value) if isinstance(value, FunctionType) else self._class(value)
        return [name, parts]

    def _function(self, function: FunctionType) -> object:
        cells = function.__closure__ or ()
        used = sorted(set(_globals_of(function.__code__)))
        known = function.__globals__
        return {
            "code": self.of(function.__code__),
            "defaults": self.of(function.__defaults__),
            "keywords": self.of(function.__kwdefaults__),
            "closure": [self.of(cell.cell_contents) for cell in cells],
            "globals": {name: self.of(known[name]) for name in used if name in known},
        }

    def _class(self, kind: type) -> object:
        own: dict[str, object] = {}
        for name, value in sorted(vars(kind).items()):
            found = _unwrapped(value)
            if all(isinstance(part, FunctionType) for part in found):
                own[name] = [self.of(part) for part in found]
            elif not name.startswith(("__", "_abc_")) and not hasattr(value, "__objclass__"):
                own[name] = self.of(value)
        return [[self.of(base) for base in kind.__bases__], own]

    def _parts(self, value: Any) -> Iterator[object]:
        if isinstance(value, CodeType):
            yield from self._code(value)
        elif isinstance(value, (bytes, bytearray)):
            yield value.hex()
        elif type(value) in (tuple, list):
            yield from map(self.of, value)
        elif type(value) in (set, frozenset):
            yield from sorted(map(self.of, value), key=canonical_json)
        elif type(value) is dict:
            yield from ([self.of(key), self.of(item)] for key, item in value.items())
        elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
            content = np.ascontiguousarray(value).tobytes()
            yield from (value.dtype.str, value.shape, hashlib.sha256(content).hexdigest())
        elif isinstance(value, ModuleType):
            yield from (value.__name__, *_file_of(value))
        elif isinstance(value, MethodType):
            yield from (self.of(value.__func__), self.of(value.__self__))
        elif isinstance(value, Enum):  # its class has it as an attribute
            yield from (_label(value), value.name, self.of(value.value))
        else:
            yield from self._reduced(value)

    def _code(self, code: CodeType) -> Iterator[object]:
        yield from (code.co_code.hex(), code.co_exceptiontable.hex(), code.co_flags)
        yield from (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        yield from (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        yield [self.of(constant) for constant in code.co_consts]

    def _reduced(self, value: Any) -> Iterator[object]:
        """Describe any other object as pickle would rebuild it."""
        if hasattr(value, "__wrapped__"):
            yield self.of(value.__wrapped__)
            return
        try:
            known = copyreg.dispatch_table.get(type(value))
            found = known(value) if known else value.__reduce_ex__(4)
        except Exception as err:
            raise self._refused(value, str(err)) from err
        if isinstance(found, str):  # a name in its module
            yield [getattr(value, "__module__", None) or type(value).__module__, found]
            return
        make, arguments, state, items, pairs = (*found, None, None, None)[:5]
        yield from (self.of(make), self.of(arguments), self.of(state))
        yield [self.of(item) for item in items or ()]
        yield [self.of(pair) for pair in pairs or ()]

    def _refused(self, value: object, why: str) -> ConfigError:
        return ConfigError(
            f"{self._label} has no repeatable description: it depends on a "
            f"{type(value).__module__}.{type(value).__qualname__} ({why})",
            expected="numbers, strings, arrays, functions, objects that can be pickled",
            remedy="Pass it such values, as arguments of functools.partial",
        )


def _globals_of(code: CodeType) -> Iterator[str]:
    """Yield the names that code, and code inside it, looks up in its module."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _unwrapped(value: Any) -> list[Any]:
    """Return the functions behind what a class body binds to a name."""
    if isinstance(value, property):
        return [part for part in (value.fget, value.fset, value.fdel) if part is not None]
    if isinstance(value, cached_property):
        return [value.func]
    return [value.__func__ if isinstance(value, (staticmethod, classmethod)) else value]


def _file_of(module: ModuleType) -> list[str]:
    """Return the digest of the file of a module of the user's, else nothing."""
    path = getattr(module, "__file__", None)
    if path is None or _is_installed(module.__name__):
        return []
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest()]
