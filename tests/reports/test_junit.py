"""The JUnit rendering: a case for every check and rule, in the form of Jenkins' junit-10.xsd."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from runaudit.causes import CAUSES
from runaudit.diagnostics.policy import Policy
from runaudit.reports.junit import render_junit
from runaudit.reports.schema import Report
from tests.diagnostics import cases
from tests.reports.cases import build, faulty_evidence, hostile_evidence
from tests.reports.filled import HOSTILE, filled

# The rules of junit-10.xsd (Jenkins' xunit plugin), of the elements that are written here: which attributes an element
# must and may have, and which elements it may hold. Text is allowed in those whose type is mixed or a string.
REQUIRED = {
    "testsuite": {"name", "tests", "failures", "errors"},
    "testcase": {"name"},
    "property": {"name", "value"},
}
OPTIONAL = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
    "testcase": {"time", "classname", "group"},
    "failure": {"type", "message"},
    "skipped": {"type", "message"},
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err", "testsuite"},
    "properties": {"property"},
    "testcase": {"skipped", "failure", "error", "system-out", "system-err"},
}
MIXED = {"failure", "skipped", "system-out"}


def checked(rendered: str) -> ET.Element:
    """The document, held to the schema's rules, with totals that are those of its cases."""
    root = ET.fromstring(rendered.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        required, optional = REQUIRED.get(element.tag, set()), OPTIONAL.get(element.tag, set())
        assert required <= set(element.attrib) <= required | optional, element.tag
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set()), element.tag
        assert element.tag in MIXED or not (element.text or "").strip(), element.tag
    for whole in (root, *root.iter("testsuite")):
        assert int(whole.attrib["tests"]) == len(list(whole.iter("testcase")))
        assert int(whole.attrib["failures"]) == len(list(whole.iter("failure")))
        assert whole.attrib["errors"] == "0"
    for suite in root.iter("testsuite"):
        assert int(suite.attrib["skipped"]) == len(list(suite.iter("skipped")))
    return root


def case(root: ET.Element, name: str) -> ET.Element:
    return next(found for found in root.iter("testcase") if found.attrib["name"] == name)


def test_outcomes_become_failures_skips_and_passes() -> None:
    report = build(faulty_evidence(), Policy(min_map50_95=0.9, min_map50=0.1))
    root = checked(render_junit(report))
    for check in report.checks:
        found = case(root, check.cause)
        assert (found.find("failure") is not None) == (check.outcome == "failed")
        assert (found.find("skipped") is not None) == (check.outcome in ("inconclusive", "not_run"))
        assert found.attrib["classname"] == "runaudit.checks"
    failure = case(root, "learning_rate").find("failure")
    assert failure is not None and failure.attrib["type"] == report.findings[0].severity
    assert "lr0: 0.01" in (failure.text or "") and "Impact: " in (failure.text or "")
    assert case(root, "min_map50_95").find("failure") is not None
    assert case(root, "min_map50").find("failure") is None
    properties = {item.attrib["name"]: item.attrib["value"] for item in root.iter("property")}
    assert properties["verdict"] == "fail" and properties["headline"] == report.headline


def test_a_warning_passes_and_is_told() -> None:
    root = checked(render_junit(filled(lambda: "word")))
    warned = case(root, CAUSES[1])
    assert warned.find("failure") is None and "[major] word" in (warned.findtext("system-out") or "")


@pytest.mark.parametrize(
    "report",
    [
        build(cases.healthy()),
        build(cases.without_everything()),
        build(hostile_evidence(), Policy(min_class_map50_95={"]]><b>": 0.1})),
        filled(lambda: HOSTILE, entries=2),
        filled(lambda: HOSTILE * 400),
    ],
    ids=["healthy", "configuration", "hostile", "filled", "huge"],
)
def test_any_report_is_well_formed_and_deterministic(report: Report) -> None:
    rendered = render_junit(report)
    checked(rendered)
    assert rendered == render_junit(report)
    assert rendered.replace("\n", "").isprintable() and "\x1b" not in rendered
    # A CDATA section would end at `]]>`; there is none, and the text's own is escaped.
    assert "<![CDATA[" not in rendered and "]]>" not in rendered


def test_a_case_for_every_cause_in_its_order() -> None:
    names = [found.attrib["name"] for found in checked(render_junit(build(cases.healthy()))).iter("testcase")]
    assert names == list(CAUSES)
    assert re.match(r'<\?xml version="1.0" encoding="UTF-8"\?>\n<testsuites ', render_junit(build(cases.healthy())))
