"""Does re-validation reproduce the metrics that the run reported?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from runaudit.diagnostics.accuracy_mismatch import LIMITS as ACCURACY
from runaudit.diagnostics.accuracy_mismatch import Thresholds as AccuracyThresholds
from runaudit.diagnostics.accuracy_mismatch import compare_accuracy
from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Severity
from runaudit.diagnostics.further_mismatch import LIMITS as FURTHER
from runaudit.diagnostics.further_mismatch import Thresholds as FurtherThresholds
from runaudit.diagnostics.further_mismatch import further_finding, further_gaps
from runaudit.diagnostics.half_precision import LIMITS as PRECISION
from runaudit.diagnostics.half_precision import Thresholds as PrecisionThresholds
from runaudit.diagnostics.half_precision import with_precision
from runaudit.diagnostics.mismatch_settings import cut_short, explained, remedy, trial_measurements, tried_sentence
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import LARGE_SET, MAP50_95_TOLERANCE, MAP50_TOLERANCE, EvaluationFacts
from runaudit.runs.facts import RunFacts

CAUSE: Final = "metric_mismatch"


@dataclass(frozen=True)
class Thresholds:
    map50_95: float = threshold(
        MAP50_95_TOLERANCE, "yolo.md A7: gaps that users report for identical settings are 0.001 to 0.005."
    )
    map50: float = threshold(MAP50_TOLERANCE, "yolo.md A7.")
    large_set: int = threshold(
        LARGE_SET,
        "yolo.md A7: instances from which the tolerances hold as they stand. On fewer they are the half width of the "
        "interval over images, for the settings that are tried as well.",
    )
    major: float = threshold(0.02, "yolo.md A7 (find the reason beyond it) and the report contract's 2 points.")
    critical: float = threshold(
        0.1,
        "Wrong settings cost 0.02 to 0.11 in the reported threads (yolo.md C7); beyond that other data or other "
        "weights are likelier, and the metric can't be trusted.",
    )
    accuracy: AccuracyThresholds = ACCURACY
    further: FurtherThresholds = FURTHER
    half_precision: PrecisionThresholds = PRECISION


LIMITS = Thresholds()


_NAMES: Final = {"precision": "precision", "recall": "recall", "mAP50": "map50", "mAP50-95": "map50_95"}
_STORED: Final = {
    **{f"metrics/{theirs}(B)": ours for theirs, ours in _NAMES.items()},
    **{
        f"metrics/{theirs}({letter})": f"{geometry}/{ours}"
        for letter, geometry in (("M", "mask"), ("P", "pose"))
        for theirs, ours in _NAMES.items()
    },
    "metrics/accuracy_top1": "top1",
    "metrics/accuracy_top5": "top5",
}
"""Names of ultralytics' `train_metrics`: the metrics at the epoch that the checkpoint was saved in (yolo.md A4)."""


@dataclass(frozen=True)
class Reported:
    """The metrics that a run reported, those that are in [0, 1], and where: `results.csv:41`, or the checkpoint."""

    metrics: dict[str, float]
    source: str


def reported_by(run: RunFacts, row: int | None) -> Reported | None:
    """The metrics of `row` in results.csv or, where it holds no mAP50-95, those that the checkpoint stores.

    Of a classifier, top-1 accuracy stands in the place of mAP50-95.
    """
    curves = run.curves
    primary = "top1" if run.task == "classify" else "map50_95"
    if curves is not None and row is not None and 0 <= row < len(curves.epochs):
        cells = {name: column[row] for name, column in curves.metrics.items()}
        metrics = {name: float(cell) for name, cell in cells.items() if cell is not None and 0.0 <= cell <= 1.0}
        if primary in metrics:
            return Reported(metrics, f"{curves.source}:{curves.lines[row]}")
    if run.checkpoint is None:
        return None
    stored = {
        ours: run.checkpoint.train_metrics[theirs]
        for theirs, ours in _STORED.items()
        if 0.0 <= run.checkpoint.train_metrics.get(theirs, np.nan) <= 1.0
    }
    return Reported(stored, f"{run.checkpoint.source}: train_metrics") if primary in stored else None


def reported_metrics(run: RunFacts) -> dict[str, float]:
    """The metrics of the best epoch as the run reported them; empty where it did not."""
    reported = reported_by(run, run.best_row)
    return reported.metrics if reported is not None else {}


def compared_row(run: RunFacts) -> int | None:
    """The row that the audited checkpoint stands for: the last one for last.pt, else the best one."""
    if run.curves is None or not run.curves.epochs:
        return None
    from_last = run.checkpoint is not None and run.checkpoint.source.rsplit("/", 1)[-1] == "last.pt"
    return len(run.curves.epochs) - 1 if from_last else run.best_row


def compared_instead(run: RunFacts) -> Reported | None:
    """What the checkpoint is compared with where that is not the row of the best epoch; None where it is."""
    row = compared_row(run)
    return None if row is None or row == run.best_row else reported_by(run, row)


