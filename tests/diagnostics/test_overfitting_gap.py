"""Overfitting by mAP on training images: beyond a threshold, less what a shift costs, never where copies leaked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.evidence import CheckResult, Evidence
from runaudit.diagnostics.overfitting import CHECK
from runaudit.diagnostics.overfitting_gap import LIMITS
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.evaluation.facts import InterventionFacts, LeakageFacts, ShiftFacts
from runaudit.evaluation.label_facts import LabelQualityFacts
from tests.diagnostics.cases import dataset, error_rate, evaluation, run
from tests.diagnostics.comparisons import change, leakage, property_shift, shift


def judged(gap: float, half_width: float = 0.03, **changes: Any) -> CheckResult:
    return CHECK.examine(evidence(gap, half_width, **changes))


def evidence(
    gap: float,
    half_width: float = 0.03,
    *,
    others: tuple[InterventionFacts, ...] = (),
    leaked: LeakageFacts | None = None,
    shifted: ShiftFacts | None = None,
) -> Evidence:
    training = change("training_images", 0.55, 0.55 + gap, half_width, grade="observational")
    return Evidence(
        run=run(),
        dataset=dataset(),
        evaluation=evaluation(0.55),
        training=evaluation(0.55 + gap, split="train"),
        interventions=(training, *others),
        leakage=leaked or leakage(),
        shift=shifted or shift(),
    )


def test_a_wide_gap_is_overfitting() -> None:
    result = judged(0.3)
    assert (result.outcome, result.effect) == ("failed", pytest.approx(0.3))
    assert result.finding is not None
    # Validation never reaches what the model does on images that it knows: mending gains a part of the gap.
    assert result.finding.evidence[0].ci95 == pytest.approx((0.27, 0.33))
    impact = result.finding.impact
    assert impact.value == pytest.approx(LIMITS.recovered * 0.3)
    assert impact.ci95 == pytest.approx((LIMITS.recovered_least * 0.27, LIMITS.recovered_most * 0.33))
    assert "dropout" in result.finding.remedies[-1].why.lower()


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.06, 0.12])
def test_the_gap_of_a_healthy_run_is_none(gap: float) -> None:
    assert judged(gap).outcome == "passed"


def test_an_uncertain_gap_is_none() -> None:
    assert judged(0.3, half_width=0.25).outcome == "passed"


def test_what_wrong_validation_labels_cost_is_no_overfitting() -> None:
    corrected = change("suspects_corrected", 0.55, 0.68, 0.02, grade="oracle")
    with_suspects = evidence(0.15, others=(corrected,))
    assert CHECK.examine(with_suspects).outcome == "failed", "labels that are not surely wrong explain nothing"
    quality = LabelQualityFacts(rates=(error_rate("spurious", 0.2, half_width=0.05),))
    measured = evaluation(0.55).model_copy(update={"label_quality": quality})
    result = CHECK.examine(replace(with_suspects, evaluation=measured))
    assert result.outcome == "passed"
    assert result.effect == pytest.approx(0.15 - 0.11)
    assert "wrong validation labels cost" in result.reason


def test_what_a_shift_costs_is_no_overfitting() -> None:
    regained = change("match_photometry", 0.55, 0.75, 0.02)
    assert judged(0.25, others=(regained,)).outcome == "passed"
    assert judged(0.5, others=(regained,)).outcome == "failed"


@pytest.mark.parametrize("name", ["without_blank_images", "labels_read_as_mirrored"])
def test_what_images_without_content_or_misread_labels_cost_is_no_overfitting(name: str) -> None:
    regained = change(name, 0.55, 0.75, 0.02)
    assert judged(0.25, others=(regained,)).outcome == "passed"


def test_copies_in_validation_leave_it_open() -> None:
    assert judged(0.0, leaked=leakage(exact=60)).outcome == "inconclusive"
    without = change("without_leaked_images", 0.7, 0.55, 0.02)
    assert judged(0.3, leaked=leakage(exact=60), others=(without,)).outcome == "failed"


def test_a_shift_that_costs_stands_before_the_overfitting_that_it_explains() -> None:
    lost = change("training_images_like_validation", 0.85, 0.6, 0.03)
    found = evidence(0.3, others=(lost,), shifted=shift(property_shift("brightness", 0.8), area=0.99))
    results = explain_away(examine_all(found))
    ranked = rank(results)
    assert ranked[0].cause == "distribution_shift"
    (explained,) = [result.finding for result in ranked if result.cause == "overfitting"]
    assert explained is not None
    assert "Explained by distribution_shift" in explained.explanation
