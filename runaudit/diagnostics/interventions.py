"""Finds an intervention of the evidence by its name."""

from __future__ import annotations

from runaudit.diagnostics.evidence import Evidence
from runaudit.evaluation.facts import InterventionFacts


def named(evidence: Evidence, name: str) -> InterventionFacts | None:
    """The intervention of this name, or None if it was not done."""
    return next((one for one in evidence.interventions if one.name == name), None)


def why_failed(evidence: Evidence, *names: str) -> str | None:
    """Why the first of these interventions that was tried gave nothing, a sentence; None if none of them failed."""
    return next((why for name in names if (why := evidence.absent.get(f"intervention {name}"))), None)


def surely(change: InterventionFacts, least: float) -> bool:
    """Whether the change gains at least `least`, and its interval lies above 0."""
    return change.difference >= least and change.ci95 is not None and change.ci95[0] > 0
