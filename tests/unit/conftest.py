"""What several unit tests share; Keras is imported only where it is asked for."""

from functools import partialmethod

import pytest
from projects import write_scene


@pytest.fixture(scope="module")
def eager():
    """Run steps of TensorFlow eagerly: these are few, and tracing takes longer than all of them."""
    import keras

    from gim_cv.models import Segmentalist

    compiled = partialmethod(
        keras.Model.compile, run_eagerly=keras.backend.backend() == "tensorflow"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segmentalist, "compile", compiled)
        yield


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    """A combined store of squares to find."""
    from squares import write_squares

    return write_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for name in ("a", "b"):
        write_scene(folder, name, side=128)
    return folder
