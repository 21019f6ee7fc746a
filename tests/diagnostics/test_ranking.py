"""The order of findings, and what explains what."""

from __future__ import annotations

import pytest

from runaudit.causes import CauseId
from runaudit.diagnostics.answers import found, passed
from runaudit.diagnostics.evidence import Basis, CheckResult, Grade, Impact, Severity
from runaudit.diagnostics.ranking import explain_away, rank


def finding(
    cause: CauseId,
    severity: Severity,
    value: float | None = None,
    ci95: tuple[float, float] | None = None,
    *,
    basis: Basis = "measured",
    effect: float | None = None,
) -> CheckResult:
    impact = Impact("lowers", value, ci95, "observational" if value is not None else "none")
    return found(cause, severity, f"{cause} found", "Because.", evidence=(), impact=impact, basis=basis, effect=effect)


def order(results: list[CheckResult]) -> list[str]:
    return [result.cause for result in rank(explain_away(results))]


def test_severity_comes_first_then_the_lower_end_of_the_impact():
    results = [
        finding("class_imbalance", "minor", 0.5),
        finding("insufficient_epochs", "major", 0.2, (0.01, 0.4)),
        finding("metric_mismatch", "major", 0.05, (0.04, 0.06)),
        finding("checkpoint_integrity", "critical"),
        passed("overfitting", "Nothing."),
    ]
    assert order(results) == ["checkpoint_integrity", "metric_mismatch", "insufficient_epochs", "class_imbalance"]


def test_a_finding_without_a_value_comes_after_those_with_one():
    results = [
        finding("class_imbalance", "major"),
        finding("overfitting", "minor"),
        finding("metric_mismatch", "major", 0.0),
    ]
    assert order(results) == ["metric_mismatch", "class_imbalance", "overfitting"]


def test_a_bad_learning_rate_explains_the_divergence():
    results = [finding("learning_rate", "major"), finding("numerical_divergence", "critical", 0.4)]
    explained = explain_away(results)
    first = explained[0].finding
    assert order(results) == ["learning_rate", "numerical_divergence"]
    assert first is not None and first.severity == "critical" and first.impact.value == 0.4
    assert explained[1].finding is not None
    assert explained[1].finding.explanation.endswith("Explained by learning_rate: mend that first.")


@pytest.mark.parametrize("cause", ["numerical_divergence", "weight_initialization"])
def test_a_broken_network_is_why_nothing_is_reproduced(cause: CauseId):
    results = [finding("metric_mismatch", "critical", 0.65), finding(cause, "critical")]
    assert order(results) == [cause, "metric_mismatch"]


@pytest.mark.parametrize("cause", ["numerical_divergence", "weight_initialization", "checkpoint_integrity"])
def test_what_is_wrong_with_the_weights_stands_before_all_that_follows_from_it(cause: CauseId):
    symptoms = [finding("underfitting", "major", 0.6), finding("metric_mismatch", "critical", 0.65)]
    assert order([*symptoms, finding(cause, "major")])[0] == cause


@pytest.mark.parametrize("cause", ["annotation_errors", "class_mapping", "label_files", "metric_mismatch"])
def test_thresholds_that_suit_wrong_labels_come_after_them(cause: CauseId):
    results = [finding("confidence_threshold", "major", 0.4), finding(cause, "major", 0.05)]
    assert order(results) == [cause, "confidence_threshold"]


@pytest.mark.parametrize("symptom", ["overfitting", "underfitting"])
def test_what_is_measured_on_other_data_than_the_runs_says_little_of_the_model(symptom: CauseId):
    results = [finding(symptom, "major", 0.6), finding("metric_mismatch", "major", 0.05)]
    assert order(results) == ["metric_mismatch", symptom]


def test_a_mere_warning_explains_nothing():
    results = [finding("learning_rate", "minor"), finding("numerical_divergence", "critical", 0.4)]
    assert explain_away(results) == results
    assert order(results) == ["numerical_divergence", "learning_rate"]


def test_a_greater_impact_of_the_symptom_doesn_t_put_it_first():
    results = [finding("learning_rate", "major", 0.1), finding("insufficient_epochs", "major", 0.3)]
    assert order(results) == ["learning_rate", "insufficient_epochs"]


