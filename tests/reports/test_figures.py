"""Figures: drawn from the report alone, well-formed, harmless, and readable in light and dark."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.causes import CAUSES
from runaudit.reports import charts
from runaudit.reports.axes import MOST_MARKS, axis
from runaudit.reports.charts import MOST_POINTS, Bar, Dot, Line, bar_chart, line_chart, reliability
from runaudit.reports.figures import _OF_CAUSE, NAMES, figure, figures
from tests.diagnostics import cases
from tests.reports.cases import build, faulty_evidence, hostile_evidence
from tests.reports.filled import HOSTILE, filled
from tests.reports.test_html import contrast

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = {"svg", "title", "line", "rect", "circle", "path", "text"}
ANY = st.floats(allow_nan=False, allow_infinity=False)


def parsed(svg: str) -> ET.Element:
    """The picture, held to the shapes and attributes that it may have; every number in it is finite."""
    root = ET.fromstring(svg)
    for part in root.iter():
        assert part.tag.removeprefix(SVG) in SHAPES
        for name, value in part.attrib.items():
            assert not name.startswith("on") and name not in ("href", "style", "class")
            assert "nan" not in value.split() and "inf" not in value
    return root


def test_a_finding_names_the_figures_that_show_it() -> None:
    report = build(faulty_evidence())
    shown = {finding.cause: finding.figures for finding in report.findings}
    assert shown["learning_rate"] == ["losses.svg", "metric.svg", "learning_rate.svg"]
    assert shown["validation_set_too_small"] == ["classes.svg"]
    for names in shown.values():
        for name in names:
            svg = figure(report, name)
            assert svg is not None
            parsed(svg)
    assert set(_OF_CAUSE) == set(CAUSES) and {name for names in _OF_CAUSE.values() for name in names} <= set(NAMES)


def test_without_curves_and_validation_there_is_nothing_to_draw() -> None:
    report = build(cases.without_everything())
    assert figures(report) == {} and all(finding.figures == [] for finding in report.findings)
    assert figure(report, "losses.svg") is None and figure(report, "../losses.svg") is None


def test_the_best_epoch_and_the_measured_metric_are_marked() -> None:
    report = build(faulty_evidence())
    root = parsed(figures(report)["metric.svg"])
    words = [part.text for part in root.iter(f"{SVG}text")]
    assert f"best epoch {report.run.best_epoch}" in words and "re-validated mAP50-95" in words


def test_every_figure_of_a_full_report_is_drawn_and_no_string_becomes_markup() -> None:
    drawn = figures(filled(lambda: HOSTILE))
    assert set(drawn) == set(NAMES)
    for svg in drawn.values():
        parsed(svg)
        assert svg.isprintable() and "<script" not in svg and "\u202e" not in svg
    for svg in figures(build(hostile_evidence())).values():
        parsed(svg)


def test_bars_lie_where_their_values_are() -> None:
    root = parsed(bar_chart("t", [Bar("a", 0.5, (0.25, 1.0)), Bar("b", 1.0)], x_title="x", most=1.0))
    widths = [float(part.attrib["width"]) for part in root.iter(f"{SVG}rect")]
    assert widths[0] == pytest.approx(widths[1] / 2, abs=0.01)
    whisker = next(part for part in root.iter(f"{SVG}line") if part.attrib["stroke"] == "currentColor")
    zero = float(next(root.iter(f"{SVG}rect")).attrib["x"])
    ends = [(float(whisker.attrib[name]) - zero) / widths[1] for name in ("x1", "x2")]
    assert ends == pytest.approx([0.25, 1.0], abs=0.01)


def test_gaps_lift_the_pen_and_a_lone_point_is_a_dot() -> None:
    line = Line("a", range(5), [1.0, None, 2.0, None, None], 0)
    path = next(parsed(line_chart("t", [line], x_title="x")).iter(f"{SVG}path")).attrib["d"]
    assert path.count("M") == 2 and path.count("L") == 2


def test_a_spike_survives_the_thinning_of_a_long_curve() -> None:
    values: list[float | None] = [1.0] * 20_000
    values[12_345] = 9.0
    path = next(parsed(line_chart("t", [Line("a", range(20_000), values, 0)], x_title="x")).iter(f"{SVG}path"))
    assert path.attrib["d"].count("L") <= MOST_POINTS + 2
    heights = [float(step.split()[1]) for step in path.attrib["d"].replace("M", "L").split("L")[1:]]
    assert min(heights) < 40 < 200 < max(heights)


def test_more_classes_than_fit_are_the_worst_ones() -> None:
    evaluation = cases.evaluation(0.5)
    entry = evaluation.per_class[0]
    many = tuple(
        entry.model_copy(update={"name": f"c{index}", "class_id": index, "map50_95": 1 - index / 100})
        for index in range(80)
    )
    report = build(replace(cases.healthy(), evaluation=evaluation.model_copy(update={"per_class": many})))
    svg = figures(report)["classes.svg"]
    assert "the worst 40 of 80 classes" in svg and ">c79<" in svg and ">c39<" not in svg


def test_colours_of_data_can_be_seen_on_white_and_on_black() -> None:
    for colour in (*charts.COLOURS, charts.GREY):
        assert contrast(colour, "#ffffff") >= 3 and contrast(colour, "#14161a") >= 3, colour


@given(values=st.lists(st.one_of(st.none(), ANY), min_size=1, max_size=30), logarithmic=st.booleans())
def test_any_values_give_a_picture_with_finite_places(values: list[Any], logarithmic: bool) -> None:
    line = Line(HOSTILE, range(len(values)), values, 0)
    parsed(line_chart("t", [line], x_title="x", marked=(3.0, "m"), may_be_logarithmic=logarithmic))
    bars = [Bar(HOSTILE, value, (value, value)) for value in values if value is not None]
    parsed(bar_chart("t", bars, x_title="x"))
    parsed(reliability("t", [Dot(bar.value, bar.value, 0.5) for bar in bars], x_title="x", y_title="y"))


@given(low=ANY, high=ANY, logarithmic=st.booleans())
def test_marks_are_few_and_inside(low: float, high: float, logarithmic: bool) -> None:
    made = axis([low, high], 0, 100, may_be_logarithmic=logarithmic)
    marks = made.marks()
    assert len(marks) <= MOST_MARKS + 3
    assert all(0 <= made.at(mark) <= 100 for mark in marks)
    slack = max(abs(made.low), abs(made.high)) * 1e-6
    assert all(made.low - slack <= mark <= made.high + slack for mark in marks)


def test_the_same_report_gives_the_same_figures() -> None:
    numbers = count()
    report = filled(lambda: f"w{next(numbers)}")
    assert figures(report) == figures(report.model_copy(deep=True))
