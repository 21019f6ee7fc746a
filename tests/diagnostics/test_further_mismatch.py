"""Masks and keypoints beside boxes: reproduced, or reported by the side that differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.metric_mismatch import examine, reported_metrics
from runaudit.evaluation.facts import FurtherGeometry
from runaudit.runs.facts import Task
from tests.diagnostics import cases

TASKS: dict[FurtherGeometry, Task] = {"mask": "segment", "pose": "pose"}
FIGURE = 0.4


def measured(
    offset: float, *, geometry: FurtherGeometry = "mask", half_width: float = 0.015, **changes: object
) -> Evidence:
    """A run whose boxes are reproduced and whose masks or keypoints are `offset` beside the reported figure."""
    run = cases.run()
    assert run.curves is not None
    columns = run.curves.metrics | {f"{geometry}/map50_95": (FIGURE,) * len(run.curves.epochs)}
    run = run.model_copy(update={"task": TASKS[geometry], "curves": run.curves.model_copy(update={"metrics": columns})})
    evaluation = cases.evaluation(cases.best_metric(run), **changes)
    value = FIGURE + offset
    further = {geometry: evaluation.metrics.model_copy(update={"map50_95": value})}
    ci95 = evaluation.ci95 | {f"{geometry}_map50_95": (value - half_width, value + half_width)}
    evaluation = evaluation.model_copy(update={"further": further, "ci95": ci95, "task": TASKS[geometry]})
    return replace(cases.healthy(), run=run, evaluation=evaluation)


@pytest.mark.parametrize("geometry", ["mask", "pose"])
def test_reproduced_figures_are_named(geometry: FurtherGeometry) -> None:
    result = examine(measured(0.004, geometry=geometry))
    assert result.outcome == "passed"
    assert "0.4040 measured, 0.4000 reported" in result.reason


@pytest.mark.parametrize(("offset", "severity"), [(-0.2, "critical"), (-0.05, "major"), (0.05, "major")])
def test_a_gap_of_masks_alone_is_found(offset: float, severity: str) -> None:
    result = examine(measured(offset))
    assert result.finding is not None
    assert result.finding.severity == severity
    impact = result.finding.impact
    assert impact.metric == "mask_map50_95"
    assert impact.direction == ("inflates" if offset < 0 else "lowers")
    assert impact.value == pytest.approx(abs(offset))
    assert "masks" in result.finding.title
    assert any(item.source is not None for item in result.finding.evidence)


def test_on_a_small_set_the_interval_is_enough() -> None:
    assert examine(measured(-0.03, half_width=0.05)).outcome == "warned"
    assert examine(measured(-0.03, half_width=0.05, instances=(60, 60))).outcome == "passed"


def test_where_the_boxes_differ_too_both_are_shown() -> None:
    evidence = measured(-0.1)
    assert evidence.evaluation is not None
    lower = evidence.evaluation.metrics.model_copy(update={"map50_95": 0.1})
    ci95 = evidence.evaluation.ci95 | {"map50_95": (0.08, 0.12)}
    shifted = evidence.evaluation.model_copy(update={"metrics": lower, "ci95": ci95})
    result = examine(replace(evidence, evaluation=shifted))
    assert result.finding is not None
    assert result.finding.impact.metric == "map50_95"
    assert "mAP50-95 by masks, reported" in [item.name for item in result.finding.evidence]


def test_a_checkpoint_reports_its_masks_without_results_csv() -> None:
    stored = {"metrics/mAP50-95(B)": 0.5, "metrics/mAP50-95(M)": 0.4, "metrics/precision(M)": 0.6}
    run = cases.run().model_copy(update={"curves": None, "checkpoint": cases.checkpoint(train_metrics=stored)})
    assert reported_metrics(run) == {"map50_95": 0.5, "mask/map50_95": 0.4, "mask/precision": 0.6}
