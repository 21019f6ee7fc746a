"""The report as JUnit XML, for the test pages of CI systems: a test case for every check and every rule of the policy.

The form is what Jenkins' xunit plugin describes in junit-10.xsd, which GitLab and Azure Pipelines read too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runaudit.reports import phrases
from runaudit.reports.elements import Markup, element, preformatted
from runaudit.reports.schema import CheckOutcome, Finding, PolicyRule, Report

HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


def render_junit(report: Report) -> str:
    """A failed check and a broken rule are failures; what could not be judged is skipped; a warning is told in the
    output of a case that passes."""
    findings = {finding.cause: finding for finding in report.findings}
    suites = [_suite("runaudit.checks", report, [_check(check, findings.get(check.cause)) for check in report.checks])]
    if report.policy:
        suites.append(_suite("runaudit.policy", report, [_rule(rule) for rule in report.policy]))
    failures = sum(check.outcome == "failed" for check in report.checks)
    failures += sum(rule.outcome == "broken" for rule in report.policy)
    whole = element(
        "testsuites",
        *suites,
        name=f"Runaudit: {phrases.VERDICTS[report.verdict]}",
        tests=str(len(report.checks) + len(report.policy)),
        failures=str(failures),
        errors="0",
    )
    return f"{HEAD}{whole}\n"


def _suite(name: str, report: Report, cases: Sequence[tuple[str, Markup]]) -> Markup:
    """`cases` are outcomes (`failure`, `skipped`, `passed`) with their elements."""
    outcomes = [outcome for outcome, _ in cases]
    properties = {
        "verdict": report.verdict,
        "headline": report.headline,
        "run": phrases.run_line(report),
        "runaudit_version": report.provenance.runaudit_version,
    }
    return element(
        "testsuite",
        element("properties", *(element("property", name=key, value=value) for key, value in properties.items())),
        *(case for _, case in cases),
        name=name,
        tests=str(len(cases)),
        failures=str(outcomes.count("failure")),
        errors="0",
        skipped=str(outcomes.count("skipped")),
    )


def _check(check: CheckOutcome, finding: Finding | None) -> tuple[str, Markup]:
    told = preformatted("\n".join(_lines(finding))) if finding is not None else Markup("")
    match check.outcome:
        case "failed":
            severity = finding.severity if finding is not None else "major"
            failure = element("failure", told, type=severity, message=check.reason)
            return "failure", _case("runaudit.checks", check.cause, failure)
        case "inconclusive" | "not_run":
            reason = f"{check.outcome.replace('_', ' ')}: {check.reason}"
            return "skipped", _case("runaudit.checks", check.cause, element("skipped", message=reason))
        case "warned":
            return "passed", _case("runaudit.checks", check.cause, element("system-out", told))
        case "passed":
            return "passed", _case("runaudit.checks", check.cause, element("system-out", check.reason))


def _rule(rule: PolicyRule) -> tuple[str, Markup]:
    said = f"{phrases.number(rule.value)}{phrases.between(rule.ci95)}, floor {phrases.number(rule.threshold)}"
    reason = f"{said}: {rule.reason}" if rule.reason else said
    match rule.outcome:
        case "broken":
            failure = element("failure", reason, type="policy", message=reason)
            return "failure", _case("runaudit.policy", rule.rule, failure)
        case "inconclusive" | "not_run":
            skipped = element("skipped", message=f"{rule.outcome.replace('_', ' ')}: {reason}")
            return "skipped", _case("runaudit.policy", rule.rule, skipped)
        case "met":
            return "passed", _case("runaudit.policy", rule.rule, element("system-out", reason))


def _case(group: str, name: str, *children: Markup) -> Markup:
    return element("testcase", *children, name=name, classname=group)


def _lines(finding: Finding) -> list[str]:
    """A finding as plain lines: what, why, evidence, and what would fix it."""
    lines = [f"[{finding.severity}] {finding.title}", "", finding.explanation, ""]
    lines.append(f"Impact: {phrases.stake(finding.impact)}.")
    lines += [f"- {phrases.measured(item)}" for item in finding.evidence]
    for remedy in finding.remedies:
        lines += ["", f"{remedy.title}. {remedy.why}"]
        lines += [f"  {line}" for line in phrases.patch(remedy.patch)]
        lines += [f"  {line}" for line in (remedy.code or "").rstrip("\n").split("\n") if remedy.code]
    return lines
