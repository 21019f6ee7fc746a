"""What is read off matches, in the report and its renderings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.evaluation.facts import ClassMetrics, EvaluationFacts
from runaudit.evaluation.statistics import statistics
from runaudit.reports import statistics as rendered
from runaudit.reports.markdown import render_markdown
from runaudit.reports.schema import ErrorTypes, Report
from runaudit.reports.text import render_text
from tests.diagnostics import cases
from tests.evaluation.scenes import by_chance
from tests.reports.cases import HOSTILE, build


def measured(names: tuple[str, str] = ("cat", "dog")) -> EvaluationFacts:
    """An evaluation with everything that is read off made-up matches of two classes."""
    found = statistics(by_chance(3, 40, 20, 2), confidence=0.001, replicates=30, seed=0)
    per_class = tuple(ClassMetrics(class_id=row, name=name, images=40, instances=150) for row, name in enumerate(names))
    return cases.evaluation(
        error_types=found.error_types,
        per_size=found.per_size,
        thresholds=found.thresholds,
        calibration=found.calibration,
        lrp=found.lrp,
        per_class=per_class,
    )


def report(evaluation: EvaluationFacts) -> Report:
    return build(replace(cases.healthy(), evaluation=evaluation))


def test_the_report_has_every_figure_and_reads_back_as_it_was() -> None:
    facts = measured()
    made = report(facts)
    assert Report.model_validate_json(made.model_dump_json()) == made
    validation = made.validation
    assert validation is not None
    assert facts.error_types is not None
    assert {kind: cost.d_ap50 for kind, cost in validation.error_types.errors.items()} == {
        cost.kind: cost.d_ap for cost in facts.error_types.errors
    }
    assert set(validation.error_types.per_class) == {"cat", "dog"}
    assert [entry.size for entry in validation.per_size] == ["all", "small", "medium", "large"]
    assert validation.thresholds is not None
    assert set(validation.thresholds.per_class) == {"cat", "dog"}
    assert validation.calibration.d_ece is not None
    assert validation.calibration.reliability
    assert validation.lrp is not None
    assert set(validation.lrp.per_class) == {"cat", "dog"}


def test_two_classes_of_one_name_are_both_kept() -> None:
    validation = report(measured(("cat", "cat"))).validation
    assert validation is not None
    assert set(validation.error_types.per_class) == {"cat", "cat (1)"}


def test_what_was_not_measured_is_an_empty_object_as_before() -> None:
    bare = cases.evaluation(thresholds=None, calibration=None)
    validation = report(bare).validation
    assert validation is not None
    assert validation.error_types == ErrorTypes()
    dumped = validation.model_dump(exclude_defaults=True)
    assert "error_types" not in dumped or dumped["error_types"] == {}
    assert validation.thresholds is None
    assert rendered.per_size(()) == []
    for text in (render_text(report(bare)), render_markdown(report(bare))):
        assert "TIDE" not in text
        assert "Best F1" not in text


@pytest.mark.parametrize("render", [render_text, render_markdown])
def test_renderings_say_what_errors_cost_and_where_f1_is_best(render) -> None:
    text = " ".join(render(report(measured())).split())
    assert "that mending one kind of error would add (TIDE): " in text
    assert "on background" in text
    assert "the default 0.25 loses" in text
    assert "D-ECE" in text


def test_hostile_class_names_are_made_harmless() -> None:
    made = report(measured((HOSTILE, "dog")))
    assert Report.model_validate_json(made.model_dump_json()) == made
    assert "\x1b" not in render_text(made)
