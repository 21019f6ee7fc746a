"""From evidence and answers to the report: no judgement of its own, the same input gives the same report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runaudit.diagnostics.evidence import CheckResult, Depth, Evidence, Finding
from runaudit.diagnostics.metric_mismatch import compared_instead, reported_metrics
from runaudit.diagnostics.policy import NOT_VALIDATED, Baseline, Policy, PolicyOutcome, judge
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.diagnostics.verdict import decide, headline
from runaudit.evaluation.facts import BoxMetrics, ClassMetrics, EvaluationFacts, InterventionFacts
from runaudit.reports import labels, schema, statistics
from runaudit.reports.classification import classification_validation
from runaudit.reports.figures import with_figures
from runaudit.reports.plain_values import finite, interval, json_value, names, notes, scalar, text
from runaudit.runs.facts import AnnotatorFacts, Column, Curves, DatasetFacts, RunFacts, SplitFacts


def build_report(
    evidence: Evidence,
    results: list[CheckResult],
    policy: Policy,
    *,
    depth: Depth = "standard",
    provenance: schema.Provenance,
    baseline: Baseline | None = None,
) -> schema.Report:
    """The report of one audit. `results` are the answers of all checks, in the order of the causes, unranked.

    `baseline` is what the policy's baseline audit measured.
    """
    explained = explain_away(results)
    ranked = rank(explained)
    outcomes = judge(policy, evidence.evaluation, unmeasured=_no_map(evidence), baseline=baseline)
    verdict = decide(ranked, outcomes, evidence.evaluation or evidence.classification, depth)
    report = schema.Report(
        verdict=verdict,
        headline=text(headline(verdict, ranked, explained, outcomes, evidence)),
        run=_run(evidence.run),
        findings=[
            _finding(position, result, result.finding)
            for position, result in enumerate(ranked, start=1)
            if result.finding is not None
        ],
        checks=[_check(result) for result in explained],
        policy=[_rule(outcome) for outcome in outcomes],
        validation=_measured(evidence, explained),
        dataset=_dataset(evidence.dataset) if evidence.dataset else None,
        curves=_curves(evidence.run.curves) if evidence.run.curves else None,
        interventions=[_intervention(change) for change in evidence.interventions],
        provenance=provenance,
    )
    return with_figures(report)


def _no_map(evidence: Evidence) -> str:
    """Why a rule on mAP can't be judged where nothing was measured."""
    if evidence.run.task == "classify":
        return "A classification run has no mAP."
    return NOT_VALIDATED


def _measured(evidence: Evidence, results: list[CheckResult]) -> schema.Validation | None:
    """What re-validation measured, of boxes or of classes; None where it was not run."""
    if evidence.evaluation is not None:
        return _validation(evidence.run, evidence.evaluation, results)
    if evidence.classification is not None:
        reported = reported_metrics(evidence.run)
        return classification_validation(
            evidence.classification, reported, compared_instead(evidence.run), reproduced=_reproduced(results)
        )
    return None


def _run(run: RunFacts) -> schema.Run:
    arguments = dict(run.checkpoint.train_args) if run.checkpoint is not None else {}
    if run.configuration is not None:
        arguments |= run.configuration.values
    return schema.Run(
        framework=run.framework,
        framework_version=_text(run.framework_version),
        task=run.task,
        architecture=_text(run.architecture),
        parameters=run.checkpoint.parameters or None if run.checkpoint is not None else None,
        epochs_planned=run.epochs_planned,
        epochs_run=run.epochs_run,
        best_epoch=run.best_epoch,
        status=run.status,
        args={text(key): json_value(value) for key, value in arguments.items()},
    )


def _text(value: str | None) -> str | None:
    return None if value is None else text(value)


def _finding(position: int, result: CheckResult, finding: Finding) -> schema.Finding:
    return schema.Finding(
        rank=position,
        cause=result.cause,
        severity=finding.severity,
        title=text(finding.title),
        explanation=text(finding.explanation),
        evidence=[
            schema.EvidenceItem(
                name=text(item.name),
                value=scalar(item.value),
                threshold=scalar(item.threshold),
                ci95=interval(item.ci95),
                n=item.n,
                source=_text(item.source),
            )
            for item in finding.evidence
        ],
        impact=schema.Impact(
            direction=finding.impact.direction,
            metric=finding.impact.metric,
            value=finite(finding.impact.value),
            ci95=interval(finding.impact.ci95),
            grade=finding.impact.grade,
        ),
        affected=schema.Affected(classes=names(finding.affected_classes), images=names(finding.affected_images)),
        remedies=[
            schema.Remedy(
                title=text(remedy.title),
                why=text(remedy.why),
                patch={key: json_value(value) for key, value in remedy.patch.items()},
                code=remedy.code,
                reference=remedy.reference,
            )
            for remedy in finding.remedies
        ],
    )


def _check(result: CheckResult) -> schema.CheckOutcome:
    return schema.CheckOutcome(
        cause=result.cause,
        outcome=result.outcome,
        reason=text(result.reason),
        effect=finite(result.effect),
        ci95=interval(result.ci95),
        n=result.n,
    )


def _rule(outcome: PolicyOutcome) -> schema.PolicyRule:
    return schema.PolicyRule(
        rule=text(outcome.rule),
        value=finite(outcome.value),
        threshold=finite(outcome.threshold),
        ci95=interval(outcome.ci95),
        outcome=outcome.outcome,
        reason=_text(outcome.reason),
    )


