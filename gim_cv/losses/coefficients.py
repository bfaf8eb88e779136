"""What a loss's coefficients may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np

from gim_cv.errors import ConfigError

Limits = Mapping[str, tuple[float, float]]
WEIGHT = (0.0, math.inf)
SHARE = (0.0, 1.0)

LIMITS: Limits = MappingProxyType(
    {
        "alpha": WEIGHT,
        "beta": WEIGHT,
        "dice_weight": WEIGHT,
        "end": SHARE,
        "gamma": WEIGHT,
        "max_weight": (1.0, math.inf),
        "pos_weight": WEIGHT,
        "reach_px": (1.0, math.inf),
        "smooth": WEIGHT,
        "start": SHARE,
        "step": SHARE,
    }
)
"""Coefficient → least and greatest value, where a loss does not say otherwise."""


def check_coefficients(loss: str, given: Mapping[str, Any], limits: Limits) -> None:
    """Refuse coefficients that are no finite numbers or out of range.

    Parameters
    ----------
    loss
        The loss's name, for the message.
    given
        Its arguments; ``class_weights`` may be None.
    limits
        Least and greatest value of each argument but ``class_weights``.

    Raises
    ------
    ConfigError
        One of them cannot be.
    """
    for name, value in given.items():
        if name == "class_weights":
            _check_weights(loss, value)
            continue
        least, most = limits[name]
        if not _is_finite(value) or not least <= value <= most:
            wanted = f"at least {least:g}" if math.isinf(most) else f"{least:g} to {most:g}"
            raise ConfigError(
                f"{name} of the loss {loss} is out of range",
                expected=f"a number, {wanted}",
                found=repr(value),
            )


def _check_weights(loss: str, weights: Any) -> None:
    if weights is None:
        return
    numbers = [] if isinstance(weights, str) or np.ndim(weights) != 1 else list(weights)
    if not all(_is_finite(weight) and weight >= 0 for weight in numbers) or sum(numbers) <= 0:
        raise ConfigError(
            f"class_weights of the loss {loss} are out of range",
            expected="one number >= 0 per class, not all 0",
            found=repr(weights),
        )


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)
