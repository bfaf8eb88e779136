"""What only the backend knows."""

import jax
import keras
import numpy as np
import pytest

from gim_cv import backend
from gim_cv.backend import XLA_FLAG, ask_for_determinism, libraries, prepare_backend
from gim_cv.errors import ConfigError


@pytest.fixture
def gpu(monkeypatch):
    """JAX as on a GPU."""
    monkeypatch.setattr(backend, "backend_name", lambda: "jax")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=folder")


@pytest.mark.usefixtures("gpu")
def test_jax_on_a_gpu_repeats_itself_only_where_it_was_asked_to():
    prepare_backend(seed=1, deterministic=False)
    with pytest.raises(ConfigError, match=XLA_FLAG):
        prepare_backend(seed=1, deterministic=True)
    for _ in range(2):
        ask_for_determinism()
        assert backend.os.environ["XLA_FLAGS"] == f"--xla_dump_to=folder {XLA_FLAG}"
    prepare_backend(seed=1, deterministic=True)


def test_tensorflow_needs_no_flag(monkeypatch):
    monkeypatch.setattr(backend, "backend_name", lambda: "tensorflow")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    ask_for_determinism()
    assert "XLA_FLAGS" not in backend.os.environ


def test_versions_are_those_of_what_computes():
    found = libraries()
    assert set(found) == {"albumentations", "cv2", "keras", "numpy", keras.backend.backend()}
    assert (found["keras"], found["numpy"]) == (keras.__version__, np.__version__)
