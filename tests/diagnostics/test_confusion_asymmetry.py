"""The direction of confusions between rare and frequent classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runaudit.diagnostics.class_imbalance import examine
from runaudit.diagnostics.confusion_asymmetry import asymmetry_of, rare_gap_of
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.evaluation.label_facts import ClassConfusion
from tests.diagnostics import cases

COUNTS = np.array([3000.0, 2000.0, 100.0])
FOUND = {0: 200, 1: 200, 2: 200}


def confused(confusions: dict[tuple[int, int], int], class_map: tuple[float, ...] = (0.7, 0.7, 0.4)) -> EvaluationFacts:
    quality = cases.label_quality().model_copy(
        update={
            "found": FOUND,
            "confusions": tuple(
                ClassConfusion(labelled=labelled, detected=detected, labels=labels)
                for (labelled, detected), labels in confusions.items()
            ),
        }
    )
    return cases.evaluation(0.6, instances=(200, 200, 200), class_map=class_map, label_quality=quality)


def test_rare_labels_taken_for_frequent_ones_are_told_from_equal_rates():
    uneven = asymmetry_of(COUNTS, confused({(2, 0): 40, (0, 2): 4, (2, 1): 20, (1, 2): 2}))
    assert uneven is not None and uneven.sure
    assert (uneven.to_frequent, uneven.confused, uneven.expected) == (60, 66, pytest.approx(33))
    even = asymmetry_of(COUNTS, confused({(2, 0): 24, (0, 2): 22}))
    assert even is not None and not even.sure


def test_more_labels_of_the_frequent_class_in_validation_are_accounted_for():
    evaluation = confused({(2, 0): 10, (0, 2): 40})
    quality = evaluation.label_quality
    assert quality is not None
    evaluation = evaluation.model_copy(update={"label_quality": quality.model_copy(update={"found": {0: 400, 2: 100}})})
    same_rates = asymmetry_of(COUNTS, evaluation)
    assert same_rates is not None and same_rates.expected == pytest.approx(10) and not same_rates.sure


def test_nothing_is_said_without_confusions_or_review():
    assert asymmetry_of(COUNTS, confused({})) is None
    assert asymmetry_of(COUNTS, cases.evaluation(label_quality=None)) is None
    assert rare_gap_of(np.array([300.0, 200.0, 100.0]), confused({})) is None


def imbalanced(evaluation: EvaluationFacts):
    counts = (3000, 2000, 100)
    return examine(replace(cases.healthy(), dataset=cases.dataset(counts, counts), evaluation=evaluation))


def test_with_few_classes_gap_and_direction_together_are_major():
    result = imbalanced(confused({(2, 0): 40, (0, 2): 4}))
    assert result.finding is not None and result.finding.severity == "major"
    # The rare class' lag of 0.3 takes 0.1 off the mean of three; balanced classes gained half as much again.
    assert result.finding.impact.value == pytest.approx(1.5 * 0.3 / 3)
    assert result.finding.impact.ci95 is not None and result.finding.impact.ci95[0] < 0.08
    assert result.finding.affected_classes == ("class2",)


@pytest.mark.parametrize(
    "evaluation",
    [confused({(2, 0): 22, (0, 2): 20}), confused({(2, 0): 40, (0, 2): 4}, (0.7, 0.7, 0.69))],
    ids=["harder but not biased", "biased at no cost"],
)
def test_a_harder_rare_class_and_a_harmless_direction_are_not(evaluation: EvaluationFacts):
    result = imbalanced(evaluation)
    assert result.finding is None or result.finding.severity == "minor"


def test_no_focal_loss_while_overlooked_objects_are_suspected():
    counts = (5000, 2000, 800, 300, 120, 50, 20)
    val = (400, 200, 150, 100, 80, 60, 40)
    worse = (0.8, 0.72, 0.65, 0.55, 0.45, 0.35, 0.2)

    def titles(overlooked: float) -> str:
        evaluation = cases.evaluation(
            0.5, instances=val, class_map=worse, label_quality=cases.label_quality(overlooked=overlooked)
        )
        result = examine(replace(cases.healthy(), dataset=cases.dataset(counts, counts), evaluation=evaluation))
        assert result.finding is not None
        return " ".join(remedy.title for remedy in result.finding.remedies)

    assert "Focal loss" in titles(0.002)
    assert "Focal loss" not in titles(0.08)
