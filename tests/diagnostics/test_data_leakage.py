"""How grave leaked images are: by what they inflate, and by how many they are."""

from __future__ import annotations

import pytest

from runaudit.diagnostics.data_leakage import CHECK
from runaudit.diagnostics.evidence import CheckResult, Evidence
from runaudit.evaluation.facts import InterventionFacts, LeakageFacts
from tests.diagnostics.cases import run
from tests.diagnostics.comparisons import change, leakage


def judged(facts: LeakageFacts | None, *changes: InterventionFacts) -> CheckResult:
    absent = {"training": "The data set has no training split."}
    return CHECK.examine(Evidence(run=run(), leakage=facts, interventions=changes, absent=absent))


def test_nothing_leaked() -> None:
    result = judged(leakage())
    assert (result.outcome, result.effect, result.n) == ("passed", 0.0, 100)


def test_nothing_to_compare_with() -> None:
    assert (judged(None).outcome, judged(None).reason) == ("not_run", "The data set has no training split.")


@pytest.mark.parametrize(
    ("facts", "without", "severity"),
    [
        (leakage(near=10), change("without_leaked_images", 0.6, 0.55, 0.01), "major"),
        (leakage(near=10), change("without_leaked_images", 0.6, 0.595, 0.01), "minor"),
        (leakage(near=10), change("without_leaked_images", 0.6, 0.55, 0.08), "minor"),
        (leakage(exact=1), change("without_leaked_images", 0.6, 0.601, 0.001), "minor"),
        (leakage(exact=30, near=30), change("without_leaked_images", 0.6, 0.59, 0.01), "critical"),
        (leakage(exact=90), None, "critical"),
    ],
)
def test_copies(facts: LeakageFacts, without: InterventionFacts | None, severity: str) -> None:
    result = judged(facts, *([without] if without else []))
    assert result.finding is not None
    assert result.finding.severity == severity
    assert result.finding.affected_images == facts.leaked
    impact = result.finding.impact
    if without is None:
        assert impact.direction == "unjudgeable"
    else:
        assert (impact.direction, impact.grade) == ("inflates", "intervention")
        assert impact.value == pytest.approx(max(0.0, without.before - without.after))


def test_scenes_that_both_splits_show_are_a_warning() -> None:
    result = judged(leakage(scene=40))
    assert (result.outcome, result.effect) == ("warned", pytest.approx(0.4))
    assert judged(leakage(scene=3)).outcome == "passed"
