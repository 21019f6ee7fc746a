"""The ordered registry of checks: one for every cause, every time."""

from __future__ import annotations

from typing import Final

from runaudit.causes import CAUSES, CauseId
from runaudit.diagnostics import (
    annotation_errors,
    augmentation,
    batch_size,
    checkpoint_integrity,
    class_imbalance,
    class_mapping,
    confidence_threshold,
    data_leakage,
    distribution_shift,
    hardware_limits,
    image_format,
    insufficient_epochs,
    label_files,
    learning_rate,
    metric_mismatch,
    model_architecture,
    numerical_divergence,
    overfitting,
    underfitting,
    validation_set_too_small,
    weight_initialization,
)
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence
from runaudit.diagnostics.probed import with_probe

_BY_CAUSE: Final[dict[CauseId, Check]] = {
    check.cause: check
    for check in (
        annotation_errors.CHECK,
        class_imbalance.CHECK,
        label_files.CHECK,
        class_mapping.CHECK,
        validation_set_too_small.CHECK,
        image_format.CHECK,
        overfitting.CHECK,
        underfitting.CHECK,
        data_leakage.CHECK,
        distribution_shift.CHECK,
        learning_rate.CHECK,
        batch_size.CHECK,
        model_architecture.CHECK,
        augmentation.CHECK,
        insufficient_epochs.CHECK,
        hardware_limits.CHECK,
        weight_initialization.CHECK,
        numerical_divergence.CHECK,
        checkpoint_integrity.CHECK,
        confidence_threshold.CHECK,
        metric_mismatch.CHECK,
    )
}

CHECKS: Final[tuple[Check, ...]] = tuple(_BY_CAUSE[cause] for cause in CAUSES)


def examine_all(evidence: Evidence) -> list[CheckResult]:
    """The answer of every check, in the order of the causes, with what fine-tuning measured of its fix.

    A check that raises is a bug and is let through: the child then ends with a code, instead of a report that lacks
    a cause without saying so.
    """
    return [with_probe(check.examine(evidence), evidence) for check in CHECKS]
