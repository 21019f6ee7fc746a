"""The catalogue of causes: every reason for which a model fails validation that an audit reports on."""

from __future__ import annotations

from typing import Final, Literal, get_args

CauseId = Literal[
    "class_imbalance",
    "distribution_shift",
    "annotation_errors",
    "data_leakage",
    "label_files",
    "class_mapping",
    "validation_set_too_small",
    "image_format",
    "overfitting",
    "underfitting",
    "learning_rate",
    "batch_size",
    "model_architecture",
    "augmentation",
    "insufficient_epochs",
    "hardware_limits",
    "weight_initialization",
    "numerical_divergence",
    "checkpoint_integrity",
    "metric_mismatch",
    "confidence_threshold",
]
"""Ids in the order of the catalogue: data, model and hyperparameters, process and hardware, validation itself."""

CAUSES: Final[tuple[CauseId, ...]] = get_args(CauseId)
