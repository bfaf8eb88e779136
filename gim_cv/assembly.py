"""A compiled model from parameters and the store that it is to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import xarray as xr

from gim_cv.errors import ConfigError, UnknownError
from gim_cv.losses import LOSSES, SegmentationLoss, get_loss, loss_name
from gim_cv.losses.registry import parse_arguments
from gim_cv.metrics import Scores
from gim_cv.models.design import Design
from gim_cv.models.segmentalist import Segmentalist
from gim_cv.models.turning import TurningSegmentalist
from gim_cv.optimizers import make_optimizer, make_schedule
from gim_cv.regime import Regime

MEASURES = ("iou", "f1", "precision", "recall")


def design_for(options: Mapping[str, Any], patches: xr.Dataset) -> Design:
    """Return the model's design, with classes and bands of the store where `options` lack them.

    Raises
    ------
    UnknownError, ConfigError
        An option has no such name, or its value is out of range or does not fit the store.
    """
    classes, bands = len(patches.attrs["classes"]), patches.sizes["band"]
    given = {"n_classes": 1 if classes == 2 else classes, "bands": bands, **options}
    design = Design.of(given)
    if design.bands != bands or max(design.n_classes, 2) != classes:
        raise ConfigError(
            "the model does not fit the store",
            expected=f"{bands} bands, {classes} classes",
            found=f"{design.bands} bands, n_classes {design.n_classes}",
            remedy="Leave bands and n_classes out of params.yaml: they are taken from the store",
        )
    return design


def coefficients(spec: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's loss is given: its part of ``loss_args``, and what `spec` says instead.

    Raises
    ------
    UnknownError, ConfigError
        No loss has that name, or an argument is not ``key=number``.
    """
    return {**(args.get(loss_name(spec)) or {}), **parse_arguments(spec.partition(":")[2], spec)}


def loss_for(
    spec: str, args: Mapping[str, Any], regime: Regime, patches: xr.Dataset
) -> SegmentationLoss:
    """Return the loss with its arguments of ``loss_args`` and the regime's class weights.

    Raises
    ------
    UnknownError
        No loss, or no argument, has that name.
    ConfigError
        Class weights are given, and the loss takes none.
    """
    for name in args:
        if name not in LOSSES:
            raise UnknownError.among("loss in loss_args", name, LOSSES)
    name, own = loss_name(spec), coefficients(spec, args)
    weights = class_weights(regime, patches)
    if weights is None:
        return get_loss(name, own)
    try:
        return get_loss(name, {**own, "class_weights": weights})
    except UnknownError as err:
        raise ConfigError(
            f"the loss {spec} takes no class weights",
            remedy="Set train.class_weights to null, or choose another loss",
        ) from err


def class_weights(regime: Regime, patches: xr.Dataset) -> list[float] | None:
    """Return one weight per class, or None: ``"balanced"`` is n / (K n_k) of the train split.

    A class without a train pixel weighs 0.

    Raises
    ------
    ConfigError
        The regime asks for something else.
    """
    wanted = regime.class_weights
    if wanted is None:
        return None
    if not isinstance(wanted, str):
        return [float(weight) for weight in wanted]
    if wanted != "balanced":
        raise ConfigError(
            "train.class_weights is out of range",
            expected="null, balanced, or one number per class",
            found=wanted,
        )
    pixels = np.asarray(patches.attrs["statistics"]["class_pixels"], np.float64)
    weights = np.where(pixels > 0, pixels.sum() / (len(pixels) * np.maximum(pixels, 1)), 0.0)
    return [float(weight) for weight in weights]


def compiled(
    design: Design,
    regime: Regime,
    loss: SegmentationLoss,
    *,
    steps: int,
    turning: Mapping[str, Any],
) -> keras.Model:
    """Return a fresh Segmentalist, ready to be trained.

    Parameters
    ----------
    design, regime, loss
        What it is made of, how it is trained, and what it minimises.
    steps
        Steps per epoch, for the learning-rate schedule.
    turning
        Arguments of a `TurningSegmentalist` beyond the design; empty for a `Segmentalist`.

    Raises
    ------
    ConfigError
        The loss has class weights that do not fit the design.
    """
    if loss.arguments.get("class_weights"):
        # One pixel: what does not fit is told before any work.
        loss(np.zeros((1, 1, 1, 1), "uint8"), np.ones((1, 1, 1, design.n_classes), "float32"))
    kind = TurningSegmentalist if turning else Segmentalist
    model = kind(**turning, **design.as_dict())
    rate = make_schedule(
        regime.schedule,
        regime.learning_rate,
        steps=steps * regime.epochs,
        warmup_steps=round(steps * regime.warmup_epochs),
        final_share=regime.final_share,
    )
    model.compile(
        optimizer=make_optimizer(
            regime.optimizer, rate, weight_decay=regime.weight_decay, clipnorm=regime.clipnorm
        ),
        loss=loss,
        metrics=[
            Scores(measures=MEASURES, n_classes=design.n_classes, threshold=regime.threshold),
            *loss.metrics,
        ],
    )
    model.optimizer.build(model.trainable_variables)
    return model