def _stands_for(run: RunFacts) -> str:
    """A sentence where the checkpoint does not stand for the best epoch."""
    instead = compared_instead(run)
    if instead is None or run.checkpoint is None:
        return ""
    return (
        f" {run.checkpoint.source} stands for the last epoch: it is compared with {instead.source}, not with the row "
        "of the best epoch."
    )


def differs(evaluation: EvaluationFacts, reported: dict[str, float]) -> bool:
    """Whether the figures differ by more than the tolerances or, on a small set, than the interval allows."""
    return not _reproduced(evaluation, reported)[0]


def _reproduced(evaluation: EvaluationFacts, reported: dict[str, float]) -> tuple[bool, str]:
    """Whether the reported figures are reproduced, and how they are."""
    measured, tolerance = evaluation.metrics, evaluation.tolerance
    gap = abs(measured.map50_95 - reported["map50_95"])
    gap50 = abs(measured.map50 - reported["map50"]) if "map50" in reported else 0.0
    if gap <= LIMITS.map50_95 and gap50 <= LIMITS.map50:
        return True, "within tolerance"
    how = f"within the interval of {evaluation.instances} instances"
    return gap <= tolerance.map50_95 and gap50 <= tolerance.map50, how


def other_rows(run: RunFacts) -> dict[str, dict[str, float]]:
    """The metrics of rows that are often taken for the checkpoint's own: the last, and the best."""
    if run.curves is None or not run.curves.epochs:
        return {}
    own = compared_row(run)
    rows = {"the last row": len(run.curves.epochs) - 1, "the row of the best epoch": run.best_row}
    found = {name: reported_by(run, row) for name, row in rows.items() if row is not None and row != own}
    return {name: row.metrics for name, row in found.items() if row is not None and "map50_95" in row.metrics}


def examine(evidence: Evidence) -> CheckResult:
    evaluation, run = evidence.evaluation, evidence.run
    if run.task == "classify":
        return _classifier(evidence)
    if evaluation is None:
        return not_run(CAUSE, why_absent(evidence, "evaluation"))
    if evaluation.split != "val":
        return inconclusive(
            CAUSE, f"The run reported metrics of its val split; re-validation was on {evaluation.split}."
        )
    reported = reported_by(run, compared_row(run))
    if reported is not None:
        return with_precision(evidence, _compare(evaluation, run, reported))
    if run.curves is None:
        return not_run(CAUSE, f"{why_absent(evidence, 'curves')} The checkpoint stores no metrics of its own either.")
    return inconclusive(CAUSE, "results.csv holds no mAP50-95 of the epoch that this checkpoint stands for.")


def _classifier(evidence: Evidence) -> CheckResult:
    """The answer for a classification run, by its top-1 accuracy."""
    measured, run = evidence.classification, evidence.run
    if measured is None:
        return not_run(CAUSE, why_absent(evidence, "classification"))
    reported = reported_by(run, compared_row(run))
    if reported is not None:
        return compare_accuracy(measured, reported.metrics["top1"], reported.source)
    if run.curves is None:
        return not_run(CAUSE, f"{why_absent(evidence, 'curves')} The checkpoint stores no metrics of its own either.")
    return inconclusive(CAUSE, "results.csv holds no top-1 accuracy of the epoch that this checkpoint stands for.")


def _compare(evaluation: EvaluationFacts, run: RunFacts, reported_figures: Reported) -> CheckResult:
    reported = reported_figures.metrics
    measured = evaluation.metrics
    difference = measured.map50_95 - reported["map50_95"]
    interval = evaluation.ci95.get("map50_95")
    within_interval = interval is not None and interval[0] <= reported["map50_95"] <= interval[1]
    # The interval of the difference: the reported figure is a fixed number, the measured one has the sample's interval.
    spread = None if interval is None else (interval[0] - reported["map50_95"], interval[1] - reported["map50_95"])
    where = f" in {reported_figures.source}"
    figures = f"{measured.map50_95:.4f} measured, {reported['map50_95']:.4f} reported{where}"
    reproduced, how = _reproduced(evaluation, reported)
    gaps = further_gaps(evaluation, reported, reported_figures.source, small=evaluation.instances < LIMITS.large_set)
    off = next((gap for gap in gaps if not gap.reproduced), None)
    if reproduced and off is not None:
        return further_finding(off, evaluation, _severity(abs(off.difference), beyond=off.beyond))
    if reproduced and abs(difference) >= LIMITS.critical:
        return inconclusive(
            CAUSE,
            f"{figures}: so large a gap is within the interval of {evaluation.instances} instances, which are too few "
            "to tell.",
            effect=difference,
            ci95=spread,
            n=evaluation.instances,
        )
    if reproduced:
        return passed(
            CAUSE,
            f"Re-validation reproduces the reported mAP50-95 ({figures}: {how})"
            + "".join(f"; {gap.sentence}" for gap in gaps)
            + f".{_stands_for(run)}",
            effect=difference,
            ci95=spread,
            n=evaluation.instances,
        )
    cause = explained(evaluation)
    if cause is not None and cause.trial.name == "average_precision" and off is None:
        return passed(
            CAUSE,
            f"{figures}. {cause.sentence}",
            effect=difference,
            ci95=spread,
            n=evaluation.instances,
        )
    beyond = not within_interval and abs(difference) > LIMITS.map50_95
    severity = "minor" if cause is not None and cause.benign else _severity(abs(difference), beyond=beyond)
    result = _finding(evaluation, run, reported_figures, severity)
    if result.finding is None or not gaps:
        return result
    evidence = (*result.finding.evidence, *(item for gap in gaps for item in gap.measurements))
    return replace(result, finding=replace(result.finding, evidence=evidence))