def test_labels_that_cost_little_explain_no_large_gap():
    results = [finding("annotation_errors", "major", 0.02), finding("overfitting", "major", 0.5)]
    assert order(results) == ["overfitting", "annotation_errors"]
    assert explain_away(results) == results
    costly = [finding("annotation_errors", "major", 0.1, (0.05, 0.2)), finding("overfitting", "major", 0.15)]
    assert order(costly) == ["annotation_errors", "overfitting"]


def test_labels_are_weighed_against_the_gap_and_not_against_the_part_that_mending_gains():
    gap = finding("overfitting", "major", 0.2, (0.16, 0.3), effect=0.5)
    assert order([finding("annotation_errors", "major", 0.15), gap]) == ["overfitting", "annotation_errors"]


@pytest.mark.parametrize("cause", ["learning_rate", "insufficient_epochs", "model_architecture", "batch_size"])
def test_what_learns_badly_is_no_lack_of_capacity(cause: CauseId):
    assert order([finding("underfitting", "major"), finding(cause, "major")]) == [cause, "underfitting"]


def test_what_explains_an_explainer_comes_before_both():
    results = [
        finding("confidence_threshold", "major", 0.25),
        finding("overfitting", "major", 0.14),
        finding("distribution_shift", "major", 0.09),
    ]
    assert order(results) == ["distribution_shift", "overfitting", "confidence_threshold"]


def test_an_extrapolated_gain_is_ordered_by_its_lower_end_like_any_other():
    results = [
        finding("model_architecture", "minor"),
        finding("confidence_threshold", "minor", 0.03, (0.001, 0.04)),
        finding("insufficient_epochs", "minor", 0.1, (0.01, 0.2), basis="extrapolated"),
        finding("metric_mismatch", "minor", 0.005, (0.002, 0.008)),
    ]
    assert order(results) == [
        "insufficient_epochs",
        "metric_mismatch",
        "confidence_threshold",
        "model_architecture",
    ]


def test_a_graver_extrapolation_stands_before_a_measured_trifle():
    results = [
        finding("insufficient_epochs", "major", 0.1, (0.03, 0.2), basis="extrapolated"),
        finding("batch_size", "minor"),
    ]
    assert order(results) == ["insufficient_epochs", "batch_size"]


def test_an_extrapolated_gain_of_more_epochs_doesn_t_explain_what_training_images_show():
    epochs = finding("insufficient_epochs", "major", 0.2, (0.03, 0.3), basis="extrapolated")
    assert order([epochs, finding("underfitting", "major")]) == ["underfitting", "insufficient_epochs"]


def test_what_more_epochs_would_bring_is_not_what_the_learning_rate_took_away():
    epochs = finding("insufficient_epochs", "major", 0.2, (0.03, 0.3), basis="extrapolated")
    explained = explain_away([finding("learning_rate", "major"), epochs])
    assert explained[0].finding is not None and explained[0].finding.impact.value is None
    assert explained[1].finding is not None and "Explained by learning_rate" in explained[1].finding.explanation


def test_f1_at_another_threshold_is_not_the_map_that_a_cause_took_away():
    gain = Impact("lowers", 0.28, (0.25, 0.3), "intervention", "f1")
    unsure = found("confidence_threshold", "major", "Unsure", "Because.", evidence=(), impact=gain)
    explained = explain_away([finding("underfitting", "major"), unsure])
    assert explained[0].finding is not None and explained[0].finding.impact.value is None


def test_a_split_that_leaks_is_mended_before_the_gap_that_it_hides():
    gap = finding("overfitting", "major", 0.2, (0.15, 0.25))
    leaks = finding("data_leakage", "major", 0.05, (0.03, 0.08))
    assert order([gap, leaks]) == ["data_leakage", "overfitting"]
    assert explain_away([gap, leaks]) == [gap, leaks], "leaked images don't make a model overfit"
    assert order([gap, finding("data_leakage", "minor", 0.01)]) == ["overfitting", "data_leakage"]


def test_rare_classes_are_found_with_little_confidence():
    results = [finding("confidence_threshold", "major", 0.14), finding("class_imbalance", "major", 0.08)]
    assert order(results) == ["class_imbalance", "confidence_threshold"]


