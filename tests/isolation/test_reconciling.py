"""A run whose results.csv does not say what its checkpoint does: the audit finds the setting, whole way through."""

from __future__ import annotations

import csv
from pathlib import Path

from runaudit.isolation.audit import run_audit
from runaudit.isolation.job import JobSpec
from tests.acceptance.inputs import run_copy, small_data

MAP50, MAP50_95 = "metrics/mAP50(B)", "metrics/mAP50-95(B)"


def test_figures_of_the_last_row_under_the_best_rows_name(tmp_path: Path) -> None:
    run = run_copy(tmp_path / "run")
    results = run / "results.csv"
    with results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row[MAP50_95]))
    assert best is not rows[-1]
    rows[-1] |= {MAP50: best[MAP50], MAP50_95: best[MAP50_95]}
    best |= {MAP50: "0.97", MAP50_95: "0.91"}
    with results.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    spec = {
        "run": {"kind": "folder", "path": str(run)},
        "data": {"kind": "data_yaml", "path": str(small_data(tmp_path / "data"))},
    }
    job = tmp_path / "job"
    job.mkdir()
    report = run_audit(JobSpec.model_validate(spec), job, on_progress=lambda progress: None, should_stop=lambda: False)
    finding = next(finding for finding in report.findings if finding.cause == "metric_mismatch")
    assert "the last row" in finding.explanation
    assert finding.impact.direction == "inflates"
    assert finding.impact.grade == "intervention"
    assert report.validation is not None
    assert report.validation.reproduced is False
