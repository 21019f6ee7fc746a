"""What fine-tuning measured, among the evidence of the causes that its arms would mend.

It moves no severity: how often such a gain is a false alarm is known for small networks only (`benchmarks.probe`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from runaudit.causes import CauseId
from runaudit.diagnostics.evidence import CheckResult, Evidence, Measurement
from runaudit.diagnostics.interventions import named

ARMS: Final[dict[CauseId, tuple[str, str]]] = {
    "insufficient_epochs": ("continued_training", "gain of mAP50-95 by a few more epochs at a low rate"),
    "class_imbalance": ("rare_classes_repeated", "gain of mAP50-95 where rare classes are repeated"),
    "distribution_shift": ("trained_on_validation_look", "gain of mAP50-95 by training on the look of validation"),
    "model_architecture": ("trained_at_larger_input", "gain of mAP50-95 by training at a larger input"),
}
"""cause -> the intervention that fine-tunes with its fix, and what its measurement is called"""


def with_probe(result: CheckResult, evidence: Evidence) -> CheckResult:
    """The result, with what fine-tuning measured of its fix behind its other evidence."""
    if result.finding is None or result.cause not in ARMS:
        return result
    name, called = ARMS[result.cause]
    change = named(evidence, name)
    if change is None:
        return result
    measured = Measurement(called, round(change.difference, 4), ci95=change.ci95, n=change.images)
    return replace(result, finding=replace(result.finding, evidence=(*result.finding.evidence, measured)))
