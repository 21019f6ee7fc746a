"""Several faults of one cause, found apart, as the one finding that a check gives: the gravest names it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runaudit.causes import CauseId
from runaudit.diagnostics.answers import NO_IMPACT, found
from runaudit.diagnostics.evidence import CheckResult, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.ranking import SEVERITIES


@dataclass(frozen=True)
class Part:
    """One fault: as `answers.found` takes it. `effect` is the number that its size is told by."""

    severity: Severity
    title: str
    explanation: str
    evidence: tuple[Measurement, ...]
    remedies: tuple[Remedy, ...] = ()
    impact: Impact = NO_IMPACT
    classes: tuple[str, ...] = ()
    effect: float | None = None
    n: int | None = None


def present(parts: Iterable[Part | None]) -> list[Part]:
    """The parts that are there, the gravest first, else in the order given."""
    return sorted((part for part in parts if part is not None), key=lambda part: SEVERITIES.index(part.severity))


def joined(cause: CauseId, parts: list[Part]) -> CheckResult:
    """One finding of all parts (at least one): title, effect and impact of the first, evidence and remedies of all."""
    first = parts[0]
    remedies = {remedy.title: remedy for part in parts for remedy in part.remedies}
    further = "".join(f" Besides: {part.title}. {part.explanation}" for part in parts[1:])
    return found(
        cause,
        first.severity,
        first.title,
        first.explanation + further,
        evidence=tuple(item for part in parts for item in part.evidence),
        impact=first.impact,
        remedies=tuple(remedies.values()),
        classes=tuple(dict.fromkeys(name for part in parts for name in part.classes)),
        effect=first.effect,
        n=first.n,
    )
