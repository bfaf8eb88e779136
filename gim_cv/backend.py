"""What must be said to the backend before a model is made: seeds, precision, devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import keras


def prepare_backend(*, seed: int, deterministic: bool) -> None:
    """Seed every generator of Python, numpy and the backend; optionally forbid racing kernels.

    Parameters
    ----------
    seed
        Of initial weights.
    deterministic
        TensorFlow only: from here on, this process uses deterministic kernels. JAX on a CPU always
        does; on a GPU, set ``XLA_FLAGS=--xla_gpu_deterministic_ops=true`` before it starts.
    """
    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415  (only this backend has the switch)

        tf.config.experimental.enable_op_determinism()


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Have models built in the block compute in `policy`, e.g. ``"mixed_bfloat16"``."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def replicas(devices: int) -> AbstractContextManager[object]:
    """Return a context in which a model is made for one device (1) or for all of a kind (0).

    Each device gets an equal part of every batch, and the weights are kept equal. With one device
    the context does nothing.
    """
    if devices == 1:
        return nullcontext()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415  (only this backend has strategies)

        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        names = [device.name for device in tf.config.list_logical_devices(kind)]
        strategy = tf.distribute.MirroredStrategy(names) if len(names) > 1 else None
        return nullcontext() if strategy is None else strategy.scope()
    return _data_parallel()


@contextmanager
def _data_parallel() -> Iterator[None]:
    before = keras.distribution.distribution()
    if len(keras.distribution.list_devices()) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)