def test_labels_that_a_model_of_a_few_epochs_contradicts_come_after_its_epochs():
    epochs = finding("insufficient_epochs", "major", 0.2, (0.07, 0.3), basis="extrapolated")
    labels = finding("annotation_errors", "major", 0.03, (0.01, 0.05))
    assert order([labels, epochs]) == ["insufficient_epochs", "annotation_errors"]
    still_rising = finding("insufficient_epochs", "minor", 0.04, (0.01, 0.1), basis="extrapolated")
    assert order([labels, still_rising]) == ["annotation_errors", "insufficient_epochs"]


def test_labels_that_a_model_of_few_pixels_contradicts_come_after_its_input():
    labels = finding("annotation_errors", "major", 0.03, (0.01, 0.05))
    assert order([labels, finding("model_architecture", "major")]) == ["model_architecture", "annotation_errors"]
    assert order([labels, finding("model_architecture", "minor")]) == ["annotation_errors", "model_architecture"]


def test_labels_that_a_model_contradicts_in_another_light_come_after_the_light():
    labels = finding("annotation_errors", "major", 0.03, (0.02, 0.05))
    darker = finding("distribution_shift", "major", 0.06, (0.01, 0.08))
    assert order([labels, darker]) == ["distribution_shift", "annotation_errors"]
    assert order([labels, finding("distribution_shift", "minor")]) == ["annotation_errors", "distribution_shift"]
    many = finding("annotation_errors", "major", 0.2, (0.1, 0.3))
    assert order([darker, many]) == ["annotation_errors", "distribution_shift"]


def test_objects_whose_label_files_are_lost_come_after_the_files():
    labels = finding("annotation_errors", "major", 0.24, (0.11, 0.36))
    assert order([labels, finding("label_files", "major", 0.1, (0.05, 0.2))]) == ["label_files", "annotation_errors"]
    assert order([labels, finding("label_files", "minor")]) == ["annotation_errors", "label_files"]


def test_rare_classes_of_a_run_that_was_cut_short_come_after_its_epochs():
    rare = finding("class_imbalance", "major", 0.08, (0.02, 0.2))
    cut_short = finding("insufficient_epochs", "major", 0.36, (0.0, 0.5))
    assert order([rare, cut_short]) == ["insufficient_epochs", "class_imbalance"]
    # What more epochs are projected to gain says nothing of which classes would gain it.
    projected = finding("insufficient_epochs", "major", 0.05, (0.01, 0.1), basis="extrapolated")
    assert order([rare, projected]) == ["class_imbalance", "insufficient_epochs"]


def test_explaining_twice_changes_nothing():
    results = [
        finding("learning_rate", "major"),
        finding("insufficient_epochs", "major", 0.1),
        finding("numerical_divergence", "critical", 0.4),
        finding("overfitting", "minor"),
    ]
    once = explain_away(results)
    assert explain_away(once) == once
    assert [result.cause for result in once] == [result.cause for result in results]


@pytest.mark.parametrize("outcome", ["warned", "failed"])
def test_outcome_and_severity_agree(outcome: str):
    with pytest.raises(ValueError, match="finding"):
        CheckResult(cause="overfitting", outcome=outcome, reason="No finding.")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cost", "first"), [(0.4, "distribution_shift"), (0.05, "metric_mismatch"), (None, "metric_mismatch")]
)
def test_images_changed_since_the_run_are_why_it_is_not_reproduced(cost: float | None, first: CauseId):
    lacking = Impact("inflates", 0.45, (0.4, 0.5), "observational")
    mismatch = found("metric_mismatch", "critical", "No", "Because.", evidence=(), impact=lacking)
    assert order([mismatch, finding("distribution_shift", "major", cost)])[0] == first


@pytest.mark.parametrize(
    ("cost", "grade", "first"),
    [
        (0.02, "intervention", "metric_mismatch"),
        (0.02, "observational", "annotation_errors"),
        (0.3, "intervention", "annotation_errors"),
        (None, "intervention", "annotation_errors"),
    ],
)
def test_wrong_labels_do_not_explain_what_a_setting_explains_unless_they_cost_as_much(
    cost: float | None, grade: Grade, first: CauseId
):
    lacking = Impact("inflates", 0.3, (0.25, 0.35), grade)
    mismatch = found("metric_mismatch", "critical", "No", "imgsz explains it.", evidence=(), impact=lacking)
    assert order([mismatch, finding("annotation_errors", "major", cost)])[0] == first
