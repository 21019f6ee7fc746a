"""Masks, keypoints and rotated boxes in the report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.evaluation.facts import FurtherGeometry
from runaudit.reports.phrases import metric_rows
from runaudit.runs.facts import Task
from tests.diagnostics import cases as evidence_cases
from tests.reports.cases import build


def evidence(task: Task, geometry: FurtherGeometry | None):
    run = evidence_cases.run()
    evaluation = evidence_cases.evaluation(evidence_cases.best_metric(run)).model_copy(update={"task": task})
    if geometry is not None:
        further = {geometry: evaluation.metrics.model_copy(update={"map50_95": 0.4})}
        evaluation = evaluation.model_copy(
            update={"further": further, "ci95": evaluation.ci95 | {f"{geometry}_map50_95": (0.37, 0.43)}}
        )
        columns = run.curves.metrics | {f"{geometry}/map50_95": (0.41,) * len(run.curves.epochs)}
        run = run.model_copy(update={"curves": run.curves.model_copy(update={"metrics": columns})})
    return replace(evidence_cases.healthy(), run=run.model_copy(update={"task": task}), evaluation=evaluation)


@pytest.mark.parametrize(("task", "geometry"), [("segment", "mask"), ("pose", "pose")])
def test_the_further_geometry_stands_beside_the_boxes(task: Task, geometry: FurtherGeometry):
    report = build(evidence(task, geometry))
    metrics = report.validation.metrics
    assert getattr(metrics, geometry).map50_95 == 0.4
    assert metrics.box is not None and metrics.obb is None
    assert report.validation.reported[f"{geometry}_map50_95"] == 0.41
    assert report.validation.difference[f"{geometry}_map50_95"] == pytest.approx(-0.01)
    assert report.validation.reproduced is True
    rows = {row[0]: row[1:] for row in metric_rows(report)}
    assert set(rows) >= {"mAP50-95", f"{geometry} mAP50-95", f"{geometry} F1"}
    assert "0.370 to 0.430" in rows[f"{geometry} mAP50-95"][0]


def test_rotated_boxes_stand_alone():
    report = build(evidence("obb", None))
    assert report.validation.metrics.box is None
    assert report.validation.metrics.obb.map50_95 is not None
    assert [row[0] for row in metric_rows(report)][:2] == ["mAP50-95", "mAP50"]
