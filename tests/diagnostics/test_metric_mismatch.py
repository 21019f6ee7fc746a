"""Reported against re-validated metrics: tolerance, interval, direction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.diagnostics.metric_mismatch import differs, examine, reported_metrics
from runaudit.evaluation.conventions import Figures
from tests.diagnostics import cases, comparisons

RUN = cases.run()
REPORTED = cases.best_metric(RUN)


def measured(offset: float, **changes: object):
    evaluation = cases.evaluation(REPORTED + offset, **changes)
    return replace(cases.healthy(), evaluation=evaluation)


def test_the_same_figures_are_reproduced():
    result = examine(measured(0.001))
    assert result.outcome == "passed" and result.effect == pytest.approx(0.001)


@pytest.mark.parametrize(("offset", "severity"), [(-0.2, "critical"), (-0.05, "major"), (0.05, "major")])
def test_a_gap_beyond_tolerance_and_interval_is_found(offset: float, severity: str):
    result = examine(measured(offset, half_width=0.015))
    assert result.finding is not None and result.finding.severity == severity
    impact = result.finding.impact
    assert impact.direction == ("inflates" if offset < 0 else "lowers")
    assert impact.value == pytest.approx(abs(offset))
    assert impact.ci95 is not None and impact.ci95[0] <= abs(offset) <= impact.ci95[1]
    assert result.finding.evidence[1].source is not None


def test_a_gap_within_the_interval_is_minor_on_a_large_set_and_reproduced_on_a_small_one():
    assert examine(measured(-0.03, half_width=0.05)).outcome == "warned"
    small = examine(measured(-0.03, half_width=0.05, instances=(60, 60)))
    assert small.outcome == "passed" and "interval" in small.reason


def test_a_large_gap_within_the_interval_of_a_tiny_set_is_neither_reproduced_nor_found():
    tiny = examine(measured(-0.2, half_width=0.3, instances=(6, 6)))
    assert tiny.outcome == "inconclusive" and "too few" in tiny.reason


def test_the_check_and_reconciling_take_the_same_figures_for_reproduced():
    """On a small set the half width of the interval; on a large one the tolerances as they stand."""
    small, large = cases.evaluation(0.5, half_width=0.04, instances=(60, 60)), cases.evaluation(0.5, half_width=0.04)
    assert small.tolerance.map50_95 == pytest.approx(0.04) and large.tolerance.map50_95 == 0.005
    for evaluation in (small, large):
        for gap in (0.004, 0.03, 0.05):
            figures = Figures(0.7, 0.5 + gap)
            reported = {"map50": 0.7, "map50_95": 0.5 + gap}
            reproduced = Figures(0.7, 0.5).reproduces(figures, evaluation.tolerance)
            assert reproduced is not differs(evaluation, reported)
    other_map50 = {"map50": 0.9, "map50_95": 0.5}
    assert differs(small, other_map50) and not Figures(0.7, 0.5).reproduces(Figures(0.9, 0.5), small.tolerance)


def test_a_gap_of_map50_alone_is_minor():
    evaluation = cases.evaluation(REPORTED)
    shifted = evaluation.metrics.model_copy(update={"map50": evaluation.metrics.map50 - 0.05})
    evidence = replace(cases.healthy(), evaluation=evaluation.model_copy(update={"metrics": shifted}))
    assert examine(evidence).outcome == "warned"


def test_last_pt_is_compared_with_the_last_row():
    run = cases.run()
    assert run.curves is not None
    last = run.curves.metrics["map50_95"][-1]
    assert last is not None
    evidence = replace(cases.healthy(), evaluation=cases.evaluation(last))
    evidence = cases.with_checkpoint(evidence, source="weights/last.pt")
    assert examine(evidence).effect == pytest.approx(0.0)
    assert "weights/last.pt stands for the last epoch: it is compared with results.csv:101" in examine(evidence).reason
    off = examine(replace(evidence, evaluation=cases.evaluation(last - 0.3)))
    assert off.finding is not None and "stands for the last epoch" in off.finding.explanation
    assert reported_metrics(evidence.run)["map50_95"] == pytest.approx(REPORTED)


def test_what_is_missing_is_not_run_or_inconclusive():
    assert examine(cases.curves_only(RUN)).reason == cases.ABSENT["evaluation"]
    no_curves = replace(cases.healthy(), run=RUN.model_copy(update={"curves": None}), absent=dict(cases.ABSENT))
    assert examine(no_curves).outcome == "not_run"
    assert examine(measured(0.0, split="test")).outcome == "inconclusive"
    no_metric = replace(cases.healthy(), run=cases.with_curves(RUN, metrics={}))
    assert examine(no_metric).outcome == "inconclusive"


STORED = {
    "metrics/precision(B)": 0.8,
    "metrics/recall(B)": 0.7,
    "metrics/mAP50(B)": 0.84,
    "metrics/mAP50-95(B)": 0.6,
    "fitness": 0.6,
}


def without_results(**metrics: float):
    run = RUN.model_copy(update={"curves": None, "best_row": None})
    run = run.model_copy(update={"checkpoint": cases.checkpoint(train_metrics=metrics)})
    return replace(cases.healthy(), run=run, absent=dict(cases.ABSENT))


def test_without_results_csv_the_checkpoint_reports_for_itself():
    evidence = without_results(**STORED)
    result = examine(replace(evidence, evaluation=cases.evaluation(0.601)))
    assert result.outcome == "passed" and "weights/best.pt: train_metrics" in result.reason
    worse = examine(replace(evidence, evaluation=cases.evaluation(0.4)))
    assert worse.finding is not None and worse.finding.severity == "critical"
    assert worse.finding.evidence[1].source == "weights/best.pt: train_metrics"
    assert reported_metrics(evidence.run) == {"precision": 0.8, "recall": 0.7, "map50": 0.84, "map50_95": 0.6}


def test_results_csv_is_preferred_and_its_empty_row_is_not():
    run = RUN.model_copy(update={"checkpoint": cases.checkpoint(train_metrics=STORED | {"metrics/mAP50-95(B)": 0.1})})
    assert reported_metrics(run)["map50_95"] == pytest.approx(REPORTED)
    assert run.best_row is not None
    emptied = cases.spoil(run, "metrics", "map50_95", {run.best_row: None})
    assert reported_metrics(emptied)["map50_95"] == 0.1


def test_a_cell_that_is_no_metric_is_not_reported():
    assert RUN.best_row is not None
    assert reported_metrics(cases.spoil(RUN, "metrics", "map50_95", {RUN.best_row: 2.7e117})) == {}


@pytest.mark.parametrize("stored", [{}, {"metrics/mAP50-95(B)": float("nan")}, {"metrics/mAP50-95(B)": 1e9}])
def test_a_checkpoint_without_a_usable_metric_reports_nothing(stored: dict[str, float]):
    evidence = without_results(**stored)
    result = examine(evidence)
    assert result.outcome == "not_run" and cases.ABSENT["curves"] in result.reason
    assert reported_metrics(evidence.run) == {}


def halved(before: float, after: float, *, offset: float = 0.001, **arguments: object):
    """A run measured in half precision as well."""
    evidence = measured(offset)
    change = comparisons.change("float32", before, after, 0.005)
    return examine(replace(evidence, run=cases.run(arguments=arguments), interventions=(change,)))


def test_what_half_precision_costs_a_run_that_asked_for_it_is_found_though_the_figures_agree():
    result = halved(0.4, 0.5, half=True)
    assert result.finding is not None and result.finding.severity == "major"
    assert "costs 0.100 mAP50-95" in result.finding.title
    assert (result.finding.impact.direction, result.finding.impact.grade) == ("lowers", "intervention")
    assert result.finding.impact.value == pytest.approx(0.1)
    assert result.finding.remedies[0].patch == {"half": False}
    quantized = halved(0.4, 0.5, quantize="fp16").finding
    assert quantized is not None and quantized.remedies[0].patch == {"quantize": None}


@pytest.mark.parametrize(
    ("before", "after", "arguments"),
    [(0.5, 0.5006, {"half": True}), (0.498, 0.5, {"half": True}), (0.51, 0.5, {"half": True}), (0.4, 0.5, {})],
)
def test_half_precision_that_costs_nothing_or_was_not_asked_for_is_only_told(
    before: float, after: float, arguments: dict[str, object]
):
    result = halved(before, after, **arguments)
    assert result.outcome == "passed"
    assert f"{before:.4f} in half precision and {after:.4f} in single" in result.reason


def test_a_gap_is_told_beside_what_half_precision_costs():
    finding = halved(0.4, 0.5, offset=-0.2, half=True).finding
    assert finding is not None and "reported" in finding.title
    told = {item.name: item for item in finding.evidence}
    assert told["mAP50-95 in single precision less that in half"].value == pytest.approx(0.1)