def _severity(size: float, *, beyond: bool) -> Severity:
    """Graver than minor only beyond both the tolerance and the bootstrap interval."""
    if not beyond or size < LIMITS.major:
        return "minor"
    return "critical" if size >= LIMITS.critical else "major"


def _finding(evaluation: EvaluationFacts, run: RunFacts, reported_figures: Reported, severity: Severity) -> CheckResult:
    reported = reported_figures.metrics
    measured = evaluation.metrics
    difference = measured.map50_95 - reported["map50_95"]
    interval = evaluation.ci95.get("map50_95")
    spread = None if interval is None else (interval[0] - reported["map50_95"], interval[1] - reported["map50_95"])
    inflates = difference < 0
    # Sizes of the gap are not negative: where the interval of the difference crosses 0 it is cut off there.
    ends = None if spread is None else sorted(max(0.0, -end if inflates else end) for end in spread)
    evidence = [
        Measurement("mAP50-95, re-validated", round(measured.map50_95, 5), ci95=interval, n=evaluation.images),
        Measurement("mAP50-95, reported", round(reported["map50_95"], 5), source=reported_figures.source),
        Measurement(
            "difference of mAP50-95", round(difference, 5), threshold=LIMITS.map50_95, ci95=spread, n=evaluation.images
        ),
    ]
    if "map50" in reported:
        gap = round(measured.map50 - reported["map50"], 5)
        evidence.append(Measurement("difference of mAP50", gap, threshold=LIMITS.map50, n=evaluation.images))
    cause = explained(evaluation)
    evidence += trial_measurements(evaluation.reconciliation)
    why = cause.sentence if cause else cut_short(run, reported_is_lower=not inflates)
    return found(
        CAUSE,
        severity,
        f"Re-validation gives mAP50-95 {measured.map50_95:.3f}, the run reported {reported['map50_95']:.3f}"
        + (f" ({cause.trial.name} explains it)" if cause else ""),
        ("The reported figure is higher than the checkpoint and these images give. " if inflates else
         "The checkpoint is better on these images than the run reported. ")
        + (why or f"{tried_sentence(evaluation.reconciliation)} Other images, labels or another checkpoint do this.")
        + _stands_for(run),
        evidence=tuple(evidence),
        impact=Impact(
            "inflates" if inflates else "lowers",
            abs(difference),
            (ends[0], ends[1]) if ends else None,
            "intervention" if cause else "observational",
        ),
        remedies=(remedy(run, cause),),
        effect=difference,
        ci95=spread,
        n=evaluation.instances,
    )  # fmt: skip


CHECK = Check(
    cause=CAUSE,
    title="Reported against re-validated metrics",
    question=__doc__ or "",
    statistic=(
        "Re-validated minus reported mAP50-95 and mAP50, the reported ones from the row of the best epoch by "
        "that version's "
        "fitness (of the last row for last.pt) or, without one, from the metrics that the checkpoint stores of its own "
        "epoch (train_metrics), against a tolerance and against the bootstrap interval over images. Where they differ, "
        "the settings of yolo.md A7 are tried one by one, the cheapest first: row, AP convention of the version, "
        "confidence, single_cls, names, NMS threshold, max_det, head, batch, rect, half, imgsz and split. One explains "
        "the gap if both figures are reproduced with it. Of masks and keypoints mAP50-95 is compared beside that of "
        "the boxes, and of a classifier top-1 accuracy. All passes are in single precision; of a run that asks for "
        "half precision (`half`, `quantize`), and at depth deep, mAP50-95 of up to 64 (300) images in half precision "
        "is set beside it, paired by image: real float16, on a CPU too."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Comparing the last row with best.pt: not done here.",
        "Another AP convention of the run's version: worth at most 0.01 (yolo.md A6).",
        "A validation split of few instances: the interval widens the tolerance.",
    ),
    references=("yolo.md A6, A7, C7",),
    examine=examine,
)
