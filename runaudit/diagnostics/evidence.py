"""What the checks look at, and what they answer: frozen facts, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from runaudit.causes import CauseId
from runaudit.diagnostics.depth import Depth as Depth  # noqa: PLC0414 - handed on
from runaudit.evaluation.facts import (
    ClassificationFacts,
    EvaluationFacts,
    Interval,
    InterventionFacts,
    LeakageFacts,
    ShiftFacts,
)
from runaudit.evaluation.label_facts import ContrastFacts
from runaudit.runs.facts import DatasetFacts, RunFacts

Outcome = Literal["failed", "warned", "passed", "inconclusive", "not_run"]
Severity = Literal["critical", "major", "minor"]
Direction = Literal["lowers", "inflates", "unjudgeable"]
Grade = Literal["intervention", "oracle", "observational", "none"]
Basis = Literal["measured", "extrapolated"]
"""what a finding stands on: what was seen, or what is projected from it and therefore explains nothing that was"""


@dataclass(frozen=True)
class Evidence:
    """All that is known of a run. What is None is absent, and `absent` says why, by the part's name."""

    run: RunFacts
    dataset: DatasetFacts | None = None
    evaluation: EvaluationFacts | None = None
    training: EvaluationFacts | None = None
    """the same validation on a random part of the training images"""
    classification: ClassificationFacts | None = None
    """of a classification run, which has no boxes and therefore no `evaluation`"""
    interventions: tuple[InterventionFacts, ...] = ()
    leakage: LeakageFacts | None = None
    shift: ShiftFacts | None = None
    label_contrast: tuple[ContrastFacts, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """part (`curves`, `checkpoint`, `dataset`, `evaluation`, `training`, `classification`) -> why it is missing, a
    sentence"""


@dataclass(frozen=True)
class Measurement:
    """One measured fact behind a finding. `source` is a place in the input, `results.csv:41` for one."""

    name: str
    value: float | int | str | bool | None
    threshold: float | int | str | None = None
    ci95: Interval | None = None
    n: int | None = None
    source: str | None = None


METRIC_NAMES: Final = {
    "map50_95": "mAP50-95",
    "mask_map50_95": "mAP50-95 by masks",
    "pose_map50_95": "mAP50-95 by keypoints",
    "f1": "F1",
    "top1": "top-1 accuracy",
}
"""What the metrics of impacts are called in a sentence."""


@dataclass(frozen=True)
class Impact:
    """The mAP50-95 that a cause takes away or, where it inflates, that is not real. In [0, 1]."""

    direction: Direction
    value: float | None = None
    ci95: Interval | None = None
    grade: Grade = "none"
    metric: str = "map50_95"


@dataclass(frozen=True)
class Remedy:
    """What would fix it: a config patch for the training arguments, and code where a patch is not enough."""

    title: str
    why: str
    patch: dict[str, Any] = field(default_factory=dict)
    code: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Finding:
    """A check that failed or warned. `affected` names classes and images."""

    severity: Severity
    title: str
    explanation: str
    evidence: tuple[Measurement, ...]
    impact: Impact
    remedies: tuple[Remedy, ...] = ()
    affected_classes: tuple[str, ...] = ()
    affected_images: tuple[str, ...] = ()
    basis: Basis = "measured"


@dataclass(frozen=True)
class CheckResult:
    """The answer of one check. `finding` is present exactly if the outcome is failed or warned."""

    cause: CauseId
    outcome: Outcome
    reason: str
    effect: float | None = None
    ci95: Interval | None = None
    n: int | None = None
    finding: Finding | None = None

    def __post_init__(self) -> None:
        if (self.finding is not None) != (self.outcome in ("failed", "warned")):
            raise ValueError(f"{self.cause}: a finding goes with a check that failed or warned, and only with one")
        if self.finding is not None and (self.outcome == "warned") != (self.finding.severity == "minor"):
            raise ValueError(f"{self.cause}: a warned check gives a minor finding, a failed one a graver one")


@dataclass(frozen=True)
class Check:
    """The test of one cause: its page (docs/checks/<cause>.md is made from these fields) and its function."""

    cause: CauseId
    title: str
    question: str
    statistic: str
    thresholds: object
    """a frozen dataclass; each field's docstring-like comment names the measurement or source that set it"""
    false_positives: tuple[str, ...]
    references: tuple[str, ...]
    examine: Callable[[Evidence], CheckResult]
