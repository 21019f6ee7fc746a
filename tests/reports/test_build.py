"""The report: complete, deterministic, valid against its schema, and without NaN."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runaudit.causes import CAUSES
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.policy import Policy
from runaudit.reports.json_schema import report_schema
from runaudit.reports.markdown import render_markdown
from runaudit.reports.schema import Report
from runaudit.reports.text import render_text
from tests.diagnostics import cases
from tests.diagnostics.test_catalogue import datasets, evaluations, runs
from tests.reports.cases import build, faulty_evidence, hostile_evidence

SCHEMA = json.loads(report_schema())


def refuse(constant: str) -> float:
    raise AssertionError(f"{constant} in JSON")


def checked(report: Report) -> dict[str, object]:
    document = json.loads(report.model_dump_json(), parse_constant=refuse)
    jsonschema.validate(document, SCHEMA)
    assert Report.model_validate_json(report.model_dump_json()) == report
    return document


def test_a_healthy_report_is_complete():
    report = build(cases.healthy(), Policy(min_map50_95=0.5))
    document = checked(report)
    assert report.verdict == "pass" and report.findings == []
    assert tuple(check.cause for check in report.checks) == CAUSES
    assert report.policy[0].outcome == "met"
    assert report.validation is not None and report.validation.reproduced is True
    assert report.validation.reported["map50_95"] == cases.best_metric(cases.run())
    assert report.validation.difference["map50_95"] == pytest.approx(0.0)
    assert report.dataset is not None and report.dataset.splits["train"].class_instances == {
        "class0": 500,
        "class1": 400,
    }
    assert report.curves is not None and len(report.curves.columns["metrics/map50_95"]) == cases.EPOCHS
    assert document["run"]["args"]["lr0"] == 0.01


def test_a_faulty_report_ranks_its_findings_and_explains_away():
    report = build(faulty_evidence(), Policy(min_map50_95=0.9))
    checked(report)
    assert report.verdict == "fail"
    assert [finding.rank for finding in report.findings] == list(range(1, len(report.findings) + 1))
    causes = [finding.cause for finding in report.findings]
    assert causes.index("learning_rate") < causes.index("numerical_divergence")
    failed = {check.cause for check in report.checks if check.outcome in ("failed", "warned")}
    assert failed == set(causes)
    assert report.validation is not None and report.validation.reproduced is False


def test_the_same_evidence_gives_the_same_report():
    assert build(faulty_evidence()) == build(faulty_evidence())


def test_without_evaluation_there_is_no_validation():
    report = build(cases.curves_only(cases.run()), depth="curves")
    assert report.validation is None and report.verdict == "inconclusive"
    checked(report)


def test_nothing_but_a_configuration_still_gives_a_report():
    report = build(cases.without_everything())
    assert report.curves is None and report.verdict == "inconclusive"
    checked(report)


def test_curves_hold_null_where_a_cell_is_not_finite():
    run = cases.spoil(cases.run(), "val_losses", "box", {0: float("nan"), 1: float("inf"), 2: None})
    report = build(cases.curves_only(run))
    assert report.curves is not None
    assert report.curves.columns["val/box"][:3] == [None, None, None]


def test_two_classes_of_one_name_are_both_counted():
    evidence = replace(cases.healthy(), dataset=cases.dataset(names={0: "cat", 1: "cat"}))
    report = build(evidence)
    assert report.dataset is not None
    assert report.dataset.splits["train"].class_instances == {"cat": 500, "cat (1)": 400}


def test_hostile_strings_survive_as_json():
    document = checked(build(hostile_evidence()))
    arguments = document["run"]["args"]
    assert arguments["x"] == "nan" and arguments["y"][0] == "inf"
    assert "\ud800" not in json.dumps(document, ensure_ascii=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    run=runs(),
    dataset=st.one_of(st.none(), datasets()),
    evaluation=st.one_of(st.none(), evaluations()),
)
def test_any_evidence_gives_a_valid_report_in_every_rendering(run, dataset, evaluation):
    report = build(Evidence(run, dataset=dataset, evaluation=evaluation), Policy(min_map50=0.5))
    checked(report)
    assert render_markdown(report).startswith("# Runaudit: ")
    assert render_text(report).isprintable() is False  # it has newlines, and nothing else that can't be printed
    assert render_text(report).replace("\n", "").isprintable()


def test_last_pt_is_compared_with_the_last_row_and_the_best_row_is_reported() -> None:
    """`reproduced` and `difference` say the same of the same row."""
    known = cases.healthy()
    assert known.run.curves is not None
    last, best = known.run.curves.metrics["map50_95"][-1], cases.best_metric(known.run)
    assert last is not None and last != best
    evidence = cases.with_checkpoint(replace(known, evaluation=cases.evaluation(last)), source="weights/last.pt")
    validation = build(evidence).validation
    assert validation is not None and validation.reproduced is True
    assert validation.reported["map50_95"] == pytest.approx(best)
    assert validation.compared["map50_95"] == pytest.approx(last) and validation.compared_source == "results.csv:101"
    assert validation.difference["map50_95"] == pytest.approx(0.0)
    usual = build(known).validation
    assert usual is not None and usual.compared == {} and usual.compared_source is None
