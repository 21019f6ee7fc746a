"""What the user calls passing, and whether the model does: floors of mAP, judged with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from runaudit.diagnostics.differences import difference_interval
from runaudit.evaluation.facts import EvaluationFacts, Interval

PolicyResult = Literal["met", "broken", "inconclusive", "not_run"]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class Policy(BaseModel):
    """The policy of a request (design.md): floors in [0, 1], and the largest regression against a baseline audit.

    Without `max_regression` a baseline audit allows none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_map50_95: Share | None = None
    min_map50: Share | None = None
    min_class_map50_95: dict[ClassName, Share] = Field(default={}, max_length=10_000)
    baseline_audit: str | None = Field(default=None, min_length=1, max_length=64)
    max_regression: Share | None = None


class Baseline(BaseModel):
    """What the baseline audit measured; no mAP where its validation could not be run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    map50_95: Share | None = None
    ci95: tuple[Share, Share] | None = None


@dataclass(frozen=True)
class PolicyOutcome:
    """One rule judged. `reason` says why a rule was not run or is inconclusive."""

    rule: str
    outcome: PolicyResult
    value: float | None = None
    threshold: float | None = None
    ci95: Interval | None = None
    reason: str | None = None


NOT_VALIDATED = "Validation could not be run again."
NO_BASELINE = "max_regression needs a baseline_audit to compare with."
BASELINE_ELSEWHERE = (
    "Only the service knows what the baseline audit measured; hand the run to it with `runaudit submit`."
)


def judge(
    policy: Policy,
    evaluation: EvaluationFacts | None,
    *,
    unmeasured: str = NOT_VALIDATED,
    baseline: Baseline | None = None,
) -> list[PolicyOutcome]:
    """Every rule of the policy, in the order of its fields; classes by name.

    `unmeasured` says why there is no mAP; `baseline` is what the policy's baseline audit measured.
    """
    outcomes = []
    for name in ("map50_95", "map50"):
        floor = policy.min_map50_95 if name == "map50_95" else policy.min_map50
        if floor is not None:
            outcomes.append(_overall(f"min_{name}", name, floor, evaluation, unmeasured))
    for name, floor in sorted(policy.min_class_map50_95.items()):
        outcomes.append(_class(name, floor, evaluation, unmeasured))
    outcomes.extend(_regression(policy, evaluation, baseline, unmeasured))
    return outcomes


def _overall(
    rule: str, metric: str, floor: float, evaluation: EvaluationFacts | None, unmeasured: str
) -> PolicyOutcome:
    if evaluation is None:
        return PolicyOutcome(rule, "not_run", threshold=floor, reason=unmeasured)
    value = evaluation.metrics.map50_95 if metric == "map50_95" else evaluation.metrics.map50
    return floor_outcome(rule, value, evaluation.ci95.get(metric), floor)


def _class(name: str, floor: float, evaluation: EvaluationFacts | None, unmeasured: str) -> PolicyOutcome:
    rule = f"min_class_map50_95.{name}"
    if evaluation is None:
        return PolicyOutcome(rule, "not_run", threshold=floor, reason=unmeasured)
    entry = next((entry for entry in evaluation.per_class if entry.name == name), None)
    if entry is None:
        return PolicyOutcome(rule, "not_run", threshold=floor, reason="The model has no class of this name.")
    if entry.map50_95 is None:
        return PolicyOutcome(
            rule, "inconclusive", threshold=floor, reason="Validation holds no instance of this class."
        )
    return floor_outcome(rule, entry.map50_95, entry.map50_95_ci95, floor)


def floor_outcome(rule: str, value: float, interval: Interval | None, floor: float) -> PolicyOutcome:
    """`broken` if value and the whole interval lie below the floor, `met` if value and the whole interval reach it,
    `inconclusive` if the interval spans the floor or there is none."""
    if interval is None:
        return PolicyOutcome(rule, "inconclusive", value, floor, None, "The value has no interval.")
    outcome: PolicyResult = "inconclusive"
    reason: str | None = "The 95 % interval spans the floor."
    if value < floor and interval[1] < floor:
        outcome, reason = "broken", None
    elif value >= floor and interval[0] >= floor:
        outcome, reason = "met", None
    return PolicyOutcome(rule, outcome, value, floor, interval, reason)


def _regression(
    policy: Policy, evaluation: EvaluationFacts | None, baseline: Baseline | None, unmeasured: str
) -> list[PolicyOutcome]:
    """How far mAP50-95 fell below the baseline, against the largest fall allowed: none, if the policy names none."""
    if policy.max_regression is None and policy.baseline_audit is None:
        return []
    largest = policy.max_regression or 0.0
    reason = None
    if baseline is None:
        reason = NO_BASELINE if policy.baseline_audit is None else BASELINE_ELSEWHERE
    elif baseline.map50_95 is None:
        reason = "The baseline audit has no mAP to compare with: its validation could not be run."
    elif evaluation is None:
        reason = unmeasured
    if reason is not None or baseline is None or baseline.map50_95 is None or evaluation is None:
        return [PolicyOutcome("max_regression", "not_run", threshold=largest, reason=reason)]
    measured = evaluation.metrics.map50_95
    interval = difference_interval(measured, evaluation.ci95.get("map50_95"), baseline.map50_95, baseline.ci95)
    return [_ceiling_outcome("max_regression", baseline.map50_95 - measured, interval, largest)]


def _ceiling_outcome(rule: str, value: float, interval: Interval | None, ceiling: float) -> PolicyOutcome:
    """As `floor_outcome`, of a value that should not exceed `ceiling`."""
    mirrored = floor_outcome(rule, -value, None if interval is None else (-interval[1], -interval[0]), -ceiling)
    reason = mirrored.reason and mirrored.reason.replace("floor", "largest regression allowed")
    return PolicyOutcome(rule, mirrored.outcome, value, ceiling, interval, reason)