def _validation(run: RunFacts, evaluation: EvaluationFacts, results: list[CheckResult]) -> schema.Validation:
    reported = {name.replace("/", "_"): value for name, value in reported_metrics(run).items()}
    instead = compared_instead(run)
    compared = {name.replace("/", "_"): value for name, value in instead.metrics.items()} if instead is not None else {}
    against = compared or reported
    class_names = statistics.class_names(evaluation)
    figures = _figures("", evaluation.metrics)
    for geometry, further in evaluation.further.items():
        figures |= _figures(f"{geometry}_", further)
    return schema.Validation(
        metrics=schema.ValidationMetrics(
            **{"obb" if evaluation.task == "obb" else "box": _metrics(evaluation.metrics)},
            **{geometry: _metrics(further) for geometry, further in evaluation.further.items()},
        ),
        ci95={name: ends for name, value in evaluation.ci95.items() if (ends := interval(value)) is not None},
        confidence_threshold=finite(evaluation.confidence_threshold),
        per_class=[_class(entry) for entry in evaluation.per_class],
        error_types=statistics.error_types(evaluation.error_types, class_names),
        calibration=statistics.calibration(evaluation.calibration),
        per_size=statistics.per_size(evaluation.per_size),
        thresholds=statistics.thresholds(evaluation.thresholds, class_names),
        lrp=statistics.lrp(evaluation.lrp, class_names),
        labels=labels.review(evaluation.label_quality, class_names),
        reported={text(name): value for name, value in reported.items()},
        compared={text(name): value for name, value in compared.items()},
        compared_source=text(instead.source) if instead is not None else None,
        reproduced=_reproduced(results),
        difference={
            name: value - against[name]
            for name, value in figures.items()
            if name in against and finite(value) is not None
        },
        settings={text(key): json_value(value) for key, value in evaluation.settings.items()}
        | {"split": text(evaluation.split), "images": evaluation.images, "replicates": evaluation.replicates},
    )


def _figures(prefix: str, measured: BoxMetrics) -> dict[str, float]:
    """What runs report too, by the report's names."""
    return {
        f"{prefix}map50": measured.map50,
        f"{prefix}map50_95": measured.map50_95,
        f"{prefix}precision": measured.precision,
        f"{prefix}recall": measured.recall,
    }


def _metrics(measured: BoxMetrics) -> schema.Metrics:
    return schema.Metrics(**{name: finite(value) for name, value in measured.model_dump().items()})


def _reproduced(results: list[CheckResult]) -> bool | None:
    """metric_mismatch's answer; None where it could not tell."""
    outcome = next((result.outcome for result in results if result.cause == "metric_mismatch"), "not_run")
    return {"passed": True, "warned": False, "failed": False}.get(outcome)


def _class(entry: ClassMetrics) -> schema.ClassResult:
    return schema.ClassResult(
        class_id=entry.class_id,
        name=text(entry.name),
        images=entry.images,
        instances=entry.instances,
        precision=finite(entry.precision),
        recall=finite(entry.recall),
        f1=finite(entry.f1),
        map50=finite(entry.map50),
        map50_95=finite(entry.map50_95),
        map50_95_ci95=interval(entry.map50_95_ci95),
        further_map50_95=finite(entry.further_map50_95),
    )


def _intervention(change: InterventionFacts) -> schema.Intervention:
    return schema.Intervention(
        name=text(change.name),
        description=text(change.description),
        grade=change.grade,
        metric=change.metric,
        before=change.before,
        after=change.after,
        difference=change.difference,
        ci95=interval(change.ci95),
        n=change.images,
    )


def _dataset(dataset: DatasetFacts) -> schema.Dataset:
    return schema.Dataset(
        source=text(dataset.source),
        names={index: text(name) for index, name in dataset.names.items()},
        splits={split: _split(facts, dataset.names) for split, facts in dataset.splits.items()},
        notes=notes(dataset.notes),
        annotators={name: _annotator(facts, dataset.names) for name, facts in dataset.annotators.items()},
        agreement=labels.agreement(dataset.agreement, dataset.names),
    )


def _annotator(annotator: AnnotatorFacts, class_names: Mapping[int, str]) -> schema.AnnotatorCensus:
    return schema.AnnotatorCensus(
        images=annotator.images,
        labelled=annotator.labelled,
        background=annotator.background,
        not_annotated=annotator.not_annotated,
        rejected=annotator.rejected,
        unmatched_files=annotator.unmatched_files,
        instances=annotator.instances,
        class_instances=_by_name(annotator.class_instances, class_names),
        notes=notes(annotator.notes),
    )


def _split(split: SplitFacts, class_names: Mapping[int, str]) -> schema.SplitCensus:
    return schema.SplitCensus(
        source=text(split.source),
        images=split.images,
        labelled=split.labelled,
        background=split.background,
        missing_labels=split.missing_labels,
        rejected=split.rejected,
        instances=split.instances,
        class_instances=_by_name(split.class_instances, class_names),
        notes=notes(split.notes),
    )


def _by_name(counts: Sequence[int], class_names: Mapping[int, str]) -> dict[str, int]:
    """Counts by class name; two classes of one name are told apart by their id, so that none is lost."""
    named: dict[str, int] = {}
    for index, count in enumerate(counts):
        name = text(class_names.get(index, str(index)))
        named[name if name not in named else f"{name} ({index})"] = count
    return named


def _curves(curves: Curves) -> schema.CurvesTable:
    groups: dict[str, dict[str, Column]] = {
        "train": curves.train_losses,
        "val": curves.val_losses,
        "metrics": curves.metrics,
        "lr": curves.learning_rates,
    }
    columns = {
        text(f"{kind}/{name}"): [finite(cell) for cell in column]
        for kind, group in groups.items()
        for name, column in group.items()
    }
    if curves.seconds is not None:
        columns["seconds"] = [finite(cell) for cell in curves.seconds]
    return schema.CurvesTable(source=text(curves.source), epochs=list(curves.epochs), columns=columns)
