"""The report as SARIF 2.1.0: a rule for every cause, a result for every finding and every broken rule of the policy.

References: OASIS "Static Analysis Results Interchange Format 2.1.0" (sections in the comments), and what GitHub's code
scanning asks of a file: `docs.github.com`, "SARIF support for code scanning".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from runaudit.diagnostics.catalogue import CHECKS
from runaudit.diagnostics.evidence import Check, Severity
from runaudit.reports import phrases
from runaudit.reports.check_pages import page
from runaudit.reports.escape import markdown, visible
from runaudit.reports.schema import Finding, PolicyRule, Remedy, Report

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
POLICY_RULE: Final = "policy"
MOST_PLACES: Final = 20
"""places of one result; GitHub shows ten"""

_LEVELS: Final[dict[Severity, str]] = {"critical": "error", "major": "error", "minor": "warning"}
_LINE: Final = re.compile(r"(?P<path>.+):(?P<line>[1-9]\d{0,8})")

Json = dict[str, Any]


def render_sarif(report: Report) -> str:
    """One SARIF log with one run, as JSON. The same report gives the same bytes."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]}
    return json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _run(report: Report) -> Json:
    rules = [_rule(check) for check in CHECKS]
    indices = {rule["id"]: index for index, rule in enumerate(rules)}
    results = [_finding(report, finding, indices[finding.cause]) for finding in report.findings]
    broken = [rule for rule in report.policy if rule.outcome == "broken"]
    if report.policy:
        rules.append(_policy_rule())
    results += [_broken(report, rule, len(rules) - 1) for rule in broken]
    return {
        "tool": {
            "driver": {
                "name": "Runaudit",
                "semanticVersion": visible(report.provenance.runaudit_version),
                "shortDescription": _message("Says why a YOLO model fails validation, and what would fix it."),
                "rules": rules,
            }
        },
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": _missing(report)}],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {
            "verdict": report.verdict,
            "headline": visible(report.headline),
            "run": visible(phrases.run_line(report)),
            "checks": [
                {"cause": check.cause, "outcome": check.outcome, "reason": visible(check.reason)}
                for check in report.checks
            ],
        },
    }


def _rule(check: Check) -> Json:
    """A cause as a reporting descriptor (3.49), with its page as help. Nothing in it comes from a run."""
    text = page(check)
    return {
        "id": check.cause,
        "name": "".join(word.capitalize() for word in check.cause.split("_")),
        "shortDescription": _message(check.title),
        "fullDescription": _message(check.question),
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": "error"},
    }


def _policy_rule() -> Json:
    said = "A rule of the policy that the audit was asked to hold the model against."
    return {
        "id": POLICY_RULE,
        "name": "Policy",
        "shortDescription": _message("Policy"),
        "fullDescription": _message(said),
        "help": {"text": said, "markdown": said},
        "defaultConfiguration": {"level": "error"},
    }


def _finding(report: Report, finding: Finding, index: int) -> Json:
    places = _places(report, (item.source for item in finding.evidence))
    return {
        "ruleId": finding.cause,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": _sentences(finding), "markdown": _sentences_as_markdown(finding)},
        **_located(places),
        "partialFingerprints": {"runauditFinding/v1": _fingerprint(finding.cause, places)},
        "properties": {
            "rank": finding.rank,
            "severity": finding.severity,
            "impact": finding.impact.model_dump(mode="json"),
            "evidence": [visible(phrases.measured(item)) for item in finding.evidence],
            "classes": [visible(name) for name in finding.affected.classes],
            "images": [visible(name) for name in finding.affected.images],
            "remedies": [_remedy(remedy) for remedy in finding.remedies],
        },
    }


