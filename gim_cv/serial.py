"""The name under which Keras finds the project's classes and functions in a saved model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import keras

Kind = TypeVar("Kind", bound=Callable[..., Any])
PACKAGE = "gim_cv"


def register(kind: Kind) -> Kind:
    """Return the class or function itself, known to Keras: saved models load as they are."""
    found: Kind = keras.saving.register_keras_serializable(package=PACKAGE)(kind)
    return found
