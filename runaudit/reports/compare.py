"""What changed between two audits, from their reports: metrics, classes, causes, arguments and the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from runaudit.causes import CauseId
from runaudit.diagnostics.differences import difference_interval
from runaudit.diagnostics.evidence import Severity
from runaudit.reports.schema import ClassResult, Interval, Number, Report, ReportModel, Validation, Verdict

Change = Literal["better", "worse", "within_noise", "unknown"]


class MetricChange(ReportModel):
    """One metric of both. `difference` is after minus before, with the interval of `difference_interval`."""

    metric: str
    before: Number
    before_ci95: Interval | None = None
    after: Number
    after_ci95: Interval | None = None
    difference: Number
    difference_ci95: Interval | None = None
    change: Change


class ClassChange(ReportModel):
    """A class whose mAP50-95 (of a classifier: recall) changed by more than noise; `metric` says which of the two."""

    name: str
    metric: Literal["map50_95", "recall"]
    before: Number
    after: Number
    difference: Number
    difference_ci95: Interval
    change: Literal["better", "worse"]


class CauseChange(ReportModel):
    """A cause whose findings differ; a severity is null where there is no finding."""

    cause: CauseId
    before: Severity | None
    after: Severity | None
    title: str


class ArgumentChange(ReportModel):
    """An argument of the training that differs; null where a run does not have it."""

    name: str
    before: JsonValue = None
    after: JsonValue = None


class RuleChange(ReportModel):
    """A rule of either policy. An outcome is null where that audit had no such rule."""

    rule: str
    before: str | None
    after: str | None


class VerdictChange(ReportModel):
    before: Verdict
    after: Verdict


class Comparison(ReportModel):
    """What changed from one audit (`before`) to another (`after`)."""

    verdict: VerdictChange
    metrics: list[MetricChange]
    classes: list[ClassChange]
    causes_gone: list[CauseChange]
    causes_new: list[CauseChange]
    causes_changed: list[CauseChange]
    arguments: list[ArgumentChange]
    policy: list[RuleChange]
    notes: list[str]


def compare(before: Report, after: Report) -> Comparison:
    """What changed; metrics that only one of the two has are left out, and told of in `notes`."""
    causes = _causes(before, after)
    return Comparison(
        verdict=VerdictChange(before=before.verdict, after=after.verdict),
        metrics=_metrics(before.validation, after.validation),
        classes=_classes(before.validation, after.validation),
        causes_gone=[cause for cause in causes if cause.after is None],
        causes_new=[cause for cause in causes if cause.before is None],
        causes_changed=[cause for cause in causes if cause.before is not None and cause.after is not None],
        arguments=_arguments(before.run.args, after.run.args),
        policy=_policy(before, after),
        notes=_notes(before, after),
    )


def _metrics(before: Validation | None, after: Validation | None) -> list[MetricChange]:
    first, second = _figures(before), _figures(after)
    changes = []
    for name in (name for name in first if name in second):
        # A report names the intervals of boxes, rotated or not, without their geometry.
        key = name.removeprefix("box_").removeprefix("obb_")
        ends = [measured.ci95.get(key) for measured in (before, after) if measured is not None]
        interval = difference_interval(first[name], ends[0], second[name], ends[1])
        changes.append(
            MetricChange(
                metric=name,
                before=first[name],
                before_ci95=ends[0],
                after=second[name],
                after_ci95=ends[1],
                difference=second[name] - first[name],
                difference_ci95=interval,
                change=_change(interval),
            )
        )
    return changes


def _figures(validation: Validation | None) -> dict[str, float]:
    """Every metric that was measured: `box_map50_95`, `mask_recall`, `top1`."""
    figures: dict[str, float] = {}
    for name, value in validation.metrics.model_dump().items() if validation is not None else ():
        if isinstance(value, dict):
            figures |= {f"{name}_{metric}": one for metric, one in value.items() if one is not None}
        elif value is not None:
            figures[name] = value
    return figures


def _change(interval: Interval | None) -> Change:
    """Which side of zero the whole interval lies on."""
    if interval is None:
        return "unknown"
    return "better" if interval[0] > 0 else "worse" if interval[1] < 0 else "within_noise"


def _classes(before: Validation | None, after: Validation | None) -> list[ClassChange]:
    """By name, the largest loss first. Of a hundred classes five change beyond their 95 % interval by chance alone."""
    first, second = _by_name(before), _by_name(after)
    changes = []
    for name in (name for name in first if name in second):
        for metric in ("map50_95", "recall"):
            ends = [getattr(entry, f"{metric}_ci95") for entry in (first[name], second[name])]
            values = [getattr(entry, metric) for entry in (first[name], second[name])]
            if None in values:
                continue
            interval = difference_interval(values[0], ends[0], values[1], ends[1])
            change = _change(interval)
            if interval is not None and change in ("better", "worse"):
                changes.append(
                    ClassChange(
                        name=name,
                        metric=metric,
                        before=values[0],
                        after=values[1],
                        difference=values[1] - values[0],
                        difference_ci95=interval,
                        change="better" if interval[0] > 0 else "worse",
                    )
                )
    return sorted(changes, key=lambda change: (change.difference, change.name))


def _by_name(validation: Validation | None) -> Mapping[str, ClassResult]:
    return {entry.name: entry for entry in validation.per_class} if validation is not None else {}


def _causes(before: Report, after: Report) -> list[CauseChange]:
    """In the order of the later report's ranks, then those that are gone in the order of the earlier one's."""
    first = {finding.cause: finding for finding in reversed(before.findings)}
    second = {finding.cause: finding for finding in reversed(after.findings)}
    ordered = dict.fromkeys(finding.cause for finding in (*after.findings, *before.findings))
    changes = []
    for cause in ordered:
        old, new = first.get(cause), second.get(cause)
        severities = (old.severity if old else None, new.severity if new else None)
        if severities[0] != severities[1]:
            title = (new or old or before.findings[0]).title
            changes.append(CauseChange(cause=cause, before=severities[0], after=severities[1], title=title))
    return changes


def _arguments(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> list[ArgumentChange]:
    return [
        ArgumentChange(name=name, before=before.get(name), after=after.get(name))
        for name in sorted({*before, *after})
        if (name in before, before.get(name)) != (name in after, after.get(name))
    ]


def _policy(before: Report, after: Report) -> list[RuleChange]:
    first = {rule.rule: rule.outcome for rule in before.policy}
    second = {rule.rule: rule.outcome for rule in after.policy}
    return [
        RuleChange(rule=rule, before=first.get(rule), after=second.get(rule))
        for rule in dict.fromkeys([*second, *first])
    ]


def _notes(before: Report, after: Report) -> list[str]:
    """What makes the two less comparable than their figures look."""
    notes = []
    for name, report in (("earlier", before), ("later", after)):
        if report.validation is None:
            notes.append(f"The {name} audit could not validate its model again, so that no metrics are compared.")
    if before.run.task != after.run.task:
        notes.append(f"The tasks differ: {before.run.task}, then {after.run.task}.")
    if before.validation is not None and after.validation is not None:
        settings = [report.validation.settings for report in (before, after) if report.validation is not None]
        differing = [
            name for name in sorted({*settings[0], *settings[1]}) if settings[0].get(name) != settings[1].get(name)
        ]
        if differing:
            notes.append(f"They were validated with other settings: {', '.join(differing)}.")
    digests = [report.provenance.artifacts.get("data") for report in (before, after)]
    if digests[0] != digests[1]:
        notes.append("The data sets are not the same artifact, so that the metrics may differ by the images alone.")
    return notes