def _broken(report: Report, rule: PolicyRule, index: int) -> Json:
    said = (
        f"{rule.rule} is {phrases.number(rule.value)}{phrases.between(rule.ci95)}; "
        f"the policy asks for {phrases.number(rule.threshold)}."
    )
    places = _places(report, ())
    return {
        "ruleId": POLICY_RULE,
        "ruleIndex": index,
        "level": "error",
        "message": _message(f"{said} {rule.reason}" if rule.reason else said),
        **_located(places),
        "partialFingerprints": {"runauditFinding/v1": _fingerprint(f"{POLICY_RULE} {rule.rule}", places)},
    }


def _remedy(remedy: Remedy) -> Json:
    """What would fix it; a patch stays data, for a program may apply it."""
    return {
        "title": visible(remedy.title),
        "why": visible(remedy.why),
        **({"patch": remedy.patch} if remedy.patch else {}),
        **({"code": remedy.code} if remedy.code else {}),
    }


def _sentences(finding: Finding) -> str:
    fixes = "; ".join(remedy.title.rstrip(".") for remedy in finding.remedies)
    told = f"{finding.title.rstrip('.')}. {finding.explanation} Impact: {phrases.stake(finding.impact)}."
    # Brackets are links and braces placeholders in a message's text (3.11.5 and 3.11.6).
    return _literal(f"{told} What would fix it: {fixes}." if fixes else told)


def _sentences_as_markdown(finding: Finding) -> str:
    lines = [f"**{markdown(finding.title)}**", "", markdown(finding.explanation), ""]
    lines += [f"Impact: {markdown(phrases.stake(finding.impact))}.", ""]
    lines += [f"- {markdown(phrases.measured(item))}" for item in finding.evidence]
    lines += ["", *(f"- {markdown(remedy.title)} {markdown(remedy.why)}" for remedy in finding.remedies)]
    return "\n".join(lines).replace("{", "{{").replace("}", "}}")


def _message(text: str) -> Json:
    return {"text": _literal(text)}


def _literal(text: str) -> str:
    """Text in which SARIF finds neither a link nor a placeholder."""
    shown = visible(text).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return shown.replace("{", "{{").replace("}", "}}")


def _missing(report: Report) -> list[Json]:
    return [
        {"level": "note", "message": _message(f"{part} is not available: {why}")}
        for part, why in sorted(report.provenance.not_available.items())
    ]


def _places(report: Report, sources: Iterable[str | None]) -> list[tuple[str, int | None]]:
    """Files with lines, each once, those with a line first; the run's own files where the evidence names none.

    GitHub drops a result without any.
    """
    found = dict.fromkeys(place for source in sources if source and (place := _place(source)) is not None)
    if not found:
        fallback = report.curves.source if report.curves is not None else "args.yaml"
        found = {(_uri(fallback) or "args.yaml", None): None}
    return sorted(found, key=lambda place: place[1] is None)[:MOST_PLACES]


def _place(source: str) -> tuple[str, int | None] | None:
    located = _LINE.fullmatch(visible(source))
    path, line = (located["path"], int(located["line"])) if located else (source, None)
    uri = _uri(path)
    return (uri, line) if uri else None


def _uri(path: str) -> str:
    """A path as a relative URI: no scheme, no host, no way up. Empty if nothing is left of it."""
    steps = visible(path).replace("\\", "/").split("/")
    return quote("/".join(step for step in steps if step not in {"", ".", ".."}), safe="/")


def _located(places: list[tuple[str, int | None]]) -> Json:
    """The first place as the result's own, the others as related ones: `locations` has more than one only where all of
    them must be mended together (3.27.12)."""
    own, *others = (_location(uri, line) for uri, line in places)
    return {"locations": [own]} | ({"relatedLocations": others} if others else {})


def _location(uri: str, line: int | None) -> Json:
    region = {"region": {"startLine": line}} if line is not None else {}
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, **region}}


def _fingerprint(what: str, places: list[tuple[str, int | None]]) -> str:
    """The same for the same cause in the same file, whatever its line and its figures."""
    return hashlib.sha256(f"{what}\n{places[0][0]}".encode()).hexdigest()
