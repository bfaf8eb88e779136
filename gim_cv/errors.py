"""Errors that a user can mend.

::

    GimError
    ├── ConfigError   (ValueError)         a parameter or catalog entry is wrong
    ├── DataError     (ValueError)         a raster, vector or archive is not what it should be
    ├── StoreError    (ValueError)         a patch store is torn, or made by another recipe
    ├── MissingError  (FileNotFoundError)  a file or store that should be there is not
    ├── UnknownError  (KeyError)           a name that nothing defines: dataset, pair, loss, class
    └── RunError      (RuntimeError)       a stage could not do its work

Each leaf is also the builtin that plain Python code would catch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from os import PathLike


class GimError(Exception):
    """One sentence about what is wrong, where, and how to mend it.

    Parameters
    ----------
    what
        What is wrong, without a full stop: ``"no CRS"``.
    path
        The file (or ``file:key``) at fault; printed first.
    expected, found
        The two sides of the disagreement, where there are two.
    remedy
        What the user can do, as one imperative sentence.

    Examples
    --------
    >>> str(DataError("no CRS", path="a.shp", expected="EPSG:32651", found="none",
    ...               remedy="Add a.prj"))
    'a.shp: no CRS; expected EPSG:32651, found none. Add a.prj.'
    """

    def __init__(
        self,
        what: str,
        *,
        path: str | PathLike[str] | None = None,
        expected: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.path = None if path is None else str(path)
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        """Return the one-line message."""
        text = f"{self.path}: {self.what}" if self.path else self.what
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.found is not None:
            text += f"{',' if self.expected is not None else ';'} found {self.found}"
        text += "."
        if self.remedy:
            text += f" {self.remedy.rstrip('.')}."
        return text

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with every field, since workers in other processes send errors back."""
        return _rebuild, (type(self), self.what, self.path, self.expected, self.found, self.remedy)


def _rebuild(
    kind: type[GimError],
    what: str,
    path: str | None,
    expected: object,
    found: object,
    remedy: str | None,
) -> GimError:
    return kind(what, path=path, expected=expected, found=found, remedy=remedy)


class ConfigError(GimError, ValueError):
    """A parameter or catalog entry is wrong."""


class DataError(GimError, ValueError):
    """A raster, vector or archive is not what it should be."""


class StoreError(GimError, ValueError):
    """A patch store is torn, or made by another recipe."""


class MissingError(GimError, FileNotFoundError):
    """A file or store that should be there is not."""


class UnknownError(GimError, KeyError):
    """A name that nothing defines."""

    @classmethod
    def among(
        cls,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        path: str | PathLike[str] | None = None,
        remedy: str | None = None,
    ) -> UnknownError:
        """Return an error that lists the names nearest to `name`.

        Parameters
        ----------
        kind
            What the name names, e.g. ``"dataset"``.
        name
            The unknown name.
        known
            Every name that would have been right.
        path
            The file that should have defined it.
        remedy
            What the user can do.
        """
        near = nearest(name, known)
        return cls(
            f"unknown {kind} {name!r}",
            path=path,
            expected=f"one of {', '.join(near)}" if near else f"a {kind}, but none is defined",
            remedy=remedy,
        )


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return up to five of the known names that look like `name`; if none does, ten of all."""
    names = sorted(known)
    return difflib.get_close_matches(name, names, n=5, cutoff=0.5) or names[:10]


class RunError(GimError, RuntimeError):
    """A stage could not do its work."""
