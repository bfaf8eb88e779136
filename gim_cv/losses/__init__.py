"""Losses for class ids with 255 = ignore: a class for state, a function of its name for the maths.

Every loss takes ``y_true (B, h, w, 1)`` ids and ``y_pred`` probabilities, ``(B, h, w, 1)`` from a
sigmoid or ``(B, h, w, K)`` from a softmax. Ignored pixels contribute nothing, whatever their
prediction; arithmetic is float32 under mixed precision; empty, full and all-ignored batches give
finite values and gradients.
"""

from gim_cv.losses.crossentropy import (
    BCE,
    WBCE,
    BBCEAdaptive,
    CategoricalCrossentropy,
    FocalCrossentropy,
    WBCEAdaptive,
    bbce_adaptive,
    bce,
    categorical_crossentropy,
    focal_crossentropy,
    wbce,
    wbce_adaptive,
)
from gim_cv.losses.lovasz import LovaszHinge, LovaszSoftmax, lovasz_hinge, lovasz_softmax
from gim_cv.losses.mixtures import BCEDice, WBCEAdaptiveDice, bce_dice, wbce_adaptive_dice
from gim_cv.losses.outline import Surface, boundary, surface
from gim_cv.losses.overlap import (
    Dice,
    FocalTversky,
    Jaccard,
    Tversky,
    dice,
    focal_tversky,
    jaccard,
    tversky,
)
from gim_cv.losses.registry import ALIASES, LOSSES, get_loss, loss_name
from gim_cv.losses.targets import SegmentationLoss

bbce_adaptive_loss = bbce_adaptive
bce_dice_loss = bce_dice
bce_loss = bce
boundary_loss = surface
binary_crossentropy = bce
categorical_focal_loss = focal_crossentropy
cce = categorical_crossentropy
dice_coeff_loss = dice
dice_loss = dice
focal = focal_crossentropy
focal_loss = focal_crossentropy
focal_tversky_loss = focal_tversky
jaccard_loss = jaccard
lovasz_hinge_loss = lovasz_hinge
lovasz_softmax_loss = lovasz_softmax
surface_loss = surface
tversky_loss = tversky
wbce_adaptive_dice_loss = wbce_adaptive_dice
wbce_adaptive_loss = wbce_adaptive
weighted_bce = wbce

__all__ = [
    "ALIASES",
    "BCE",
    "LOSSES",
    "WBCE",
    "BBCEAdaptive",
    "BCEDice",
    "CategoricalCrossentropy",
    "Dice",
    "FocalCrossentropy",
    "FocalTversky",
    "Jaccard",
    "LovaszHinge",
    "LovaszSoftmax",
    "SegmentationLoss",
    "Surface",
    "Tversky",
    "WBCEAdaptive",
    "WBCEAdaptiveDice",
    "bbce_adaptive",
    "bbce_adaptive_loss",
    "bce",
    "bce_dice",
    "bce_dice_loss",
    "bce_loss",
    "binary_crossentropy",
    "boundary",
    "boundary_loss",
    "categorical_crossentropy",
    "categorical_focal_loss",
    "cce",
    "dice",
    "dice_coeff_loss",
    "dice_loss",
    "focal",
    "focal_crossentropy",
    "focal_loss",
    "focal_tversky",
    "focal_tversky_loss",
    "get_loss",
    "jaccard",
    "jaccard_loss",
    "loss_name",
    "lovasz_hinge",
    "lovasz_hinge_loss",
    "lovasz_softmax",
    "lovasz_softmax_loss",
    "surface",
    "surface_loss",
    "tversky",
    "tversky_loss",
    "wbce",
    "wbce_adaptive",
    "wbce_adaptive_dice",
    "wbce_adaptive_dice_loss",
    "wbce_adaptive_loss",
    "weighted_bce",
]
