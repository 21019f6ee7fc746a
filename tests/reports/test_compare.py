"""Two reports side by side: what is beyond noise, and what is gone, new and other."""

from __future__ import annotations

import itertools

import pytest

from runaudit.diagnostics.policy import Policy
from runaudit.reports.compare import Comparison, compare
from runaudit.reports.schema import ClassResult, Report
from tests.diagnostics import cases
from tests.reports.cases import build, faulty_evidence
from tests.reports.filled import filled


def with_map(report: Report, value: float, half_width: float) -> Report:
    assert report.validation is not None
    assert report.validation.metrics.box is not None
    box = report.validation.metrics.box.model_copy(update={"map50_95": value})
    metrics = report.validation.metrics.model_copy(update={"box": box})
    ci95 = report.validation.ci95 | {"map50_95": (value - half_width, value + half_width)}
    return report.model_copy(
        update={"validation": report.validation.model_copy(update={"metrics": metrics, "ci95": ci95})}
    )


def with_classes(report: Report, values: dict[str, float], half_width: float) -> Report:
    assert report.validation is not None
    entries = [
        ClassResult(
            class_id=index,
            name=name,
            images=9,
            instances=9,
            map50_95=value,
            map50_95_ci95=(value - half_width, value + half_width),
        )
        for index, (name, value) in enumerate(values.items())
    ]
    return report.model_copy(update={"validation": report.validation.model_copy(update={"per_class": entries})})


def changed(comparison: Comparison, metric: str = "box_map50_95") -> str:
    return next(one.change for one in comparison.metrics if one.metric == metric)


@pytest.mark.parametrize(
    ("after", "change"), [(0.65, "better"), (0.52, "within_noise"), (0.48, "within_noise"), (0.4, "worse")]
)
def test_a_metric_has_changed_where_the_interval_of_the_difference_leaves_zero_out(after: float, change: str):
    healthy = build(cases.healthy())
    comparison = compare(with_map(healthy, 0.5, 0.03), with_map(healthy, after, 0.04))
    assert changed(comparison) == change
    found = next(one for one in comparison.metrics if one.metric == "box_map50_95")
    assert found.difference == pytest.approx(after - 0.5)
    assert found.difference_ci95 == pytest.approx((after - 0.5 - 0.05, after - 0.5 + 0.05))
    assert changed(comparison, "box_recall") == "unknown"


def test_classes_that_changed_beyond_noise_the_largest_loss_first():
    healthy = build(cases.healthy())
    before = with_classes(healthy, {"cat": 0.5, "dog": 0.5, "cow": 0.5, "gone": 0.5}, 0.03)
    after = with_classes(healthy, {"cow": 0.6, "dog": 0.51, "cat": 0.3, "new": 0.9}, 0.03)
    classes = compare(before, after).classes
    assert [(one.name, one.change) for one in classes] == [("cat", "worse"), ("cow", "better")]


def test_causes_gone_new_and_of_another_severity():
    healthy, faulty = build(cases.healthy()), build(faulty_evidence())
    forwards, backwards = compare(healthy, faulty), compare(faulty, healthy)
    found = [finding.cause for finding in faulty.findings]
    assert [cause.cause for cause in forwards.causes_new] == found
    assert [cause.cause for cause in backwards.causes_gone] == found
    assert forwards.causes_gone == backwards.causes_new == forwards.causes_changed == []
    assert (forwards.verdict.before, forwards.verdict.after) == ("pass", "fail")
    milder = [finding.model_copy(update={"severity": "minor"}) for finding in faulty.findings]
    eased = compare(faulty, faulty.model_copy(update={"findings": milder}))
    assert {(one.before, one.after) for one in eased.causes_changed} <= {("critical", "minor"), ("major", "minor")}
    assert eased.causes_changed
    assert compare(faulty, faulty).causes_changed == []


def test_arguments_and_rules_that_differ():
    first = build(cases.healthy(), Policy(min_map50_95=0.1))
    second = build(cases.healthy(), Policy(min_map50_95=0.99, min_map50=0.1))
    arguments = first.run.args | {"lr0": 0.5, "new": None}
    second = second.model_copy(update={"run": second.run.model_copy(update={"args": arguments})})
    comparison = compare(first, second)
    assert [(one.name, one.before, one.after) for one in comparison.arguments] == [
        ("lr0", 0.01, 0.5),
        ("new", None, None),
    ]
    assert [(one.rule, one.before, one.after) for one in comparison.policy] == [
        ("min_map50_95", "met", "broken"),
        ("min_map50", None, "met"),
    ]


def test_what_was_not_validated_has_no_metrics_to_compare():
    whole = build(cases.healthy())
    comparison = compare(whole, whole.model_copy(update={"validation": None}))
    assert comparison.metrics == comparison.classes == []
    assert any("could not validate" in note for note in comparison.notes)
    assert compare(whole, whole).notes == []


def test_a_report_with_everything_in_it_is_the_same_as_itself():
    words = itertools.count()
    report = filled(lambda: f"word {next(words)}")
    comparison = compare(report, report)
    assert {one.difference for one in comparison.metrics} == {0.0}
    assert comparison.causes_gone == comparison.causes_new == comparison.arguments == comparison.classes == []
