"""Arguments of ``fit_model`` for training that takes seconds."""

from __future__ import annotations

from typing import Any

TINY = {
    "layer_blocks": 1,
    "last_decoder_layer_blocks": 1,
    "initial_filters": 4,
    "residual_filters": [8],
    "initial_kernel_size": 3,
}
TRAIN = {
    "epochs": 2,
    "batch": 8,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "clipnorm": 1.0,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "final_share": 0.01,
    "plateau_patience": 1,
    "plateau_factor": 0.5,
    "patience": 0,
    "swa_share": 0.0,
    "swa_batches": 2,
    "sheet_epochs": 2,
    "precision": "float32",
    "class_weights": None,
    "oversample": None,
    "threshold": 0.5,
    "deterministic": True,
    "workers": 2,
    "devices": 1,
}


def fit_arguments(**train: Any) -> dict[str, Any]:
    """Return every argument but the folders; `train` changes options of the regime."""
    return {
        "loss": train.pop("loss", "bce_dice"),
        "loss_args": train.pop("loss_args", {}),
        "seed": train.pop("seed", 3),
        "model": {**TINY, **train.pop("model", {})},
        "augment": {"recipe": train.pop("recipe", "light"), "p": 0.5, "fancy_pca_alpha": 0.1},
        "train": {**TRAIN, **train},
        "metadata": {"datasets": "squares"},
        "progress": False,
    }
