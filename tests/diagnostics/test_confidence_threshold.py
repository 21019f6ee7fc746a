"""The default threshold: what it costs, by how much it is known, calibration, and the remedies."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from runaudit.diagnostics.confidence_threshold import examine
from runaudit.diagnostics.evidence import CheckResult
from runaudit.diagnostics.ranking import explain_away
from tests.diagnostics import cases


def judged(**changes: object) -> CheckResult:
    return examine(replace(cases.healthy(), evaluation=cases.evaluation(**changes)))


def test_what_any_trained_model_loses_is_no_finding() -> None:
    result = judged(thresholds=cases.thresholds(0.034, half_width=0.012))
    assert result.outcome == "passed"
    assert result.effect == 0.034
    assert result.ci95 == pytest.approx((0.022, 0.046))
    assert "0.35" in result.reason
    assert "underconfident by 0.100" in result.reason


@pytest.mark.parametrize(("lost", "outcome"), [(0.05, "warned"), (0.2, "failed")])
def test_a_loss_beyond_doubt_is_found(lost: float, outcome: str) -> None:
    result = judged(thresholds=cases.thresholds(lost, best=0.07))
    assert result.outcome == outcome
    finding = result.finding
    assert finding is not None
    assert (finding.impact.metric, finding.impact.value, finding.impact.grade) == ("f1", lost, "intervention")
    assert finding.remedies[0].patch == {"conf": 0.07}
    assert finding.affected_classes == ("class1",)


def test_a_loss_that_may_be_large_or_nothing_is_inconclusive() -> None:
    result = judged(thresholds=cases.thresholds(0.06, half_width=0.05))
    assert result.outcome == "inconclusive"


def test_the_impact_is_never_below_zero() -> None:
    """Miscalibrated, and the default not shown to cost anything: found, without a number of F1 at stake."""
    result = judged(thresholds=cases.thresholds(0.005), calibration=cases.calibration(0.4))
    assert result.outcome == "warned"
    finding = result.finding
    assert finding is not None
    assert finding.impact.value is None
    assert "calibration" in finding.evidence[0].name
    assert [remedy.title for remedy in finding.remedies] == ["Recalibrate the confidences"]


def test_calibration_that_is_as_usual_or_by_chance_is_no_finding() -> None:
    assert judged(calibration=cases.calibration(0.15)).outcome == "passed"
    by_chance = judged(calibration=cases.calibration(0.3, by_chance=0.4))
    assert by_chance.outcome == "passed"
    assert "as far as chance" in by_chance.reason
    assert judged(calibration=None).outcome == "passed"


def test_a_threshold_for_each_class_is_proposed_only_if_it_helps_on_other_images() -> None:
    plain = judged(thresholds=cases.thresholds(0.2))
    helped = judged(thresholds=cases.thresholds(0.2, class_gain=0.02))
    assert plain.finding is not None
    assert helped.finding is not None
    assert len(plain.finding.remedies) == 1
    remedy = helped.finding.remedies[1]
    assert remedy.code is not None
    assert "{0: 0.35, 1: 0.35}" in remedy.code


def test_the_code_of_remedies_is_python() -> None:
    result = judged(thresholds=cases.thresholds(0.2, class_gain=0.02), calibration=cases.calibration(0.4))
    assert result.finding is not None
    assert len(result.finding.remedies) == 3
    for remedy in result.finding.remedies:
        assert remedy.code is not None
        ast.parse(remedy.code)


def test_too_few_objects_or_none_found() -> None:
    assert judged(instances=(10, 10)).outcome == "inconclusive"
    nothing = cases.thresholds(0.0).overall.model_copy(update={"f1": 0.0, "f1_default": 0.0})
    result = judged(thresholds=cases.thresholds(0.0, overall=nothing))
    assert result.outcome == "inconclusive"
    assert "not the threshold" in result.reason


def test_the_words_fit_what_was_measured() -> None:
    at_default = judged(thresholds=cases.thresholds(0.0, best=0.25))
    assert at_default.outcome == "passed" and "at the default threshold itself" in at_default.reason
    vague = judged(thresholds=cases.thresholds(0.05, half_width=0.2))
    assert vague.outcome == "inconclusive" and "-0.15 to 0.25 of F1" in vague.reason
    unknown = cases.thresholds(0.0).overall.model_copy(update={"lost_ci95": None})
    assert "are needed" not in judged(thresholds=cases.thresholds(0.0, overall=unknown)).reason


def test_without_validation_or_thresholds_it_is_not_run() -> None:
    assert examine(cases.without_everything()).outcome == "not_run"
    assert judged(thresholds=None).outcome == "not_run"


def test_a_model_that_learnt_too_little_explains_it() -> None:
    result = judged(thresholds=cases.thresholds(0.2))
    rate = replace(result, cause="learning_rate")
    assert rate.finding is not None
    explained = {entry.cause: entry for entry in explain_away([rate, result])}
    finding = explained["confidence_threshold"].finding
    assert finding is not None
    assert "Explained by learning_rate" in finding.explanation
