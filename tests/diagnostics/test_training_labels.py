"""Labels of training: what is found by the contrast with validation, how grave it is, and what it explains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.diagnostics.annotation_errors import examine
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.label_issues import LIMITS
from runaudit.evaluation.label_facts import Contradiction, ContrastFacts, LabelQualityFacts
from tests.diagnostics import cases

TITLES: dict[Contradiction, str] = {
    "overlooked": "are of nothing that is labelled",
    "swapped": "are of a label of another class",
    "misplaced": "lie beside a label",
}


def contrast(kind: Contradiction, lower: float, difference: float = 0.3) -> ContrastFacts:
    return ContrastFacts(
        kind=kind,
        training=0.05 + difference,
        validation=0.05,
        difference=difference,
        ci95=(lower, difference + 0.05),
        detections=300,
        images=("images/train/7.jpg", "images/train/2.jpg"),
    )


def trained(*facts: ContrastFacts, quality: LabelQualityFacts | None = None) -> Evidence:
    evaluation = cases.evaluation(label_quality=quality or cases.label_quality())
    return replace(cases.healthy(), evaluation=evaluation, label_contrast=facts)


@pytest.mark.parametrize("kind", TITLES)
def test_what_training_labels_contradict_more_is_major(kind: Contradiction):
    result = examine(trained(contrast(kind, 0.2)))
    assert result.outcome == "failed" and result.finding is not None
    assert result.finding.title == f"35% of the detections in training images {TITLES[kind]}" + (
        ", not on it" if kind == "misplaced" else ""
    )
    assert "validation images it is 5%" in result.finding.explanation
    assert result.finding.affected_images == ("images/train/7.jpg", "images/train/2.jpg")
    assert result.finding.evidence[0].ci95 == pytest.approx((0.2, 0.35))
    # How much of mAP better labels would bring takes a training to tell.
    assert result.finding.impact.value is None


def test_a_little_more_is_minor_and_no_more_is_nothing():
    little = examine(trained(contrast("overlooked", LIMITS.contrast, 0.04)))
    assert little.finding is not None and little.finding.severity == "minor"
    none = examine(trained(*(contrast(kind, LIMITS.contrast - 0.001, 0.04) for kind in TITLES)))
    assert none.outcome == "passed"


def test_it_is_found_where_the_model_is_too_unsure_to_judge_validation():
    weak = cases.label_quality().model_copy(update={"too_little": "The model is too weak.", "rates": ()})
    assert examine(trained(quality=weak)).outcome == "inconclusive"
    assert examine(trained(contrast("overlooked", 0.2), quality=weak)).outcome == "failed"


def test_missing_labels_forbid_focal_loss():
    result = examine(trained(contrast("overlooked", 0.2)))
    assert result.finding is not None
    assert any("focal" in remedy.title for remedy in result.finding.remedies)
