"""The report as Markdown, for merge requests and mails. Every string of the run is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from runaudit.reports import phrases
from runaudit.reports.escape import code_block, markdown
from runaudit.reports.schema import Finding, Report, Validation

MOST_ITEMS = 20
"""classes or images listed of a finding; the JSON report has them all"""


def render_markdown(report: Report) -> str:
    """The whole report: verdict, headline, findings, validation, data set, policy, every check, and its provenance."""
    lines = [
        f"# Runaudit: {phrases.VERDICTS[report.verdict]}",
        "",
        f"**{markdown(report.headline)}**",
        "",
        markdown(phrases.run_line(report)),
        "",
        *_findings(report),
        *_validation(report),
        *_dataset(report),
        *_policy(report),
        *_checks(report),
        *_provenance(report),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    ruled = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*ruled, *("| " + " | ".join(markdown(cell) for cell in row) + " |" for row in rows), ""]


def _findings(report: Report) -> list[str]:
    if not report.findings:
        return []
    lines = ["## Findings", ""]
    for finding in report.findings:
        lines += _finding(finding)
    return lines


def _finding(finding: Finding) -> list[str]:
    lines = [
        f"### {finding.rank}. {markdown(finding.title)}",
        "",
        f"{finding.severity}, {markdown(finding.cause)}. Impact: {markdown(phrases.stake(finding.impact))}.",
        "",
        markdown(finding.explanation),
        "",
        *(f"- {markdown(phrases.measured(item))}" for item in finding.evidence),
        "",
    ]
    for label, values in (("Classes", finding.affected.classes), ("Images", finding.affected.images)):
        if values:
            more = f" and {len(values) - MOST_ITEMS} more" if len(values) > MOST_ITEMS else ""
            lines += [f"{label}: " + ", ".join(markdown(value) for value in values[:MOST_ITEMS]) + more, ""]
    if finding.remedies:
        lines += ["What would fix it:", ""]
    for remedy in finding.remedies:
        reference = f" See {markdown(remedy.reference)}." if remedy.reference else ""
        lines += [f"- **{markdown(remedy.title)}** {markdown(remedy.why)}{reference}", ""]
        if remedy.patch:
            lines += [f"  {line}" for line in code_block("\n".join(phrases.patch(remedy.patch)), "yaml")] + [""]
        if remedy.code:
            lines += [f"  {line}" for line in code_block(remedy.code, "python")] + [""]
    return lines


def _validation(report: Report) -> list[str]:
    validation = report.validation
    if validation is None:
        return []
    rows = phrases.metric_rows(report)
    lines = ["## Validation", "", *_table(("metric", "re-validated (95 %)", "reported", "difference"), rows)]
    if validation.metrics.top1 is not None:
        return lines + _classes(report, validation)
    classes = [
        (
            entry.name,
            str(entry.images),
            str(entry.instances),
            phrases.number(entry.map50),
            f"{phrases.number(entry.map50_95)}{phrases.between(entry.map50_95_ci95)}",
        )
        for entry in validation.per_class
    ]
    if classes:
        lines += _table(("class", "images", "instances", "mAP50", "mAP50-95 (95 %)"), classes)
    for line in (phrases.error_line(report), phrases.confidence_line(report)):
        lines += [f"{markdown(line)}.", ""] if line is not None else []
    return lines


def _classes(report: Report, validation: Validation) -> list[str]:
    """A classifier's classes, and those it mistakes most often."""
    classes = [
        (
            entry.name,
            str(entry.images),
            f"{phrases.number(entry.recall)}{phrases.between(entry.recall_ci95)}",
            phrases.number(entry.precision),
        )
        for entry in validation.per_class
    ]
    confusions = phrases.confusion_rows(report)[:MOST_ITEMS]
    return [
        *_table(("class", "images", "recall (95 %)", "precision"), classes),
        *(_table(("class", "taken for", "images"), confusions) if confusions else []),
    ]


def _dataset(report: Report) -> list[str]:
    if report.dataset is None:
        return []
    notes = [f"- {markdown(note)}" for note in phrases.dataset_notes(report.dataset, MOST_ITEMS)]
    return [
        "## Data set",
        "",
        markdown(phrases.dataset_line(report.dataset)),
        "",
        *_table(phrases.CENSUS_TITLES, phrases.census_rows(report.dataset)),
        *([*notes, ""] if notes else []),
    ]


def _policy(report: Report) -> list[str]:
    if not report.policy:
        return []
    rows = [
        (
            rule.rule,
            f"{phrases.number(rule.value)}{phrases.between(rule.ci95)}",
            phrases.number(rule.threshold),
            rule.outcome.replace("_", " "),
            rule.reason or "",
        )
        for rule in report.policy
    ]
    return ["## Policy", "", *_table(("rule", "value (95 %)", "floor", "outcome", "reason"), rows)]


def _checks(report: Report) -> list[str]:
    rows = [(check.cause, check.outcome.replace("_", " "), check.reason) for check in report.checks]
    return ["## Checks", "", *_table(("cause", "outcome", "reason"), rows)]


def _provenance(report: Report) -> list[str]:
    provenance = report.provenance
    versions = ", ".join(f"{name} {version}" for name, version in sorted(provenance.versions.items()))
    missing = [f"- {markdown(part)}: {markdown(why)}" for part, why in sorted(provenance.not_available.items())]
    return [
        "## Provenance",
        "",
        markdown(
            f"Runaudit {provenance.runaudit_version}; {versions or 'no versions'}; device {provenance.device or '-'}"
        ),
        "",
        *(f"- {markdown(role)}: sha256 {markdown(digest)}" for role, digest in sorted(provenance.artifacts.items())),
        *(["", "Not available:", "", *missing] if missing else []),
    ]
