"""Puts a report together from evidence, check results and policy outcomes: a mapping onto the contract."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from pydantic import JsonValue

from runaudit.diagnostics.evidence import CheckResult, Depth, Evidence, Finding
from runaudit.diagnostics.metric_mismatch import reported_metrics
from runaudit.diagnostics.policy import Policy, PolicyOutcome, judge
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.diagnostics.verdict import decide, headline
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.reports import schema
from runaudit.runs.facts import Column, Curves, DatasetFacts, Note, RunFacts, SplitFacts


def build_report(
    evidence: Evidence, results: list[CheckResult], policy: Policy, *, depth: Depth, provenance: schema.Provenance
) -> schema.Report:
    """The report of one audit. The same facts give the same report; nothing in it is NaN or infinite.

    `results` are the answers of all checks, in the order of the causes.
    """
    results = explain_away(results)
    ranked = rank(results)
    judged = judge(policy, evidence.evaluation)
    verdict = decide(ranked, judged, evidence.evaluation, depth)
    return schema.Report(
        verdict=verdict,
        headline=headline(verdict, ranked, results, judged, evidence),
        run=run_section(evidence.run),
        findings=[_finding(rank_from_1, result) for rank_from_1, result in enumerate(ranked, start=1)],
        checks=[_check(result) for result in results],
        policy=[_rule(outcome) for outcome in judged],
        validation=None
        if evidence.evaluation is None
        else validation_section(evidence.run, evidence.evaluation, results),
        dataset=None if evidence.dataset is None else dataset_section(evidence.dataset),
        curves=None if evidence.run.curves is None else curves_section(evidence.run.curves),
        provenance=provenance,
    )


def run_section(run: RunFacts) -> schema.Run:
    """What the training was asked to do and what it did."""
    values = run.configuration.values if run.configuration is not None else {}
    if not values and run.checkpoint is not None:
        values = run.checkpoint.train_args
    return schema.Run(
        framework=run.framework,
        framework_version=run.framework_version,
        task=run.task,
        architecture=run.architecture,
        parameters=run.checkpoint.parameters if run.checkpoint is not None and run.checkpoint.tensors else None,
        epochs_planned=run.epochs_planned,
        epochs_run=run.epochs_run,
        best_epoch=run.best_epoch,
        status=run.status,
        args={key: _finite(value) for key, value in values.items()},
    )


def _finite(value: JsonValue) -> JsonValue:
    """The value without NaN and infinity, which JSON can't carry; they become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finding(rank_from_1: int, result: CheckResult) -> schema.Finding:
    finding = result.finding
    if finding is None:
        raise ValueError(f"{result.cause} has no finding")
    return schema.Finding(
        rank=rank_from_1,
        cause=result.cause,
        severity=finding.severity,
        title=finding.title,
        explanation=finding.explanation,
        evidence=[_measurement(asdict(measurement)) for measurement in finding.evidence],
        impact=schema.Impact(**asdict(finding.impact)),
        affected=schema.Affected(classes=list(finding.affected_classes), images=list(finding.affected_images)),
        remedies=_remedies(finding),
    )


def _measurement(fields: dict[str, Any]) -> schema.EvidenceItem:
    for key in ("value", "threshold"):
        if isinstance(fields[key], float):
            fields[key] = _finite(fields[key])
    return schema.EvidenceItem(**fields)


def _remedies(finding: Finding) -> list[schema.Remedy]:
    return [schema.Remedy(**asdict(remedy)) for remedy in finding.remedies]


def _check(result: CheckResult) -> schema.CheckOutcome:
    return schema.CheckOutcome(
        cause=result.cause,
        outcome=result.outcome,
        reason=result.reason,
        effect=_number(result.effect),
        ci95=result.ci95,
        n=result.n,
    )


def _rule(outcome: PolicyOutcome) -> schema.PolicyRule:
    return schema.PolicyRule(
        rule=outcome.rule,
        value=outcome.value,
        threshold=outcome.threshold,
        ci95=outcome.ci95,
        outcome=outcome.outcome,
    )


def _reproduced(results: list[CheckResult]) -> bool | None:
    """Whether re-validation gave what was reported, as the check of it says; None where it could not tell."""
    outcome = next(result.outcome for result in results if result.cause == "metric_mismatch")
    return {"passed": True, "failed": False, "warned": False}.get(outcome)


def validation_section(run: RunFacts, evaluation: EvaluationFacts, results: list[CheckResult]) -> schema.Validation:
    """Re-validated metrics beside the reported ones."""
    reported = reported_metrics(run)
    measured = evaluation.metrics.model_dump()
    difference = {name: measured[name] - reported[name] for name in measured if name in reported}
    return schema.Validation(
        metrics=schema.ValidationMetrics(box=schema.Metrics(**measured)),
        ci95=evaluation.ci95,
        confidence_threshold=evaluation.confidence_threshold,
        per_class=[schema.ClassResult(**entry.model_dump()) for entry in evaluation.per_class],
        reported=reported,
        reproduced=_reproduced(results),
        difference=difference,
        settings=evaluation.settings,
    )


def _said(note: Note) -> str:
    return f"{note.place}: {note.detail}" if note.place else note.detail


def _split(split: SplitFacts, names: dict[int, str]) -> schema.SplitCensus:
    counts = {names.get(number, str(number)): count for number, count in enumerate(split.class_instances)}
    return schema.SplitCensus(
        source=split.source,
        images=split.images,
        labelled=split.labelled,
        background=split.background,
        missing_labels=split.missing_labels,
        rejected=split.rejected,
        instances=split.instances,
        class_instances=counts,
        notes=[_said(note) for note in split.notes],
    )


def dataset_section(dataset: DatasetFacts) -> schema.Dataset:
    """The census of each split."""
    return schema.Dataset(
        source=dataset.source,
        names=dataset.names,
        splits={name: _split(split, dataset.names) for name, split in dataset.splits.items()},
        notes=[_said(note) for note in dataset.notes],
    )


def _cells(column: Column) -> list[float | None]:
    return [_number(value) for value in column]


def curves_section(curves: Curves) -> schema.CurvesTable:
    """The curves as a table; a cell that is not a finite number is null."""
    groups = {
        "train": curves.train_losses,
        "val": curves.val_losses,
        "metrics": curves.metrics,
        "lr": curves.learning_rates,
    }
    columns = {f"{group}/{name}": _cells(column) for group, table in groups.items() for name, column in table.items()}
    if curves.seconds is not None:
        columns["seconds"] = _cells(curves.seconds)
    return schema.CurvesTable(source=curves.source, epochs=list(curves.epochs), columns=columns)
