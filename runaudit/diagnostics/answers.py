"""How a check phrases its answer: the constructors of CheckResult that keep outcome, severity and finding in step."""

from __future__ import annotations

from runaudit.causes import CauseId
from runaudit.diagnostics.evidence import (
    Basis,
    CheckResult,
    Evidence,
    Finding,
    Impact,
    Measurement,
    Outcome,
    Remedy,
    Severity,
)
from runaudit.evaluation.facts import Interval

NO_IMPACT = Impact(direction="lowers", grade="none")


def not_run(cause: CauseId, reason: str) -> CheckResult:
    return CheckResult(cause=cause, outcome="not_run", reason=reason)


def inconclusive(
    cause: CauseId, reason: str, *, effect: float | None = None, ci95: Interval | None = None, n: int | None = None
) -> CheckResult:
    return CheckResult(cause=cause, outcome="inconclusive", reason=reason, effect=effect, ci95=ci95, n=n)


def passed(
    cause: CauseId, reason: str, *, effect: float | None = None, ci95: Interval | None = None, n: int | None = None
) -> CheckResult:
    return CheckResult(cause=cause, outcome="passed", reason=reason, effect=effect, ci95=ci95, n=n)


def found(
    cause: CauseId,
    severity: Severity,
    title: str,
    explanation: str,
    *,
    evidence: tuple[Measurement, ...],
    impact: Impact = NO_IMPACT,
    remedies: tuple[Remedy, ...] = (),
    classes: tuple[str, ...] = (),
    images: tuple[str, ...] = (),
    effect: float | None = None,
    ci95: Interval | None = None,
    n: int | None = None,
    basis: Basis = "measured",
) -> CheckResult:
    """A finding: `warned` for a minor one, `failed` for a graver one, as the report contract has it."""
    finding = Finding(
        severity=severity,
        title=title,
        explanation=explanation,
        evidence=evidence,
        impact=impact,
        remedies=remedies,
        affected_classes=classes,
        affected_images=images,
        basis=basis,
    )
    outcome: Outcome = "warned" if severity == "minor" else "failed"
    return CheckResult(cause=cause, outcome=outcome, reason=title, effect=effect, ci95=ci95, n=n, finding=finding)


def why_absent(evidence: Evidence, part: str) -> str:
    """Why `part` of the evidence is missing: the reader's own sentence, or a plain one where it gave none."""
    return evidence.absent.get(part) or f"The audit has no {part} to look at."
