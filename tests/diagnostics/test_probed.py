"""What fine-tuning measured stands among the evidence of the cause that it would mend, and of no other."""

from __future__ import annotations

import pytest

from runaudit.causes import CAUSES, CauseId
from runaudit.diagnostics.answers import found, passed
from runaudit.diagnostics.evidence import CheckResult, Evidence, Measurement
from runaudit.diagnostics.probed import ARMS, with_probe
from runaudit.evaluation.facts import InterventionFacts
from runaudit.runs.facts import RunFacts

RUN = RunFacts(folder="", framework="ultralytics", task="detect", status="finished")


def evidence(*names: str) -> Evidence:
    return Evidence(
        RUN,
        interventions=tuple(
            InterventionFacts(
                name=name,
                description="Trained on.",
                grade="intervention",
                before=0.5,
                after=0.53456,
                difference=0.03456,
                ci95=(0.01, 0.06),
                images=80,
            )
            for name in names
        ),
    )


def finding(cause: CauseId) -> CheckResult:
    return found(cause, "minor", "Found", "Because.", evidence=(Measurement("ratio", 12.0),))


@pytest.mark.parametrize("cause", list(ARMS))
def test_a_finding_gets_the_gain_of_its_own_fix(cause: CauseId) -> None:
    everything = evidence(*(name for name, _ in ARMS.values()))
    before = finding(cause)
    after = with_probe(before, everything)
    assert after.finding is not None
    assert before.finding is not None
    first, second = after.finding.evidence
    assert first == before.finding.evidence[0]
    assert (second.name, second.value, second.ci95, second.n) == (ARMS[cause][1], 0.0346, (0.01, 0.06), 80)
    assert (after.outcome, after.finding.severity, after.finding.impact) == (
        before.outcome,
        before.finding.severity,
        before.finding.impact,
    )


def test_all_others_stay_as_they_are() -> None:
    everything = evidence(*(name for name, _ in ARMS.values()))
    for cause in CAUSES:
        assert with_probe(passed(cause, "Nothing."), everything) == passed(cause, "Nothing.")
        assert with_probe(finding(cause), evidence()) == finding(cause)
        if cause not in ARMS:
            assert with_probe(finding(cause), everything) == finding(cause)
