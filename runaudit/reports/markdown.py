"""Renders a report as Markdown, for a pull request, a ticket or a model registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runaudit.reports import wording
from runaudit.reports.escape import code_block, code_span, markdown
from runaudit.reports.schema import Finding, Remedy, Report


def render_markdown(report: Report) -> str:
    """The whole report. All words of the run are escaped."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# Audit: {report.verdict}"
    yield ""
    yield markdown(report.headline, most=2000)
    yield ""
    yield from _table(("run", ""), wording.described_run(report))
    if report.policy:
        yield "## Policy"
        yield ""
        yield from (f"- {markdown(wording.rule(rule))}" for rule in report.policy)
        yield ""
    if report.findings:
        yield "## Findings"
        yield ""
        for finding in report.findings:
            yield from _finding(finding)
    metrics = wording.compared_metrics(report)
    if metrics:
        yield "## Validation"
        yield ""
        yield from _table(("metric", "re-validated (95 % interval)", "reported", "difference"), metrics)
    yield "## Checks"
    yield ""
    checks = sorted(report.checks, key=lambda check: wording.OUTCOMES.index(check.outcome))
    yield from _table(("cause", "outcome", "why"), [(check.cause, check.outcome, check.reason) for check in checks])


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(markdown(cell, most=2000) for cell in row) + " |"
    yield ""


def _finding(finding: Finding) -> Iterator[str]:
    yield f"### {finding.rank}. {markdown(finding.title)} ({finding.severity})"
    yield ""
    yield f"Cause: {code_span(finding.cause)}. Impact: {markdown(wording.impact(finding.impact))}."
    yield ""
    yield markdown(finding.explanation, most=4000)
    yield ""
    yield from (f"- {markdown(wording.evidence(item))}" for item in finding.evidence)
    if wording.affected(finding):
        yield f"- affected {markdown(wording.affected(finding))}"
    yield ""
    for remedy in finding.remedies:
        yield from _remedy(remedy)


def _remedy(remedy: Remedy) -> Iterator[str]:
    reference = f" ({markdown(remedy.reference)})" if remedy.reference else ""
    yield f"**{markdown(remedy.title)}** {markdown(remedy.why, most=2000)}{reference}"
    yield ""
    if remedy.patch:
        yield code_block(wording.patch(remedy.patch), "yaml")
        yield ""
    if remedy.code:
        yield code_block(remedy.code, "python")
        yield ""
