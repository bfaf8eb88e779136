"""One value of what several datasets say, or an error that names two."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from gim_cv.errors import ConfigError


def agreed(setting: str, said: Iterable[tuple[str, Any]]) -> Any:
    """Return the one value that is said, or None where nobody says any.

    Parameters
    ----------
    setting
        Its name, an argument of `CompositeTrainingDataset`.
    said
        Who (names of pairs), and the value or None.

    Raises
    ------
    ConfigError
        Two values are said; both are named.
    """
    known = [(who, value) for who, value in said if value is not None]
    for who, value in known[1:]:
        first, wanted = known[0]
        if not alike(value, wanted):
            raise ConfigError(
                f"{setting} differs between datasets that are pooled",
                expected=f"{_shown(wanted)} as for {first}",
                found=f"{_shown(value)} for {who}",
                remedy=f"Say which: CompositeTrainingDataset([...], {setting}=...)",
            )
    return known[0][1] if known else None


def alike(one: Any, other: Any) -> bool:
    """Return whether two values are equal; partial functions are if all that they hold is."""
    if isinstance(one, partial) and isinstance(other, partial):
        same = (one.func, one.args, one.keywords) == (other.func, other.args, other.keywords)
        return bool(same)
    return bool(one == other)


def _shown(value: Any) -> str:
    """Return a value as a message has it: functions without their addresses."""
    if isinstance(value, partial):
        bound = [_shown(item) for item in value.args]
        bound += [f"{key}={_shown(item)}" for key, item in value.keywords.items()]
        return f"{_shown(value.func)}({', '.join(bound)})"
    return getattr(value, "__qualname__", None) or repr(value)
