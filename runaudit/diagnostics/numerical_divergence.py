"""Did NaN or infinity appear in losses or weights, and from which epoch?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import found, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.hardware_remedies import without_half_precision
from runaudit.diagnostics.history import History, history_of
from runaudit.diagnostics.remedies import lower_rate
from runaudit.diagnostics.schedule import schedule_of
from runaudit.diagnostics.stability import LIMITS as STABILITY
from runaudit.diagnostics.stability import Stability, stability_of
from runaudit.diagnostics.stability import Thresholds as StabilityThresholds
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.wording import counted, metric_word
from runaudit.runs.facts import CheckpointFacts, Column, RunFacts

CAUSE: Final = "numerical_divergence"


@dataclass(frozen=True)
class Thresholds:
    collapse: float = threshold(
        0.1,
        "Share of the best mAP below which a run whose training loss exploded has collapsed; overfitted simulated runs "
        "keep 60 % or more (benchmarks/curve_false_alarms.py).",
    )
    learnt: float = threshold(0.05, "Best mAP50-95 from which there is something to collapse from.")
    usable: float = threshold(0.01, "mAP50-95 below which the best checkpoint is of no use (diagnostics.md B10).")
    stability: StabilityThresholds = STABILITY


LIMITS = Thresholds()


def _remedies(run: RunFacts, history: History | None) -> tuple[Remedy, ...]:
    return (
        without_half_precision(run),
        lower_rate(schedule_of(run, history)),
        Remedy("Warm up for longer", "Most overflows happen in the first epochs.", {"warmup_epochs": 5.0}),
    )


def examine(evidence: Evidence) -> CheckResult:  # noqa: PLR0911 - one answer a case
    history, checkpoint = history_of(evidence.run), evidence.run.checkpoint
    if checkpoint is not None and checkpoint.nonfinite_tensors:
        return _weights(evidence.run, checkpoint)
    if history is None:
        if checkpoint is None or checkpoint.problem is not None:
            return not_run(CAUSE, why_absent(evidence, "curves"))
        return not_run(CAUSE, f"All weights are finite, but the losses can't be seen. {why_absent(evidence, 'curves')}")
    stability = stability_of(history)
    train = _nonfinite(history, history.curves.train_losses)
    if train:
        return _training(evidence.run, history, stability, train)
    collapsed = (
        stability.best_metric >= LIMITS.learnt
        and (stability.metric_left or 1.0) < LIMITS.collapse
        and (stability.loss_ratio or 0.0) > STABILITY.loss_ratio
    )
    if collapsed:
        return _collapse(evidence.run, history, stability)
    validation = _nonfinite(history, history.curves.val_losses)
    if validation:
        return _validation(evidence.run, history, validation)
    seen = "Losses are finite in every row"
    weights = " and so are the weights." if _readable(checkpoint) else "; the weights could not be looked at."
    return passed(CAUSE, seen + weights, effect=0.0, n=history.size)


def _readable(checkpoint: CheckpointFacts | None) -> bool:
    return checkpoint is not None and checkpoint.problem is None and checkpoint.tensors > 0


def _nonfinite(history: History, losses: dict[str, Column]) -> dict[str, list[int]]:
    """Component -> indices of the rows in which it is NaN or infinite. An empty cell is missing, not NaN."""
    found_rows = {}
    for name, column in losses.items():
        cells = [column[int(row)] for row in history.rows]
        rows = [index for index, cell in enumerate(cells) if cell is not None and not np.isfinite(cell)]
        if rows:
            found_rows[name] = rows
    return found_rows


def _weights(run: RunFacts, checkpoint: CheckpointFacts) -> CheckResult:
    count = len(checkpoint.nonfinite_tensors)
    return found(
        CAUSE,
        "critical",
        f"{count} of the checkpoint's tensors hold NaN or infinity",
        f"The first is {checkpoint.nonfinite_tensors[0]}. Such a network predicts nothing.",
        evidence=(
            Measurement("tensors that are not finite", count, 0, n=checkpoint.tensors, source=checkpoint.source),
        ),
        remedies=_remedies(run, None),
        effect=float(count),
        n=checkpoint.tensors,
    )


def _training(run: RunFacts, history: History, stability: Stability, rows: dict[str, list[int]]) -> CheckResult:
    first = min(indices[0] for indices in rows.values())
    affected = sorted({index for indices in rows.values() for index in indices})
    lasting = history.size - 1 in affected
    useless = stability.best_metric < LIMITS.usable
    earlier = history.metric[:first]
    before = float(np.nanmax(earlier)) if np.isfinite(earlier).any() else 0.0
    best = history.epochs[stability.best_index if stability.best_index is not None else -1]
    word = metric_word(history)
    # What went on to its best afterwards lost no more than those epochs.
    passing = not lasting and stability.best_index is not None and stability.best_index > affected[-1]
    severity: Severity = "critical" if useless else "minor" if passing else "major"
    place = f"epoch {history.epochs[first]:g}"
    return found(
        CAUSE,
        severity,
        f"The training loss is NaN or infinite from {place}"
        if lasting
        else f"The training loss was NaN or infinite in {counted(len(affected), 'epoch')}, first in {place}",
        f"{', '.join(sorted(rows))} in {len(affected)} of {history.size} epochs"
        + (", to the end. " if lasting else "; it recovered. ")
        + (
            f"No epoch reached a usable {word}."
            if useless
            else f"The best row before it has {before:.3g}."
            if before >= stability.best_metric
            else f"The best row before it has {before:.3g}, that of all, epoch {best:g}, {stability.best_metric:.3g}."
        ),
        evidence=(
            Measurement(
                "first epoch with NaN or infinity",
                int(history.epochs[first]),
                n=history.size,
                source=history.place(first),
            ),
            Measurement("epochs with NaN or infinity", len(affected), threshold=0, n=history.size),
        ),
        impact=_drop(history, stability),
        remedies=_remedies(run, history),
        effect=len(affected) / history.size,
        n=history.size,
    )


def _drop(history: History, stability: Stability) -> Impact:
    grade = "observational" if stability.drop is not None and stability.drop > 0 else "none"
    value = stability.drop if grade == "observational" else None
    return Impact("lowers", value, None, "observational" if value else "none", history.metric_name or "map50_95")


def _collapse(run: RunFacts, history: History, stability: Stability) -> CheckResult:
    return found(
        CAUSE,
        "major",
        f"{stability.metric} collapsed from {stability.best_metric:.3g} while the training loss exploded",
        f"{stability.sentence()} No NaN was written: newer versions repeat such an epoch and mend the weights in "
        "silence.",
        evidence=stability.measurements(history),
        impact=_drop(history, stability),
        remedies=_remedies(run, history),
        effect=stability.metric_left,
        n=history.size,
    )


def _validation(run: RunFacts, history: History, rows: dict[str, list[int]]) -> CheckResult:
    first = min(indices[0] for indices in rows.values())
    affected = {index for indices in rows.values() for index in indices}
    zero = all(
        (history.curves.val_losses[name][int(history.rows[first])] or 0.0) == 0.0
        for name in history.curves.val_losses
        if name not in rows
    )
    # Where anything was found there are labels to find.
    found_some = bool(np.isfinite(history.metric).any()) and float(np.nanmax(history.metric)) > 0
    only_cls = set(rows) == {"cls"} and len(history.curves.val_losses) > 1 and zero and not found_some
    meaning = (
        "Only the class loss is affected and the others are 0: the signature of a validation split without any label "
        "(ultralytics issue 4805). See label_files."
        if only_cls
        else "Training losses are finite throughout, so that the network did not diverge: validation in half precision "
        "overflows on some GPUs (GTX 16xx), and its metrics may be wrong there. Re-validation here uses full precision."
    )
    return found(
        CAUSE,
        "minor",
        f"The validation loss is NaN or infinite from epoch {history.epochs[first]:g}, the training loss is not",
        meaning,
        evidence=(
            Measurement(
                "epochs with a validation loss that is not finite",
                len(affected),
                threshold=0,
                n=history.size,
                source=history.place(first),
            ),
        ),
        remedies=(without_half_precision(run),) if not only_cls else (),
        effect=len(affected) / history.size,
        n=history.size,
    )


CHECK = Check(
    cause=CAUSE,
    title="NaN, infinity and collapse",
    question=__doc__ or "",
    statistic=(
        "NaN and infinity by loss component and epoch; tensors of the checkpoint that are not finite; the fall "
        "of mAP to "
        "under a tenth of its best while the training loss grows to more than 1.5 times its minimum."
    ),
    thresholds=LIMITS,
    false_positives=(
        "A validation loss of NaN with a finite training loss is a symptom of half-precision validation: minor.",
        "Losses of 0 are by design for one class, for YOLOv9's dual head and for YOLO26's pose and segmentation heads.",
        "Losses below 0 are by design for YOLO26's pose head.",
    ),
    references=("yolo.md C1, A8; ultralytics engine/trainer.py _handle_nan_recovery",),
    examine=examine,
)
