"""What the settings that were tried make of a gap between reported and re-validated mAP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.diagnostics import mismatch_settings
from runaudit.diagnostics.evidence import CheckResult
from runaudit.diagnostics.metric_mismatch import differs, examine, other_rows
from runaudit.evaluation.facts import ReconciliationFacts, Trial
from runaudit.runs.facts import LogFacts, Note
from tests.diagnostics import cases

RUN = cases.run(arguments={"imgsz": 640})
REPORTED = cases.best_metric(RUN)


def trial(name: str, value: object, map50_95: float, *, explains: bool = False, sampled: bool = False) -> Trial:
    return Trial(
        name=name,
        setting={name: value},
        map50=None,
        map50_95=map50_95,
        images=100,
        explains=explains,
        sampled=sampled,
    )


def examined(offset: float, *trials: Trial, log: LogFacts | None = None) -> CheckResult:
    evaluation = cases.evaluation(REPORTED + offset, half_width=0.015)
    facts = ReconciliationFacts(
        reported_map50=None,
        reported_map50_95=REPORTED,
        trials=trials,
        explained_by=tuple(tried.name for tried in trials if tried.explains),
    )
    run = RUN.model_copy(update={"log": log})
    evidence = replace(cases.healthy(), run=run, evaluation=evaluation.model_copy(update={"reconciliation": facts}))
    return examine(evidence)


def test_a_setting_that_explains_the_gap_is_named_with_its_figure_and_its_remedy():
    result = examined(-0.1, trial("rect", False, 0.2), trial("imgsz", 320, REPORTED, explains=True))
    assert result.finding is not None
    assert "imgsz explains it" in result.finding.title
    assert "imgsz 320" in result.finding.explanation
    assert [item.name for item in result.finding.evidence if "imgsz=320" in item.name]
    assert result.finding.impact.grade == "intervention"
    (remedy,) = result.finding.remedies
    assert remedy.patch == {"imgsz": 640}
    assert remedy.code is not None and "conf=0.001" in remedy.code


def test_both_figures_of_a_trial_are_shown():
    tried = trial("rect", False, 0.2).model_copy(update={"map50": 0.31})
    result = examined(-0.1, tried, trial("iou", 0.6, 0.25))
    assert result.finding is not None
    shown = {item.name: item.value for item in result.finding.evidence}
    assert (shown["mAP50-95 with rect=False"], shown["mAP50 with rect=False"]) == (0.2, 0.31)
    assert "mAP50 with iou=0.6" not in shown


def test_the_conventions_of_the_runs_version_are_no_fault():
    result = examined(-0.02, trial("average_precision", "older", REPORTED, explains=True))
    assert result.outcome == "passed"
    assert "own version" in result.reason


@pytest.mark.parametrize(("name", "value"), [("batch", 32), ("rect", False), ("half", True)])
def test_what_the_framework_does_by_itself_is_minor(name: str, value: object):
    result = examined(-0.05, trial(name, value, REPORTED, explains=True))
    assert result.finding is not None and result.finding.severity == "minor"


@pytest.mark.parametrize("name", ["row", "conf", "single_cls", "names", "iou", "max_det", "head", "imgsz", "split"])
def test_every_setting_has_its_sentence(name: str):
    result = examined(-0.05, trial(name, "this value", REPORTED, explains=True))
    assert result.finding is not None and result.finding.severity == "major"
    if name != "single_cls":
        assert "this value" in result.finding.explanation


def test_where_none_explains_it_the_nearest_are_cited_and_those_tried_named():
    tried = [trial("conf", 0.25, REPORTED - 0.2), trial("iou", 0.6, REPORTED - 0.09, sampled=True)]
    tried += [trial("rect", False, REPORTED - 0.1), trial("single_cls", True, REPORTED + 0.3)]
    result = examined(-0.1, *tried)
    assert result.finding is not None
    assert "(conf, iou, rect, single_cls)" in result.finding.explanation
    cited = [item.name for item in result.finding.evidence[-3:]]
    assert cited[0].startswith("mAP50-95 with iou=0.6, estimated from a sample")
    assert "rect=False" in cited[1]


def test_a_validation_cut_short_is_read_from_the_log():
    note = Note(code="nms_time_limit", detail="WARNING NMS time limit 2.500s exceeded", place="train.log:40")
    log = LogFacts(sources=("train.log",), events=(note,))
    higher = examined(0.05, trial("conf", 0.25, 0.1), log=log)
    assert higher.finding is not None and "train.log:40" in higher.finding.explanation
    lower = examined(-0.05, trial("conf", 0.25, 0.1), log=log)
    assert lower.finding is not None and "train.log:40" not in lower.finding.explanation


def test_no_trials_are_said_to_be_none():
    assert mismatch_settings.tried_sentence(None) == "No other settings were tried."


def test_settings_are_tried_only_where_the_figures_differ():
    reported = {"map50_95": REPORTED}
    assert not differs(cases.evaluation(REPORTED + 0.004), reported)
    assert differs(cases.evaluation(REPORTED + 0.05, half_width=0.01), reported)
    assert differs(cases.evaluation(REPORTED + 0.01, half_width=0.05), reported)
    assert not differs(cases.evaluation(REPORTED + 0.01, half_width=0.05, instances=(60, 60)), reported)


def test_the_last_row_stands_beside_the_best_only_where_they_are_not_one():
    assert RUN.curves is not None and RUN.best_row is not None
    assert list(other_rows(RUN)) == (["the last row"] if RUN.best_row != len(RUN.curves.epochs) - 1 else [])
    last = cases.with_checkpoint(cases.healthy(), source="weights/last.pt").run
    assert "the last row" not in other_rows(last)
    assert other_rows(RUN.model_copy(update={"curves": None})) == {}
