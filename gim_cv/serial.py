"""The name under which Keras finds the project's classes in a saved model."""

from __future__ import annotations

from typing import TypeVar

import keras

Kind = TypeVar("Kind", bound=type)
PACKAGE = "gim_cv"


def register(kind: Kind) -> Kind:
    """Return the class itself, known to Keras, so that saved models load without custom_objects."""
    found: Kind = keras.saving.register_keras_serializable(package=PACKAGE)(kind)
    return found
