"""What the user calls passing, and whether the model does: floors of mAP, judged with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from runaudit.evaluation.facts import EvaluationFacts, Interval

PolicyResult = Literal["met", "broken", "inconclusive", "not_run"]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class Policy(BaseModel):
    """The policy of a request (design.md): floors in [0, 1], and the largest regression against a baseline audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_map50_95: Share | None = None
    min_map50: Share | None = None
    min_class_map50_95: dict[ClassName, Share] = Field(default={}, max_length=10_000)
    baseline_audit: str | None = Field(default=None, min_length=1, max_length=64)
    max_regression: Share | None = None


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


def judge(
    policy: Policy, evaluation: EvaluationFacts | None, *, unmeasured: str = NOT_VALIDATED
) -> list[PolicyOutcome]:
    """Every rule of the policy, in the order of its fields; classes by name. `unmeasured` says why there is no mAP."""
    outcomes = []
    for name in ("map50_95", "map50"):
        floor = policy.min_map50_95 if name == "map50_95" else policy.min_map50
        if floor is not None:
            outcomes.append(_overall(f"min_{name}", name, floor, evaluation, unmeasured))
    for name, floor in sorted(policy.min_class_map50_95.items()):
        outcomes.append(_class(name, floor, evaluation, unmeasured))
    outcomes.extend(_baseline(policy))
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


def _baseline(policy: Policy) -> list[PolicyOutcome]:
    """The regression rule needs the intervals of another audit, which this version does not hand to the auditor."""
    if policy.max_regression is None and policy.baseline_audit is None:
        return []
    if policy.baseline_audit is None:
        reason = "max_regression needs a baseline_audit to compare with."
    else:
        reason = "This version of Runaudit doesn't compare with a baseline audit yet."
    return [PolicyOutcome("max_regression", "not_run", threshold=policy.max_regression, reason=reason)]
