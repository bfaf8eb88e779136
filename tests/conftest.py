"""What every test may use."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
if "PYTEST_XDIST_WORKER" in os.environ:  # each core has a worker: threads beyond would only queue
    for threads in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(threads, "1")

import pytest
from imports import closure, imported
from projects import make_project, run
from rundirs import make_repository

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real imagery with labels, which lies beside the project where it is there at all."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real imagery (../shared/data) is not on this machine")
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A small project whose whole pipeline has run and is committed; copy it to change it."""
    folder = make_project(tmp_path_factory.mktemp("built") / "project")
    run(folder, "dvc", "repro")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "Built")
    return folder


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """Two tags, each with another trained run under DVC; only the cache has the first."""
    return make_repository(tmp_path_factory.mktemp("repo").resolve())


def pytest_collection_modifyitems(items):
    """Mark the tests of Keras code, which also run on the JAX backend (``make test-jax``)."""
    for item in items:
        if any("keras" in imported(path) for path in closure(item.path)):
            item.add_marker(pytest.mark.keras)
