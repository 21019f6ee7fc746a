"""Does re-validation reproduce the metrics that the run reported?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.facts import RunFacts

CAUSE: Final = "metric_mismatch"


@dataclass(frozen=True)
class Thresholds:
    map50_95: float = threshold(0.005, "yolo.md A7: gaps that users report for identical settings are 0.001 to 0.005.")
    map50: float = threshold(0.01, "yolo.md A7.")
    large_set: int = threshold(500, "yolo.md A7: instances from which the tolerances hold as they stand.")
    major: float = threshold(0.02, "yolo.md A7 (find the reason beyond it) and the report contract's 2 points.")
    critical: float = threshold(
        0.1,
        "Wrong settings cost 0.02 to 0.11 in the reported threads (yolo.md C7); beyond that other data or other "
        "weights are likelier, and the metric can't be trusted.",
    )


LIMITS = Thresholds()


def reported_metrics(run: RunFacts, row: int | None = None) -> dict[str, float]:
    """The metrics of the best epoch's row (or of `row`) in results.csv, those that are finite; empty without one."""
    index = run.best_row if row is None else row
    if run.curves is None or index is None or not 0 <= index < len(run.curves.epochs):
        return {}
    cells = {name: column[index] for name, column in run.curves.metrics.items()}
    return {name: float(cell) for name, cell in cells.items() if cell is not None and np.isfinite(cell)}


def compared_row(run: RunFacts) -> int | None:
    """The row that the audited checkpoint stands for: the last one for last.pt, else the best one."""
    if run.curves is None or not run.curves.epochs:
        return None
    from_last = run.checkpoint is not None and run.checkpoint.source.rsplit("/", 1)[-1] == "last.pt"
    return len(run.curves.epochs) - 1 if from_last else run.best_row


def examine(evidence: Evidence) -> CheckResult:
    evaluation, run = evidence.evaluation, evidence.run
    if evaluation is None:
        return not_run(CAUSE, why_absent(evidence, "evaluation"))
    if run.curves is None:
        return not_run(CAUSE, why_absent(evidence, "curves"))
    if evaluation.split != "val":
        return inconclusive(
            CAUSE, f"The run reported metrics of its val split; re-validation was on {evaluation.split}."
        )
    row = compared_row(run)
    reported = reported_metrics(run, row)
    if row is None or "map50_95" not in reported:
        return inconclusive(CAUSE, "results.csv holds no mAP50-95 of the epoch that this checkpoint stands for.")
    return _compare(evaluation, run, row, reported)


def _compare(evaluation: EvaluationFacts, run: RunFacts, row: int, reported: dict[str, float]) -> CheckResult:
    measured = evaluation.metrics
    difference = measured.map50_95 - reported["map50_95"]
    difference50 = measured.map50 - reported["map50"] if "map50" in reported else 0.0
    interval = evaluation.ci95.get("map50_95")
    within_tolerance = abs(difference) <= LIMITS.map50_95 and abs(difference50) <= LIMITS.map50
    within_interval = interval is not None and interval[0] <= reported["map50_95"] <= interval[1]
    # The interval of the difference: the reported figure is a fixed number, the measured one has the sample's interval.
    spread = None if interval is None else (interval[0] - reported["map50_95"], interval[1] - reported["map50_95"])
    small = evaluation.instances < LIMITS.large_set
    figures = f"{measured.map50_95:.4f} measured, {reported['map50_95']:.4f} reported"
    if within_tolerance or (within_interval and small):
        how = "within tolerance" if within_tolerance else f"within the interval of {evaluation.instances} instances"
        return passed(
            CAUSE,
            f"Re-validation reproduces the reported mAP50-95 ({figures}: {how}).",
            effect=difference,
            ci95=spread,
            n=evaluation.instances,
        )
    severity = _severity(abs(difference), beyond=not within_interval and abs(difference) > LIMITS.map50_95)
    return _finding(evaluation, run, row, reported, severity)


def _severity(size: float, *, beyond: bool) -> Severity:
    """Graver than minor only beyond both the tolerance and the bootstrap interval."""
    if not beyond or size < LIMITS.major:
        return "minor"
    return "critical" if size >= LIMITS.critical else "major"


def _finding(
    evaluation: EvaluationFacts, run: RunFacts, row: int, reported: dict[str, float], severity: Severity
) -> CheckResult:
    measured = evaluation.metrics
    difference = measured.map50_95 - reported["map50_95"]
    interval = evaluation.ci95.get("map50_95")
    spread = None if interval is None else (interval[0] - reported["map50_95"], interval[1] - reported["map50_95"])
    inflates = difference < 0
    # Sizes of the gap are not negative: where the interval of the difference crosses 0 it is cut off there.
    ends = None if spread is None else sorted(max(0.0, -end if inflates else end) for end in spread)
    curves = run.curves
    place = f"{curves.source}:{curves.lines[row]}" if curves is not None else None
    evidence = [
        Measurement("mAP50-95, re-validated", round(measured.map50_95, 5), ci95=interval, n=evaluation.images),
        Measurement("mAP50-95, reported", round(reported["map50_95"], 5), source=place),
        Measurement("difference of mAP50-95", round(difference, 5), threshold=LIMITS.map50_95, ci95=spread),
    ]
    if "map50" in reported:
        gap = round(measured.map50 - reported["map50"], 5)
        evidence.append(Measurement("difference of mAP50", gap, threshold=LIMITS.map50))
    return found(
        CAUSE,
        severity,
        f"Re-validation gives mAP50-95 {measured.map50_95:.3f}, the run reported {reported['map50_95']:.3f}",
        ("The reported figure is higher than the checkpoint and these images give. " if inflates else
         "The checkpoint is better on these images than the run reported. ")
        + "Other images or labels, another checkpoint, another imgsz, or a validation cut short by its NMS time limit "
        "do this; this version doesn't yet try the settings one by one.",
        evidence=tuple(evidence),
        impact=Impact(
            "inflates" if inflates else "lowers",
            abs(difference),
            (ends[0], ends[1]) if ends else None,
            "observational",
        ),
        remedies=(
            Remedy(
                "Validate with the run's own settings and data",
                "Compare imgsz, split, and the row of the best epoch with what validation.settings of this "
                "report names.",
                {"imgsz": run.argument("imgsz")} if isinstance(run.argument("imgsz"), int) else {},
            ),
        ),
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
        "fitness (of the last row for last.pt), against a tolerance and against the bootstrap interval over images."
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
