"""The plain-text rendering: complete, narrow, and harmless to a terminal."""

from __future__ import annotations

from runaudit.diagnostics.policy import Policy
from runaudit.reports.text import WIDTH, render_text
from tests.diagnostics import cases
from tests.reports.cases import build, faulty_evidence, hostile_evidence, noted_evidence


def test_it_holds_verdict_findings_remedies_policy_and_every_check():
    report = build(faulty_evidence(), Policy(min_map50_95=0.9))
    rendered = render_text(report)
    assert rendered.startswith("FAIL  ")
    assert "1. [" in rendered and "cause learning_rate" in rendered and "lr0: 0.01" in rendered
    assert "min_map50_95" in rendered and "broken" in rendered
    for check in report.checks:
        assert f"  {check.cause} " in rendered
    assert "The audit has no training to look at." in " ".join(rendered.split())


def test_lines_fit_a_terminal():
    rendered = render_text(build(faulty_evidence()))
    code = [line for line in rendered.split("\n") if len(line) > WIDTH]
    assert all("lr_scheduler" in line for line in code)


def test_no_control_sequence_reaches_the_terminal():
    rendered = render_text(build(hostile_evidence(), Policy(min_class_map50_95={"\x1b[31mx": 0.1})))
    assert rendered.replace("\n", "").isprintable()
    assert "\n# heading" not in rendered


def test_what_is_missing_is_named():
    rendered = render_text(build(cases.curves_only(cases.run())))
    assert rendered.startswith("INCONCLUSIVE  ")
    assert "not run" in rendered and "No data set was handed in." in rendered


def test_the_data_set_is_counted_split_by_split_with_what_was_noted():
    rendered = render_text(build(noted_evidence()))
    section = rendered[rendered.index("Data set data.yaml") :].split("\n\n")[0]
    words = " ".join(section.split())
    assert "data.yaml, 2 classes" in words
    assert "train 900 100, 40 of them without a label file 7 1800" in words
    assert "val 450 0 0 450" in words
    assert "ada (annotator) 430 30, and 20 images not annotated 1 500" in words
    assert "- data.yaml:2: nc: 3 contradicts the 2 names" in words
    assert "- train: labels/a.txt:1: A row has 4 values" in words
    assert "ada: A file belongs to no image" in words
    assert "and more, which the JSON report lists" in words


def test_without_a_data_set_there_is_no_section():
    assert "Data set " not in render_text(build(cases.curves_only(cases.run())))
