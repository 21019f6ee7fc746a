"""The report as one HTML file: no script, nothing loaded from anywhere, every string of the run escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from runaudit.reports import phrases
from runaudit.reports.elements import Markup, element, joined
from runaudit.reports.figures import figures
from runaudit.reports.html_data import curves_section, dataset_section, interventions_section
from runaudit.reports.html_parts import code, definitions, folded, items, section, settings, table
from runaudit.reports.html_style import STYLE
from runaudit.reports.html_validation import validation_section
from runaudit.reports.phrases import between, number
from runaudit.reports.schema import Finding, Remedy, Report

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
"""The page's own Content-Security-Policy: its one style by its hash, and nothing else."""
CONTENT_SECURITY_POLICY: Final = f"{PAGE_POLICY}; frame-ancestors 'none'; sandbox"
"""What a server sends with it: a `meta` element can't say the last two (CSP level 3, 3.3)."""

_OF_VALIDATION: Final = ("classes.svg", "errors.svg", "calibration.svg")
_OF_CURVES: Final = ("losses.svg", "metric.svg", "learning_rate.svg")


def render_html(report: Report) -> str:
    """The whole report as a page. The same report gives the same bytes."""
    drawn = figures(report)
    parts = [
        _findings(report, drawn),
        _policy(report),
        _checks(report),
        validation_section(report, _pictures(drawn, _OF_VALIDATION)),
        interventions_section(report),
        curves_section(report, _pictures(drawn, _OF_CURVES)),
        dataset_section(report),
        _run(report),
        _provenance(report),
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=Markup(PAGE_POLICY)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"Runaudit: {phrases.VERDICTS[report.verdict]}"),
        element("style", Markup(STYLE)),
    )
    body = element("body", _header(report, drawn), element("main", *parts))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _header(report: Report, drawn: Mapping[str, str]) -> Markup:
    links = [
        element("a", title, href=f"#{name}")
        for name, title, there in (
            ("findings", "Findings", True),
            ("policy", "Policy", bool(report.policy)),
            ("checks", "Checks", True),
            ("validation", "Validation", True),
            ("interventions", "Interventions", bool(report.interventions)),
            ("curves", "Curves", True),
            ("dataset", "Data set", True),
            ("run", "Run", True),
            ("provenance", "Provenance", True),
        )
        if there
    ]
    verdict = phrases.VERDICTS[report.verdict]
    return element(
        "header",
        element("h1", Markup("Runaudit: "), element("span", verdict, class_=f"verdict {report.verdict}")),
        element("p", report.headline, class_="headline"),
        element("p", phrases.run_line(report)),
        element("nav", *_spaced(links), aria_label="Parts of the report"),
        _pictures(drawn, ("impacts.svg",)),
    )


def _spaced(links: Iterable[Markup]) -> list[Markup]:
    return [joined(link, " ") for link in links]


def _pictures(drawn: Mapping[str, str], names: Iterable[str]) -> Markup:
    """The figures of these names, each with its name as an anchor that findings point at."""
    return joined(*(element("figure", Markup(drawn[name]), id=_anchor(name)) for name in names if name in drawn))


def _anchor(name: str) -> str:
    return f"figure-{name.partition('.')[0]}"


def _findings(report: Report, drawn: Mapping[str, str]) -> Markup:
    found = [_finding(finding, drawn) for finding in report.findings]
    return section("findings", "Findings", *(found or [element("p", "No check found anything.")]))


def _finding(finding: Finding, drawn: Mapping[str, str]) -> Markup:
    evidence = [
        (
            item.name,
            f"{number(item.value)}{between(item.ci95)}",
            number(item.threshold),
            number(item.n),
            item.source or "-",
        )
        for item in finding.evidence
    ]
    pictures = [
        element("a", name.partition(".")[0].replace("_", " "), href=f"#{_anchor(name)}")
        for name in finding.figures
        if name in drawn
    ]
    return element(
        "article",
        element("h3", f"{finding.rank}. {finding.title}"),
        element(
            "p",
            element("span", finding.severity, class_=f"severity {finding.severity}"),
            f" {finding.cause}. Impact: {phrases.stake(finding.impact)}.",
        ),
        element("p", finding.explanation),
        table("Evidence", ("what", "value (95 %)", "threshold", "n", "where"), evidence),
        element("p", "Pictures: ", *_spaced(pictures)) if pictures else "",
        _affected("Classes", finding.affected.classes),
        _affected("Images", finding.affected.images),
        *([element("h4", "What would fix it")] if finding.remedies else []),
        *(_remedy(remedy) for remedy in finding.remedies),
    )


def _affected(title: str, names: list[str]) -> Markup:
    return folded(f"{title}: {len(names)}", items(names))


def _remedy(remedy: Remedy) -> Markup:
    return element(
        "div",
        element("p", element("strong", remedy.title), f" {remedy.why}"),
        code("\n".join(phrases.patch(remedy.patch))) if remedy.patch else "",
        code(remedy.code) if remedy.code else "",
        element("p", f"See {remedy.reference}") if remedy.reference else "",
        class_="remedy",
    )


def _policy(report: Report) -> Markup:
    rows = [
        (
            rule.rule,
            f"{number(rule.value)}{between(rule.ci95)}",
            number(rule.threshold),
            rule.outcome.replace("_", " "),
            rule.reason or "",
        )
        for rule in report.policy
    ]
    header = ("rule", "value (95 %)", "floor", "outcome", "reason")
    return section("policy", "Policy", table("What counts as passing", header, rows))


def _checks(report: Report) -> Markup:
    rows = [
        (
            check.cause.replace("_", " "),
            check.outcome.replace("_", " "),
            check.reason,
            f"{number(check.effect)}{between(check.ci95)}",
            number(check.n),
        )
        for check in report.checks
    ]
    header = ("cause", "outcome", "reason", "effect (95 %)", "n")
    return section("checks", "Checks", table("Every cause, every time", header, rows))


def _run(report: Report) -> Markup:
    run = report.run
    facts = (
        ("framework", f"{run.framework} {run.framework_version or ''}"),
        ("task", run.task),
        ("architecture", run.architecture or "-"),
        ("parameters", number(run.parameters)),
        ("epochs", f"{number(run.epochs_run)} of {number(run.epochs_planned)}"),
        ("best epoch", number(run.best_epoch)),
        ("status", run.status.replace("_", " ")),
    )
    return section("run", "Run", definitions(facts), folded("Arguments", settings(run.args)))


def _provenance(report: Report) -> Markup:
    made = report.provenance
    return section(
        "provenance",
        "Provenance",
        definitions((("Runaudit", made.runaudit_version), ("device", made.device or "-"))),
        table("Versions", ("package", "version"), sorted(made.versions.items())),
        table("Artifacts", ("role", "SHA-256"), sorted(made.artifacts.items())),
        table("Not available", ("part", "why"), sorted(made.not_available.items())),
        folded("Seeds, isolation and seconds", settings(made.seeds), settings(made.isolation), settings(made.seconds)),
    )
