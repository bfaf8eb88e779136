"""What only the backend knows: seeds, precision, devices, and an operation that Keras lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras

Tensor = Any


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
def precision(policy: Any) -> Iterator[None]:
    """Have models built in the block compute in `policy`: a name, its config or a Keras policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(policy))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def replica_count(devices: int) -> int:
    """Return how many devices `replicas` makes a model for."""
    return 1 if devices == 1 else len(_devices())


def replicas(devices: int) -> AbstractContextManager[object]:
    """Return a context in which a model is made and trained on one device (1) or on all (0).

    All are those of a kind: the accelerators, or where there are none the CPUs. Each device gets an
    equal part of every batch, whose size must divide evenly, and the weights are kept equal. With
    one device the context does nothing.
    """
    if replica_count(devices) == 1:
        return nullcontext()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415  (only this backend has strategies)

        scope: AbstractContextManager[object] = tf.distribute.MirroredStrategy(_devices()).scope()
        return scope
    return _data_parallel()


def _devices() -> list[str]:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415  (Keras lists none under this backend)

        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return [device.name for device in tf.config.list_logical_devices(kind)]
    return list(keras.distribution.list_devices())


@contextmanager
def _data_parallel() -> Iterator[None]:
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def fused_batch_norm(
    images: Tensor, gamma: Tensor, beta: Tensor, *, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalised images ``(B, h, w, C)``, and mean and variance of the batch, ``(C,)``.

    TensorFlow only; all is float32.
    """
    import tensorflow as tf  # noqa: PLC0415  (only this backend has the operation)

    none = tf.zeros([0])
    normal, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images, scale=gamma, offset=beta, mean=none, variance=none, epsilon=epsilon
    )
    # The operation returns the variance of the population that the batch is a sample of.
    count = tf.cast(tf.reduce_prod(tf.shape(images)[:3]), "float32")
    return normal, mean, variance * (count - 1) / count
