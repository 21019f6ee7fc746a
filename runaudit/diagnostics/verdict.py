"""The verdict for the whole run, and the sentence that heads the report."""

from __future__ import annotations

from typing import Literal

from runaudit.diagnostics.evidence import METRIC_NAMES, CheckResult, Depth, Evidence, Finding, Impact
from runaudit.diagnostics.policy import PolicyOutcome
from runaudit.evaluation.facts import ClassificationFacts, EvaluationFacts, Interval

Verdict = Literal["pass", "warn", "fail", "inconclusive"]


def decide(
    ranked: list[CheckResult],
    policy: list[PolicyOutcome],
    evaluation: EvaluationFacts | ClassificationFacts | None,
    depth: Depth,
) -> Verdict:
    """The rules of the report contract, in its order.

    A rule of the policy that could not be run is treated as one that its interval spans: nobody knows if it is met.
    """
    if any(outcome.outcome == "broken" for outcome in policy):
        return "fail"
    if any(result.outcome == "failed" for result in ranked):
        return "fail"
    if any(result.outcome == "warned" for result in ranked):
        return "warn"
    unjudged = any(outcome.outcome != "met" for outcome in policy)
    return "inconclusive" if evaluation is None or unjudged or depth == "curves" else "pass"


def headline(
    verdict: Verdict,
    ranked: list[CheckResult],
    results: list[CheckResult],
    policy: list[PolicyOutcome],
    evidence: Evidence,
) -> str:
    """One sentence: the first cause, its evidence and the mAP at stake; else what was measured and what was not."""
    broken = [outcome for outcome in policy if outcome.outcome == "broken"]
    first = ranked[0].finding if ranked else None
    if first is not None and (verdict != "fail" or ranked[0].outcome == "failed" or not broken):
        return _sentence(first, evidence) + (f" {_rule(broken[0])}" if broken else "")
    if broken:
        return _rule(broken[0])
    checked = sum(result.outcome in ("passed", "failed", "warned") for result in results)
    scope = f"{checked} of {len(results)} causes could be checked"
    if evidence.classification is not None:
        return _classifier(evidence.classification, scope, policy)
    if evidence.evaluation is None:
        part = "classification" if evidence.run.task == "classify" else "evaluation"
        why = evidence.absent.get(part, "Validation was not run again.").rstrip(".")
        return f"No fault was found in what could be looked at ({scope}), but validation could not be run again: {why}."
    measured = _value(evidence.evaluation.metrics.map50_95, evidence.evaluation.ci95.get("map50_95"))
    open_rules = [outcome for outcome in policy if outcome.outcome != "met"]
    if open_rules:
        return (
            f"No fault was found ({scope}), but the policy can't be judged: {open_rules[0].rule}, mAP50-95 {measured}."
        )
    return f"No fault was found: mAP50-95 is {measured} on {evidence.evaluation.images} images ({scope})."


def _classifier(measured: ClassificationFacts, scope: str, policy: list[PolicyOutcome]) -> str:
    accuracy = _value(measured.top1, measured.ci95.get("top1"))
    open_rules = [outcome for outcome in policy if outcome.outcome != "met"]
    if open_rules:
        return (
            f"No fault was found ({scope}), but the policy can't be judged: {open_rules[0].rule}, top-1 accuracy "
            f"{accuracy}."
        )
    return f"No fault was found: top-1 accuracy is {accuracy} on {measured.images} images ({scope})."


def _sentence(finding: Finding, known: Evidence) -> str:
    evidence = finding.evidence[0] if finding.evidence else None
    shown = ""
    if evidence is not None and evidence.value is not None:
        limit = f", threshold {_plain(evidence.threshold)}" if evidence.threshold is not None else ""
        place = f", {evidence.source}" if evidence.source else ""
        shown = f" ({evidence.name}: {_plain(evidence.value)}{limit}{place})"
    return f"{finding.title}{shown}{_stake(finding.impact, 'accuracy' if known.run.task == 'classify' else 'mAP')}."


def _stake(impact: Impact, unmeasured: str) -> str:
    if impact.direction == "unjudgeable":
        return "; what the model is worth can't be judged"
    if impact.value is None:
        return f"; the {unmeasured} at stake was not measured"
    name = METRIC_NAMES.get(impact.metric, impact.metric)
    verb = "is not real" if impact.direction == "inflates" else "is at stake"
    return f"; {_value(impact.value, impact.ci95)} {name} {verb}"


def _value(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval is not None else "")


def _plain(value: float | int | str | bool | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rule(outcome: PolicyOutcome) -> str:
    value = "not known" if outcome.value is None else _value(outcome.value, outcome.ci95)
    beyond = "more than" if outcome.rule == "max_regression" else "below the floor of"
    floor = "" if outcome.threshold is None else f", {beyond} {outcome.threshold:g}"
    return f"The policy is broken: {outcome.rule} is {value}{floor}."
