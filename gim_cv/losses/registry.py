"""Losses by name: ``"tversky"``, ``"tversky:alpha=.7,beta=.3"``, and the names of old."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gim_cv.errors import ConfigError, UnknownError
from gim_cv.losses import crossentropy, lovasz, mixtures, outline, overlap
from gim_cv.losses.targets import SegmentationLoss

LOSSES: Mapping[str, Callable[..., SegmentationLoss]] = MappingProxyType(
    {
        "bbce_adaptive": crossentropy.BBCEAdaptive,
        "bce": crossentropy.BCE,
        "bce_dice": mixtures.BCEDice,
        "categorical_crossentropy": crossentropy.CategoricalCrossentropy,
        "dice": overlap.Dice,
        "focal_crossentropy": crossentropy.FocalCrossentropy,
        "focal_tversky": overlap.FocalTversky,
        "jaccard": overlap.Jaccard,
        "lovasz_hinge": lovasz.LovaszHinge,
        "lovasz_softmax": lovasz.LovaszSoftmax,
        "surface": outline.Surface,
        "tversky": overlap.Tversky,
        "wbce": crossentropy.WBCE,
        "wbce_adaptive": crossentropy.WBCEAdaptive,
        "wbce_adaptive_dice": mixtures.WBCEAdaptiveDice,
    }
)
"""Every loss: name → class."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "bbce_adaptive_loss": "bbce_adaptive",
        "bce_dice_loss": "bce_dice",
        "bce_loss": "bce",
        "boundary_loss": "surface",
        "binary_crossentropy": "bce",
        "categorical_focal_loss": "focal_crossentropy",
        "cce": "categorical_crossentropy",
        "dice_coeff_loss": "dice",
        "dice_loss": "dice",
        "focal": "focal_crossentropy",
        "focal_loss": "focal_crossentropy",
        "focal_tversky_loss": "focal_tversky",
        "jaccard_loss": "jaccard",
        "lovasz_hinge_loss": "lovasz_hinge",
        "lovasz_softmax_loss": "lovasz_softmax",
        "surface_loss": "surface",
        "tversky_loss": "tversky",
        "wbce_adaptive_dice_loss": "wbce_adaptive_dice",
        "wbce_adaptive_loss": "wbce_adaptive",
        "weighted_bce": "wbce",
    }
)
"""Old and short names."""

NO_NUMBERS = MappingProxyType(
    {
        "class_weights": "Set train.class_weights, or give class_weights to the loss's class",
        "name": "Leave the name out: it is the loss's own",
    }
)
"""Arguments that no text names: argument → what to do."""


def get_loss(spec: str, args: Mapping[str, Any] | None = None) -> SegmentationLoss:
    """Return the loss that `spec` names.

    Parameters
    ----------
    spec
        ``name`` or ``name:key=value,key=value``; a name of `LOSSES` or `ALIASES`.
    args
        Further arguments; those in `spec` win.

    Raises
    ------
    UnknownError
        No loss has that name, or the loss has no such argument.
    ConfigError
        An argument's text is not ``key=value`` with a number, or its value is out of range.

    Examples
    --------
    >>> get_loss("tversky:alpha=.6", {"beta": 0.4}).get_config()["alpha"]
    0.6
    """
    name, text = loss_name(spec), spec.partition(":")[2]
    kind = LOSSES[name]
    given = {**(args or {}), **parse_arguments(text, spec)}
    known = [key for key in inspect.signature(kind).parameters if key != "name"]
    for key in given:
        if key not in known:
            raise UnknownError.among(f"argument of the loss {name}", key, known)
    return kind(**given)


def loss_name(spec: str) -> str:
    """Return the name, in `LOSSES`, of the loss that ``name:key=value`` means.

    Raises
    ------
    UnknownError
        No loss has that name.
    """
    given = spec.partition(":")[0].strip()
    name = ALIASES.get(given, given)
    if name not in LOSSES:
        raise UnknownError.among("loss", given, [*LOSSES, *ALIASES])
    return name


def parse_arguments(text: str, spec: str) -> dict[str, float]:
    """Return ``"alpha=.7,beta=.3"`` as a dict of numbers.

    Raises
    ------
    ConfigError
        A part is not ``key=number``, the number is not finite, or the key is one that takes no
        number; `spec` is what the message shows.
    """
    found: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, _, value = part.partition("=")
        number = _number(value)
        if number is None or key.strip() in NO_NUMBERS:
            raise ConfigError(
                "cannot read a loss's argument",
                path=f"loss: {spec}",
                expected="name:key=number,key=number",
                found=repr(part),
                remedy=NO_NUMBERS.get(key.strip()),
            )
        found[key.strip()] = number
    return found


def _number(text: str) -> float | None:
    """Return a finite number; None if `text` is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
