"""Renders a report as plain text for a terminal or a log; no colour, no control characters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from runaudit.reports import wording
from runaudit.reports.escape import plain
from runaudit.reports.schema import Finding, Report

WIDTH = 100


def render_text(report: Report) -> str:
    """The whole report: verdict, findings with evidence and remedies, metrics, and every check."""
    return "\n".join(_lines(report)) + "\n"


def _wrapped(text: str, indent: str = "", hanging: str | None = None) -> list[str]:
    return textwrap.wrap(
        plain(text, most=4000),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_on_hyphens=False,
    )


def _lines(report: Report) -> Iterator[str]:
    yield f"VERDICT: {report.verdict.upper()}"
    yield from _wrapped(report.headline)
    yield ""
    yield from (f"{name:<10} {plain(value)}" for name, value in wording.described_run(report))
    yield ""
    for rule in report.policy:
        yield from _wrapped(wording.rule(rule), "policy     ", " " * 11)
    if report.policy:
        yield ""
    for finding in report.findings:
        yield from _finding(finding)
    metrics = wording.compared_metrics(report)
    if metrics:
        yield f"{'metric':<10} {'re-validated (95 % interval)':<30} {'reported':>8} {'difference':>11}"
        yield from (f"{name:<10} {value:<30} {reported:>8} {delta:>11}" for name, value, reported, delta in metrics)
        yield ""
    yield "checks"
    for check in sorted(report.checks, key=lambda check: wording.OUTCOMES.index(check.outcome)):
        yield from _wrapped(check.reason, f"  {check.outcome:<12} {check.cause:<24} ", " " * 40)


def _finding(finding: Finding) -> Iterator[str]:
    yield from _wrapped(f"{finding.rank}. {finding.title} [{finding.severity}, {finding.cause}]", "", "   ")
    yield from _wrapped(f"Impact: {wording.impact(finding.impact)}.", "   ")
    yield from _wrapped(finding.explanation, "   ")
    for item in finding.evidence:
        yield from _wrapped(wording.evidence(item), "   - ", "     ")
    if wording.affected(finding):
        yield from _wrapped(f"affected {wording.affected(finding)}", "   - ", "     ")
    for remedy in finding.remedies:
        yield from _wrapped(f"{remedy.title}: {remedy.why}", "   > ", "     ")
        yield from (f"       {plain(line)}" for line in wording.patch(remedy.patch).splitlines())
    yield ""
