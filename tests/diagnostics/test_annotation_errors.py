"""Annotation errors: what rates, habits and annotators come to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.diagnostics.annotation_errors import examine
from runaudit.diagnostics.evidence import Evidence
from runaudit.evaluation.facts import Interval, InterventionFacts
from runaudit.evaluation.label_facts import READ_AS, LabelQualityFacts, SuspectFacts
from runaudit.evaluation.label_readings import NEIGHBOURS, RULES
from runaudit.runs.facts import AgreementFacts
from tests.diagnostics import cases


def gained(name: str, difference: float, ci95: Interval | None = None) -> InterventionFacts:
    return InterventionFacts(
        name=name,
        description="Changed.",
        grade="oracle",
        before=0.5,
        after=0.5 + difference,
        difference=difference,
        ci95=ci95 or (difference - 0.01, difference + 0.01),
        images=300,
    )


def seen(quality: LabelQualityFacts | None, *interventions: InterventionFacts, **changes: object) -> Evidence:
    return replace(
        cases.healthy(), evaluation=cases.evaluation(label_quality=quality), interventions=interventions, **changes
    )


def test_clean_labels_pass_and_say_the_highest_rate():
    result = examine(cases.healthy())
    assert result.outcome == "passed" and result.ci95 is not None and "0.2 %" in result.reason


@pytest.mark.parametrize("kind", ["overlooked", "swapped", "misplaced", "spurious", "duplicated"])
def test_errors_that_cost_are_major(kind: str):
    evidence = seen(
        cases.label_quality(**{kind: 0.1}), gained("suspects_corrected", 0.06), gained("random_corrected", 0.01)
    )
    result = examine(evidence)
    assert result.finding is not None and result.finding.severity == "major"
    assert result.effect == 0.1 and result.ci95 == pytest.approx((0.094, 0.106))
    impact = result.finding.impact
    assert (impact.value, impact.grade) == (pytest.approx(0.05), "oracle")
    assert impact.ci95 == (pytest.approx(0.03), pytest.approx(0.07))
    assert result.finding.remedies and "10.0 %" in result.finding.title


def test_many_spurious_labels_cost_by_their_rate_more_than_those_that_can_be_named():
    # 400 of 600 labels were judged, 0.3 of them are spurious: recall ends at 0.8.
    evidence = seen(cases.label_quality(spurious=0.3), gained("suspects_corrected", 0.05))
    result = examine(evidence)
    assert result.finding is not None and result.finding.severity == "major"
    impact = result.finding.impact
    assert (impact.value, impact.grade) == (pytest.approx(0.6 * 0.2 / 0.8), "observational")
    assert impact.ci95 is not None and impact.value is not None and impact.ci95[0] < impact.value < impact.ci95[1]
    few = examine(seen(cases.label_quality(spurious=0.05), gained("suspects_corrected", 0.05)))
    assert few.finding is not None and few.finding.impact.grade == "oracle"


def test_a_gain_no_larger_than_its_sham_is_minor():
    evidence = seen(
        cases.label_quality(swapped=0.05), gained("suspects_corrected", 0.03), gained("random_corrected", 0.02)
    )
    result = examine(evidence)
    assert result.finding is not None and result.finding.severity == "minor"


def test_labels_that_only_go_need_no_sham():
    evidence = seen(cases.label_quality(duplicated=0.1), gained("suspects_corrected", 0.05))
    result = examine(evidence)
    assert result.finding is not None and result.finding.impact.value == pytest.approx(0.05)


def test_a_rate_that_may_be_nothing_passes():
    assert examine(seen(cases.label_quality(swapped=0.015))).outcome == "passed"


def test_images_to_review_come_likeliest_first_and_once():
    suspects = tuple(
        SuspectFacts(kind="swapped", image=image, class_id=0, suggested_class=1, score=score)
        for image, score in (("b.jpg", 0.9), ("a.jpg", 0.8), ("b.jpg", 0.7), ("c.jpg", 0.3))
    )
    quality = cases.label_quality(swapped=0.1).model_copy(update={"suspects": suspects})
    finding = examine(seen(quality)).finding
    assert finding is not None and finding.affected_images == ("b.jpg", "a.jpg")


@pytest.mark.parametrize(
    ("habit", "said"),
    [
        (cases.box_habit(1.25, 1.2), "1.25 times as wide"),
        (cases.box_habit(0.8, 0.8), "0.80 times as wide"),
        (cases.box_habit(right=0.1), "shifted by +0.10"),
    ],
)
def test_a_constant_habit_is_major_by_what_taking_it_off_gains(habit, said: str):
    quality = cases.label_quality().model_copy(update={"habits": (habit,)})
    result = examine(seen(quality, gained("box_habit_corrected", 0.12)))
    assert result.finding is not None and result.finding.severity == "major" and said in result.finding.title
    assert result.finding.impact.grade == "intervention" and result.finding.impact.value == pytest.approx(0.12)
    code = result.finding.remedies[0].code
    assert code is not None
    compile(code, "remedy", "exec")
    harmless = examine(seen(quality, gained("box_habit_corrected", 0.005)))
    assert harmless.finding is not None and harmless.finding.severity == "minor"


def test_the_bias_of_small_objects_passes():
    """What a model without any fault showed where objects are small."""
    quality = cases.label_quality().model_copy(update={"habits": (cases.box_habit(0.93, 0.93),)})
    assert examine(seen(quality)).outcome == "passed"


def test_one_loose_class_is_named():
    habits = (cases.box_habit(1.05, 1.05), cases.box_habit(1.4, 1.35, class_id=1), cases.box_habit(class_id=0))
    result = examine(seen(cases.label_quality().model_copy(update={"habits": habits})))
    assert result.finding is not None and result.finding.affected_classes == ("class1",)
    assert result.finding.severity == "minor"


def agreement(alpha: float, class_id: int | None = None) -> AgreementFacts:
    return AgreementFacts(
        first="labels",
        second="anna",
        class_id=class_id,
        images=50,
        matched=80,
        only_first=10,
        only_second=10,
        found=0.89,
        found_ci95=(0.85, 0.92),
        same_class=0.95,
        kappa=0.9,
        alpha=alpha,
        mean_iou=0.8,
    )


@pytest.mark.parametrize(("alpha", "severity"), [(0.5, "major"), (0.75, "minor"), (0.9, None)])
def test_annotators_that_disagree(alpha: float, severity: str | None):
    data = cases.dataset(agreement=(agreement(alpha), agreement(alpha, 0)))
    result = examine(seen(cases.label_quality(), dataset=data))
    assert (result.finding.severity if result.finding is not None else None) == severity
    alone = examine(replace(cases.healthy(), evaluation=None, dataset=data, absent={"evaluation": "No model."}))
    assert alone.outcome == {"major": "failed", "minor": "warned", None: "inconclusive"}[severity]


def test_several_issues_stand_in_one_finding_under_the_gravest():
    data = cases.dataset(agreement=(agreement(0.75),))
    evidence = seen(cases.label_quality(overlooked=0.1, swapped=0.2), gained("suspects_corrected", 0.09), dataset=data)
    finding = examine(evidence).finding
    assert finding is not None
    assert finding.title.startswith("20.0 % of the labels have the wrong class")
    assert "10.0 % of the objects have no label" in finding.explanation and "alpha" in finding.explanation
    names = [entry.name for entry in finding.evidence]
    assert len(names) == len(set(names))


def test_what_can_not_be_judged_says_why():
    assert examine(cases.without_everything()).outcome == "not_run"
    assert examine(seen(None)).outcome == "inconclusive"
    unknown = tuple(
        cases.error_rate(kind, 0.0).model_copy(update={"rate": None, "ci95": None, "why": "Only 3 labels."})
        for kind in ("overlooked", "spurious", "swapped", "misplaced")
    )
    result = examine(seen(LabelQualityFacts(rates=(*unknown, cases.error_rate("duplicated", 0.0)))))
    assert result.outcome == "inconclusive" and "Only 3 labels." in result.reason


def test_labels_written_by_another_rule_are_critical_and_explain_what_they_cost():
    reading = gained("labels_read_as_corners", 0.4, (0.35, 0.45)).model_copy(update={"grade": "intervention"})
    result = examine(seen(cases.label_quality(), reading))
    assert result.finding is not None and result.finding.severity == "critical"
    assert "two corners" in result.finding.title
    assert (result.finding.impact.value, result.finding.impact.ci95) == (0.4, (0.35, 0.45))
    code = next(remedy.code for remedy in result.finding.remedies if remedy.code)
    compile(code, "remedy", "exec")


@pytest.mark.parametrize("name", [*(rule.name for rule in RULES), *NEIGHBOURS])
def test_every_rule_that_is_tried_has_its_words(name: str):
    result = examine(seen(cases.label_quality(), gained(f"{READ_AS}{name}", 0.4)))
    assert result.finding is not None and result.finding.remedies


def test_labels_of_images_that_exif_turns_are_told_with_the_images():
    assert examine(seen(cases.label_quality(), gained("labels_read_as_before_turning", 0.4))).outcome == "passed"
