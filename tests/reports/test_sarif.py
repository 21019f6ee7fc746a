"""The SARIF rendering: rules, results and places in the form of SARIF 2.1.0, and what GitHub asks of a file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runaudit.causes import CAUSES
from runaudit.diagnostics.catalogue import CHECKS
from runaudit.diagnostics.policy import Policy
from runaudit.reports.check_pages import page
from runaudit.reports.sarif import render_sarif
from runaudit.reports.schema import EvidenceItem, Report
from tests.diagnostics import cases
from tests.reports.cases import build, faulty_evidence, hostile_evidence
from tests.reports.filled import HOSTILE, filled

TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
MESSAGE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {"text": TEXT, "markdown": TEXT},
}
PLACE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["physicalLocation"],
    "properties": {
        "physicalLocation": {
            "type": "object",
            "additionalProperties": False,
            "required": ["artifactLocation"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["uri"],
                    # A relative reference of RFC 3986 without scheme, host, and dot segments.
                    "properties": {"uri": {"type": "string", "pattern": r"^(?!/)[A-Za-z0-9._~/%-]+$"}},
                },
                "region": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["startLine"],
                    "properties": {"startLine": {"type": "integer", "minimum": 1}},
                },
            },
        }
    },
}
RULE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "name", "shortDescription", "fullDescription", "help", "defaultConfiguration"],
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z_0-9]+$"},
        "name": {"type": "string", "pattern": "^[A-Za-z0-9]+$"},
        "shortDescription": MESSAGE,
        "fullDescription": MESSAGE,
        "help": MESSAGE,
        "defaultConfiguration": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"level": {"enum": ["none", "note", "warning", "error"]}},
        },
    },
}
RESULT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
    "properties": {
        "ruleId": TEXT,
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": {"enum": ["warning", "error"]},
        "message": MESSAGE,
        "locations": {"type": "array", "minItems": 1, "maxItems": 1, "items": PLACE},
        "relatedLocations": {"type": "array", "minItems": 1, "uniqueItems": True, "items": PLACE},
        "partialFingerprints": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
        "properties": {"type": "object"},
    },
}
LOG: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["$schema", "version", "runs"],
    "properties": {
        "$schema": {"type": "string", "pattern": "^https://.*sarif-schema-2.1.0.json$"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["tool", "results", "invocations"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["name", "rules"],
                                "properties": {
                                    "name": {"const": "Runaudit"},
                                    "semanticVersion": {"type": "string"},
                                    "shortDescription": MESSAGE,
                                    "rules": {"type": "array", "uniqueItems": True, "items": RULE},
                                },
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["executionSuccessful"],
                            "properties": {
                                "executionSuccessful": {"type": "boolean"},
                                "toolExecutionNotifications": {
                                    "type": "array",
                                    "uniqueItems": True,
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "required": ["message"],
                                        "properties": {"level": {"const": "note"}, "message": MESSAGE},
                                    },
                                },
                            },
                        },
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {"type": "array", "items": RESULT},
                    "properties": {"type": "object"},
                },
            },
        },
    },
}
"""The parts of OASIS' schema that are used here, closed: what it lets through, the whole schema lets through too."""


def checked(report: Report) -> dict[str, Any]:
    """The one run of the log, held to the schema; and to OASIS' own if RUNAUDIT_SARIF_SCHEMA names it."""
    rendered = render_sarif(report)
    log = json.loads(rendered)
    jsonschema.Draft202012Validator(LOG).validate(log)
    official = os.environ.get("RUNAUDIT_SARIF_SCHEMA")
    if official:
        jsonschema.Draft4Validator(json.loads(Path(official).read_text(encoding="utf-8"))).validate(log)
    assert rendered == render_sarif(report)
    run: dict[str, Any] = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    return run


def test_every_cause_is_a_rule_with_its_page_as_help() -> None:
    rules = checked(build(cases.healthy()))["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(CAUSES)
    assert [rule["help"]["markdown"] for rule in rules] == [page(check) for check in CHECKS]
    assert rules[0]["name"] == "ClassImbalance"


def test_findings_are_results_at_the_places_of_their_evidence() -> None:
    report = build(faulty_evidence(), Policy(min_map50_95=0.9))
    results = checked(report)["results"]
    assert [result["ruleId"] for result in results] == [*(finding.cause for finding in report.findings), "policy"]
    first = results[0]
    assert first["level"] == "error" and first["properties"]["severity"] == report.findings[0].severity
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "results.csv"
    sources = [item.source for item in report.findings[0].evidence]
    assert f"results.csv:{place['region']['startLine']}" in sources
    assert first["properties"]["remedies"][0]["patch"] == report.findings[0].remedies[0].patch
    assert {result["level"] for result in results if result.get("properties", {}).get("severity") == "minor"} <= {
        "warning"
    }
    assert results[-1]["message"]["text"].startswith("min_map50_95 is 0.3")


@pytest.mark.parametrize(
    ("source", "uri", "line"),
    [
        ("results.csv:41", "results.csv", 41),
        ("weights/best.pt", "weights/best.pt", None),
        ("a b/ü.txt:3", "a%20b/%C3%BC.txt", 3),
        ("/etc/passwd:1", "etc/passwd", 1),
        ("../../x.yaml:2", "x.yaml", 2),
        ("//evil.test/x", "evil.test/x", None),
        ("javascript:alert(1)", "javascript%3Aalert%281%29", None),
        ("C:\\data\\data.yaml:7", "C%3A/data/data.yaml", 7),
        ("results.csv:0", "results.csv%3A0", None),
        ("..", "results.csv", None),
        ("\x1b[31m\u202e", "results.csv", None),
    ],
)
def test_a_place_is_a_relative_uri(source: str, uri: str, line: int | None) -> None:
    report = build(faulty_evidence())
    finding = report.findings[0].model_copy(update={"evidence": [EvidenceItem(name="x", source=source)]})
    result = checked(report.model_copy(update={"findings": [finding]}))["results"][0]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == uri
    assert place.get("region", {}).get("startLine") == line


def test_a_fingerprint_stays_while_figures_and_lines_change() -> None:
    report = build(faulty_evidence())
    finding = report.findings[0]
    moved = [item.model_copy(update={"source": "results.csv:7", "value": 1.0}) for item in finding.evidence]
    other = report.model_copy(update={"findings": [finding.model_copy(update={"evidence": moved})]})
    assert checked(report)["results"][0]["partialFingerprints"] == checked(other)["results"][0]["partialFingerprints"]
    prints = [json.dumps(result["partialFingerprints"]) for result in checked(report)["results"]]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize(
    "report",
    [
        build(hostile_evidence(), Policy(min_class_map50_95={"{0}[a](b)": 0.9})),
        build(cases.without_everything()),
        filled(lambda: HOSTILE, entries=2),
        filled(lambda: HOSTILE * 400),
    ],
    ids=["hostile", "configuration", "filled", "huge"],
)
def test_no_string_becomes_a_link_a_placeholder_or_a_control_character(report: Report) -> None:
    run = checked(report)
    messages = [result["message"] for result in run["results"]]
    messages += run["invocations"][0]["toolExecutionNotifications"] and [
        notification["message"] for notification in run["invocations"][0]["toolExecutionNotifications"]
    ]
    for message in messages:
        assert message["text"].isprintable()
        assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", message["text"])
        assert not re.search(r"(?<!\{)(?:\{\{)*\{\d", message["text"].replace("{{", ""))
        assert "<script" not in message.get("markdown", "")
    assert run["properties"]["headline"].isprintable()
