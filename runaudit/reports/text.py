"""The report as plain text for a terminal: no colours, and no control sequence that a run may have brought along."""

from __future__ import annotations

import textwrap

from runaudit.reports import phrases
from runaudit.reports.escape import visible, visible_code
from runaudit.reports.schema import Finding, Report

WIDTH = 100
MOST_ITEMS = 10
"""classes or images listed of a finding; the JSON report has them all"""


def render_text(report: Report) -> str:
    """The whole report: verdict, headline, findings with evidence and remedies, validation, data, policy, checks."""
    lines = [
        *_wrap(report.headline, "      ", f"{phrases.VERDICTS[report.verdict]}  "),
        *_wrap(phrases.run_line(report), "      "),
        "",
    ]
    for finding in report.findings:
        lines += [*_finding(finding), ""]
    lines += _metrics(report) + _dataset(report) + _policy(report) + _checks(report) + _missing(report)
    return "\n".join(lines).rstrip("\n") + "\n"


def _wrap(value: str, indent: str = "", first: str | None = None) -> list[str]:
    """Visible text in lines of at most WIDTH; `first` opens the first line where it differs from `indent`."""
    opening = indent if first is None else first
    wrapped = textwrap.wrap(visible(value), WIDTH, initial_indent=opening, subsequent_indent=indent)
    return wrapped or [opening.rstrip()]


def _finding(finding: Finding) -> list[str]:
    lines = _wrap(f"{finding.rank}. [{finding.severity}] {finding.title}", "   ", "")
    lines += _wrap(f"cause {finding.cause}; impact: {phrases.stake(finding.impact)}", "   ")
    lines += _wrap(finding.explanation, "   ")
    for item in finding.evidence:
        lines += _wrap(phrases.measured(item), "     ", "   - ")
    for label, values in (("classes", finding.affected.classes), ("images", finding.affected.images)):
        if values:
            more = f" and {len(values) - MOST_ITEMS} more" if len(values) > MOST_ITEMS else ""
            lines += _wrap(f"{label}: {', '.join(values[:MOST_ITEMS])}{more}", "     ", "   ")
    if finding.remedies:
        lines.append("   What would fix it:")
    for remedy in finding.remedies:
        lines += _wrap(f"{remedy.title}. {remedy.why}", "     ", "   * ")
        if remedy.patch:
            lines += _wrap(", ".join(phrases.patch(remedy.patch)), "       ")
        if remedy.code:
            lines += [f"       {visible_code(line)}".rstrip() for line in remedy.code.rstrip("\n").split("\n")]
    return lines


def _table(rows: list[tuple[str, ...]], *, last: str = "") -> list[str]:
    """Columns as wide as their cells; the last one is wrapped."""
    cleaned = [tuple(visible(cell) for cell in row) for row in rows]
    widths = [min(40, max(len(row[column]) for row in cleaned)) for column in range(len(cleaned[0]) - 1)]
    lines = []
    for row in cleaned:
        head = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        indent = " " * (sum(widths) + 2 * len(widths) + 2)
        lines += _wrap(row[-1] or last, indent, f"  {head}  ")
    return lines


def _metrics(report: Report) -> list[str]:
    rows = phrases.metric_rows(report)
    if not rows:
        return []
    lines = ["Validation", *_table([("metric", "re-validated (95 %)", "reported", "difference"), *rows])]
    for line in (phrases.error_line(report), phrases.confidence_line(report)):
        lines += _wrap(line, "    ", "  ") if line is not None else []
    confusions = phrases.confusion_rows(report)[:MOST_ITEMS]
    if confusions:
        lines += ["", *_table([("class", "taken for", "images"), *confusions])]
    return [*lines, ""]


def _dataset(report: Report) -> list[str]:
    if report.dataset is None:
        return []
    lines = _wrap(f"Data set {phrases.dataset_line(report.dataset)}")
    lines += _table([phrases.CENSUS_TITLES, *phrases.census_rows(report.dataset)])
    for note in phrases.dataset_notes(report.dataset, MOST_ITEMS):
        lines += _wrap(note, "    ", "  - ")
    return [*lines, ""]


def _policy(report: Report) -> list[str]:
    if not report.policy:
        return []
    rows: list[tuple[str, ...]] = [
        (
            rule.rule,
            f"{phrases.number(rule.value)}{phrases.between(rule.ci95)}",
            f"floor {phrases.number(rule.threshold)}",
            rule.outcome.replace("_", " ") + (f": {rule.reason}" if rule.reason else ""),
        )
        for rule in report.policy
    ]
    return ["Policy", *_table(rows), ""]


def _checks(report: Report) -> list[str]:
    rows: list[tuple[str, ...]] = [
        (check.cause, check.outcome.replace("_", " "), check.reason) for check in report.checks
    ]
    return ["Checks", *(_table(rows) if rows else []), ""]


def _missing(report: Report) -> list[str]:
    lines = []
    for part, why in sorted(report.provenance.not_available.items()):
        lines += _wrap(f"{part}: {why}", "    ", "  ")
    return ["Not available", *lines] if lines else []
