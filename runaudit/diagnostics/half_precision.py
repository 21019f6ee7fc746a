"""What half precision takes away, told beside the comparison of reported and measured figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from runaudit.diagnostics.answers import found
from runaudit.diagnostics.evidence import CheckResult, Evidence, Impact, Measurement, Remedy
from runaudit.diagnostics.interventions import named, surely
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import InterventionFacts
from runaudit.runs.precision import asked_for_half

CAUSE: Final = "metric_mismatch"


@dataclass(frozen=True)
class Thresholds:
    lost: float = threshold(
        0.02,
        "The report contract's 2 points, surely. Of twelve sound networks of the benchmark (four data sets, three "
        "families) mAP50-95 on 64 images differed by -0.0028 to 0.0024.",
    )


LIMITS: Final = Thresholds()


def with_precision(evidence: Evidence, result: CheckResult) -> CheckResult:
    """The result with what validation in single precision gains, where that was tried.

    A run that asked for half precision and surely loses by it is a finding, whatever it reported.
    """
    change = named(evidence, "float32")
    if change is None:
        return result
    figures = f"{change.before:.4f} in half precision and {change.after:.4f} in single"
    told = f" On {change.images} images mAP50-95 is {figures}."
    if result.finding is not None:
        finding = replace(
            result.finding,
            explanation=result.finding.explanation + told,
            evidence=(*result.finding.evidence, _measurement(change)),
        )
        return replace(result, finding=finding)
    if asked_for_half(evidence.run) and surely(change, LIMITS.lost):
        return _costs(evidence, change, result.reason + told)
    return replace(result, reason=result.reason + told)


def _measurement(change: InterventionFacts) -> Measurement:
    name = "mAP50-95 in single precision less that in half"
    return Measurement(name, round(change.difference, 5), LIMITS.lost, change.ci95, change.images)


def _costs(evidence: Evidence, change: InterventionFacts, told: str) -> CheckResult:
    key = "half" if evidence.run.argument("half") is True else "quantize"
    return found(
        CAUSE,
        "major",
        f"Half precision costs {change.difference:.3f} mAP50-95",
        f"The run's arguments ask for it (`{key}`). {told} Some of the network's numbers leave the range of float16 "
        "(65504) or are too small for it.",
        evidence=(_measurement(change),),
        impact=Impact("lowers", change.difference, change.ci95, change.grade),
        remedies=(
            Remedy(
                "Validate and deploy in single precision, or in bfloat16",
                "bfloat16 has the range of float32.",
                patch={key: False if key == "half" else None},
                reference="https://docs.ultralytics.com/modes/val/",
            ),
        ),
        effect=change.difference,
        ci95=change.ci95,
        n=change.images,
    )
