"""What only the backend knows: seeds, precision, devices, and an operation that Keras lacks."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras

from gim_cv.errors import ConfigError

Tensor = Any
XLA_FLAG = "--xla_gpu_deterministic_ops=true"
"""What has XLA, and so JAX, repeat itself to the bit on a GPU."""


def backend_name() -> str:
    """Return ``"tensorflow"`` or ``"jax"``."""
    name: str = keras.backend.backend()
    return name


def libraries() -> dict[str, str]:
    """Return the versions of the libraries on which a training's bits depend, the backend's too."""
    names = ("albumentations", "cv2", "keras", "numpy", backend_name())
    return {name: importlib.import_module(name).__version__ for name in names}


def ask_for_determinism() -> None:
    """Set the flag that `prepare_backend` demands of JAX on a GPU; call it before JAX is used."""
    flags = os.environ.get("XLA_FLAGS", "")
    if backend_name() == "jax" and XLA_FLAG not in flags.split():
        os.environ["XLA_FLAGS"] = f"{flags} {XLA_FLAG}".strip()


def prepare_backend(*, seed: int, deterministic: bool) -> None:
    """Seed every generator of Python, numpy and the backend; optionally forbid racing kernels.

    Parameters
    ----------
    seed
        Of initial weights.
    deterministic
        From here on, this process uses deterministic kernels. JAX on a CPU always does; on a GPU
        only with a flag that it reads when it begins (`ask_for_determinism`).

    Raises
    ------
    ConfigError
        JAX runs on a GPU without that flag.
    """
    keras.utils.set_random_seed(seed)
    if not deterministic:
        return
    if backend_name() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415  (only this backend has the switch)

        tf.config.experimental.enable_op_determinism()
    elif backend_name() == "jax":
        _check_flag()


def _check_flag() -> None:
    import jax  # noqa: PLC0415  (only this backend has the flag)

    flags = os.environ.get("XLA_FLAGS", "")
    if jax.default_backend() == "gpu" and XLA_FLAG not in flags.split():
        raise ConfigError(
            "train.deterministic is true, and JAX on this GPU does not repeat itself to the bit",
            expected=f"XLA_FLAGS={XLA_FLAG}",
            found=f"XLA_FLAGS={flags}",
            remedy="Set it before Python starts, or train.deterministic to false",
        )


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
    if backend_name() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415  (only this backend has strategies)

        scope: AbstractContextManager[object] = tf.distribute.MirroredStrategy(_devices()).scope()
        return scope
    return _data_parallel()


def _devices() -> list[str]:
    if backend_name() == "tensorflow":
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

    TensorFlow only; all is float32. Where devices share a batch, each normalises its own part, and
    mean and variance are the means over the devices: all of them then keep the same statistics,
    which is what is validated, saved and gone on with.
    """
    import tensorflow as tf  # noqa: PLC0415  (only this backend has the operation)

    none = tf.zeros([0])
    normal, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images, scale=gamma, offset=beta, mean=none, variance=none, epsilon=epsilon
    )
    # The operation returns the variance of the population that the batch is a sample of.
    count = tf.cast(tf.reduce_prod(tf.shape(images)[:3]), "float32")
    variance *= (count - 1) / count
    replica = tf.distribute.get_replica_context()
    if replica is not None and replica.num_replicas_in_sync > 1:
        mean, variance = replica.all_reduce(tf.distribute.ReduceOp.MEAN, [mean, variance])
    return normal, mean, variance


def resized(images: Tensor, height: Any, width: Any) -> Tensor:
    """Return images ``(B, h, w, C)`` at another size, px, interpolated bilinearly.

    Keras' own function cannot take a size that is known only when a graph runs, as TensorFlow's is
    in a model that has met two sizes.
    """
    if backend_name() != "tensorflow":
        return keras.ops.image.resize(images, (height, width), interpolation="bilinear")
    import tensorflow as tf  # noqa: PLC0415  (only this backend has graphs without sizes)

    return tf.cast(tf.image.resize(images, (height, width), method="bilinear"), images.dtype)
