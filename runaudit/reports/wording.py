"""How figures and lists read in every rendering: numbers, intervals, patches, outcomes."""

from __future__ import annotations

import json

from pydantic import JsonValue

from runaudit.reports.schema import EvidenceItem, Finding, Impact, PolicyRule, Report

OUTCOMES = ("failed", "warned", "inconclusive", "passed", "not_run")
"""The order in which checks are listed: what needs a person first."""


def number(value: float | int | str | bool | None) -> str:
    """A figure as people read it: four significant digits, `-` for none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    """`0.512 (0.471 to 0.553)`, or without an interval just the figure."""
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval is not None else "")


def impact(stake: Impact) -> str:
    """What a cause does to the metric, as a phrase, with how well that is known."""
    if stake.direction == "unjudgeable":
        return "the metric can't be judged"
    if stake.value is None:
        return "not measured"
    name = {"map50_95": "mAP50-95"}.get(stake.metric, stake.metric)
    verb = "not real" if stake.direction == "inflates" else "lost"
    return f"{with_interval(stake.value, stake.ci95)} {name} {verb} ({stake.grade})"


def evidence(item: EvidenceItem) -> str:
    """`name: value (threshold t; 95 % interval a to b; n = 12; results.csv:41)`."""
    details = [
        f"threshold {number(item.threshold)}" if item.threshold is not None else "",
        f"95 % interval {item.ci95[0]:.4g} to {item.ci95[1]:.4g}" if item.ci95 is not None else "",
        f"n = {item.n}" if item.n is not None else "",
        item.source or "",
    ]
    said = "; ".join(detail for detail in details if detail)
    return f"{item.name}: {number(item.value)}" + (f" ({said})" if said else "")


def patch(values: dict[str, JsonValue]) -> str:
    """A config patch as YAML lines, `lr0: 0.001`; values are JSON, which YAML reads too."""
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in values.items())


def rule(outcome: PolicyRule) -> str:
    """`min_map50_95: 0.412 (0.380 to 0.447), asked 0.5: broken`."""
    asked = f", asked {number(outcome.threshold)}" if outcome.threshold is not None else ""
    return f"{outcome.rule}: {with_interval(outcome.value, outcome.ci95)}{asked}: {outcome.outcome}"


def described_run(report: Report) -> list[tuple[str, str]]:
    """The run in a few pairs of name and value; unknown parts are left out."""
    run = report.run
    epochs = f"{number(run.epochs_run)} of {number(run.epochs_planned)}, best {number(run.best_epoch)}"
    parameters = f"{run.parameters:,} parameters" if run.parameters else ""
    return [
        ("framework", " ".join(part for part in (run.framework, run.framework_version or "") if part)),
        ("task", run.task),
        ("model", ", ".join(part for part in (run.architecture or "", parameters) if part) or "-"),
        ("epochs", f"{epochs} ({run.status})"),
    ]


def compared_metrics(report: Report) -> list[tuple[str, str, str, str]]:
    """Rows of metric, re-validated, reported and difference, for box metrics; empty without validation."""
    validation = report.validation
    if validation is None or validation.metrics.box is None:
        return []
    measured = validation.metrics.box.model_dump()
    names = {"map50_95": "mAP50-95", "map50": "mAP50", "precision": "precision", "recall": "recall", "f1": "F1"}
    rows = []
    for key, name in names.items():
        reported, difference = validation.reported.get(key), validation.difference.get(key)
        rows.append(
            (
                name,
                with_interval(measured[key], validation.ci95.get(key)),
                "-" if reported is None else f"{reported:.3f}",
                "-" if difference is None else f"{difference:+.4f}",
            )
        )
    return rows


def affected(finding: Finding, most: int = 10) -> str:
    """The first few affected classes and images, and how many more there are."""
    parts = []
    for kind, names in (("classes", finding.affected.classes), ("images", finding.affected.images)):
        if names:
            more = f" and {len(names) - most} more" if len(names) > most else ""
            parts.append(f"{kind}: {', '.join(names[:most])}{more}")
    return "; ".join(parts)
