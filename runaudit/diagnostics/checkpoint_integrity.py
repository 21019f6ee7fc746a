"""Is the checkpoint what the run says, and does it name code outside the known frameworks?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import found, not_run, passed, why_absent
from runaudit.diagnostics.contradicted_arguments import Contradiction, contradictions
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.recorded_rows import Comparison, recorded_differences
from runaudit.diagnostics.thresholds import threshold
from runaudit.runs.facts import CheckpointFacts, Curves, RunFacts

CAUSE: Final = "checkpoint_integrity"


@dataclass(frozen=True)
class Thresholds:
    foreign_globals: int = threshold(
        0, "One name outside the frameworks is enough to run code when the file is loaded."
    )
    differing_rows: int = threshold(
        0,
        "Both files are written from the same numbers; after rounding to the csv's digits none may differ "
        "(yolo.md A4).",
    )
    contradictions: int = threshold(
        0,
        "The framework writes both from one set of arguments. Of 8 corpus runs that have both, none differs but in "
        "what the framework resolves itself (workers, save_dir, warmup_bias_lr, which are not compared).",
    )
    metric: float = threshold(2e-4, "Twice the rounding of a csv with four digits after the point.")


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:  # noqa: PLR0911 - one answer a case
    run, checkpoint = evidence.run, evidence.run.checkpoint
    if checkpoint is not None and checkpoint.foreign_globals:
        return _foreign(checkpoint)
    contradicted = contradictions(run)
    if checkpoint is not None and checkpoint.problem is not None:
        task = tuple(found for found in contradicted if found.key == "task")
        return _contradicted(run, checkpoint, task) if task else _unreadable(checkpoint)
    if run.status == "inconsistent":
        return _inconsistent(run, contradicted)
    if checkpoint is None:
        return not_run(CAUSE, why_absent(evidence, "checkpoint"))
    compared = _recorded(run, run.curves, checkpoint) if run.curves is not None else None
    if compared is not None and compared.differing > LIMITS.differing_rows:
        return _altered(checkpoint, compared.differing, compared.compared, compared.place, compared.column)
    if len(contradicted) > LIMITS.contradictions:
        return _contradicted(run, checkpoint, contradicted)
    if _rows_complete(run) and not checkpoint.finished:
        return _unfinished(run, checkpoint)
    if compared is None and _other_run(run, checkpoint):
        return _other(run, checkpoint)
    rows = (
        f"its {compared.compared} recorded rows agree with results.csv"
        if compared is not None and compared.compared
        else "it records no rows to compare with results.csv"
    )
    return passed(
        CAUSE,
        f"The checkpoint is whole, names no foreign code, and {rows}.",
        effect=0.0,
        n=compared.compared if compared is not None else None,
    )


def _rows_complete(run: RunFacts) -> bool:
    """results.csv says that training came to its end. `status` alone would not: it weighs the checkpoint as well."""
    if run.curves is None or not run.curves.epochs:
        return False
    if run.status in ("finished", "early_stopped"):
        return True
    return run.epochs_planned is not None and max(run.curves.epochs) >= run.epochs_planned


def _foreign(checkpoint: CheckpointFacts) -> CheckResult:
    names = checkpoint.foreign_globals
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return found(
        CAUSE,
        "critical",
        f"The checkpoint names code outside the known frameworks: {shown}",
        "Whoever loads this file the usual way runs that code. Runaudit reads checkpoints without executing anything; "
        "nothing of it was run here. A custom module can be harmless, but only its author can say so.",
        evidence=(
            Measurement("foreign names", len(names), LIMITS.foreign_globals, source=checkpoint.source),
            *(Measurement("foreign name", name, source=checkpoint.source) for name in names[:20]),
        ),
        impact=Impact("unjudgeable"),
        remedies=(
            Remedy("Don't load this file", "Get the weights again from where they were trained, or as safetensors."),
        ),
        effect=float(len(names)),
        n=len(names),
    )


def _unreadable(checkpoint: CheckpointFacts) -> CheckResult:
    problem = checkpoint.problem
    detail = problem.detail if problem is not None else ""
    return found(
        CAUSE,
        "critical",
        "The checkpoint can't be read",
        f"{detail} The model can't be validated or used from this file.",
        evidence=(
            Measurement("problem", problem.code if problem is not None else None, source=checkpoint.source),
            Measurement("bytes", checkpoint.size, source=checkpoint.source),
        ),
        impact=Impact("unjudgeable"),
        remedies=(
            Remedy("Copy the checkpoint again", "Truncated files are mostly broken copies; compare their sizes."),
        ),
    )


def _inconsistent(run: RunFacts, contradicted: tuple[Contradiction, ...]) -> CheckResult:
    notes = [note for note in run.notes if note.place is not None][:10] or list(run.notes[:10])
    return found(
        CAUSE,
        "major",
        "The files of the run contradict each other",
        "They were not written by one training: a row, a count or a setting doesn't fit the others. "
        + " ".join(note.detail for note in notes[:3]),
        evidence=(
            *(
                tuple(Measurement(note.code, note.detail, source=note.place) for note in notes)
                or (Measurement("epochs run", run.epochs_run, threshold=run.epochs_planned),)
            ),
            *(contradiction.measurement for contradiction in contradicted),
        ),
        impact=Impact("unjudgeable"),
        remedies=(
            Remedy("Hand in the folder as training wrote it", "With the results.csv and args.yaml of the same run."),
        ),
    )


def _recorded(run: RunFacts, curves: Curves, checkpoint: CheckpointFacts) -> Comparison | None:
    """The checkpoint's rows against results.csv, of which a last line may be half written: a full disk, a copy."""
    behind = f"{curves.source}:{curves.lines[-1] + 1}" if curves.lines else None
    cut_off = behind is not None and any(note.code == "row_length" and note.place == behind for note in run.notes)
    return recorded_differences(curves, checkpoint, cut_off=cut_off)


def _altered(checkpoint: CheckpointFacts, differing: int, compared: int, place: str | None, column: str) -> CheckResult:
    return found(
        CAUSE,
        "critical",
        "results.csv was altered, or belongs to another run",
        f"The checkpoint carries its own copy of the rows. {differing} of {compared} differ, first in {column}.",
        evidence=(
            Measurement(
                "rows that differ", differing, LIMITS.differing_rows, n=compared, source=place or checkpoint.source
            ),
            Measurement("first differing column", column, source=place),
        ),
        impact=Impact("unjudgeable"),
        remedies=(Remedy("Trust the re-validated metrics only", "The reported ones have no source."),),
        effect=float(differing),
        n=compared,
    )


def _contradicted(run: RunFacts, checkpoint: CheckpointFacts, contradicted: tuple[Contradiction, ...]) -> CheckResult:
    """The configuration file says otherwise than the arguments that the checkpoint stores."""
    files = " and ".join(run.configuration.sources) if run.configuration is not None else "args.yaml"
    keys = ", ".join(contradiction.key for contradiction in contradicted)
    problem = checkpoint.problem
    severity: Severity = "minor"
    if any(contradiction.changes_metric for contradiction in contradicted):
        severity = "critical" if problem is not None else "major"
    consequence = (
        "The model is validated by what the file says, so its metric is not that of the training."
        if severity == "major"
        else "What is said here of the training goes by the file."
        if severity == "minor"
        else f"The network is taken for one of a task that it was not trained for: {problem.detail if problem else ''}"
    )
    return found(
        CAUSE,
        severity,
        f"{files} and the checkpoint contradict each other in {keys}",
        f"Training writes its arguments into both. Here {'; '.join(item.sentence for item in contradicted[:5])}. One "
        f"was edited, or they are of different runs. {consequence}",
        evidence=tuple(contradiction.measurement for contradiction in contradicted),
        impact=Impact("unjudgeable"),
        remedies=(
            Remedy(
                "Hand in the file as training wrote it",
                "The checkpoint's own arguments, beside each value, are rarely edited: mostly they are the true ones.",
                {item.key: item.stored for item in contradicted if item.key not in ("data", "img_size")},
            ),
        ),
        effect=float(len(contradicted)),
        n=len(contradicted),
    )


def _unfinished(run: RunFacts, checkpoint: CheckpointFacts) -> CheckResult:
    epoch = checkpoint.epoch
    last = epoch is not None and run.epochs_run is not None and epoch + 1 >= run.epochs_run
    known = epoch is not None and epoch >= 0
    return found(
        CAUSE,
        "minor" if last else "major",
        f"The checkpoint is of epoch {(epoch or 0) + 1} of a run that finished"
        if known
        else "The checkpoint still holds its optimizer though the run finished",
        "Training strips epoch and optimizer from its checkpoints when it ends. This one was copied before, or "
        "the end of "
        "training failed.",
        evidence=(
            Measurement(
                "epoch stored", (epoch or 0) + 1 if known else None, threshold=run.epochs_run, source=checkpoint.source
            ),
            Measurement("optimizer stored", checkpoint.optimizer_present, source=checkpoint.source),
        ),
        impact=Impact("unjudgeable"),
        remedies=(Remedy("Hand in weights/best.pt of the finished run", "As it stands after training has ended."),),
    )


def _other_run(run: RunFacts, checkpoint: CheckpointFacts) -> bool:
    """The metrics that the checkpoint stores are those of no row."""
    stored = checkpoint.train_metrics.get("metrics/mAP50-95(B)", checkpoint.train_metrics.get("map50_95"))
    column = run.curves.metrics.get("map50_95") if run.curves is not None else None
    if stored is None or column is None or not np.isfinite(stored):
        return False
    cells = np.asarray([cell for cell in column if cell is not None], dtype=np.float64)
    return bool(cells.size) and not bool((np.abs(cells - stored) <= LIMITS.metric).any())


def _other(run: RunFacts, checkpoint: CheckpointFacts) -> CheckResult:
    return found(
        CAUSE,
        "minor",
        "The metrics that the checkpoint stores are those of no row of results.csv",
        "The two may come from different runs.",
        evidence=(
            Measurement(
                "mAP50-95 stored",
                checkpoint.train_metrics.get("metrics/mAP50-95(B)", checkpoint.train_metrics.get("map50_95")),
                n=len(run.curves.epochs) if run.curves is not None else None,
                source=checkpoint.source,
            ),
        ),
        remedies=(Remedy("Hand in results.csv and weights of the same run", "They stand in one folder."),),
    )


CHECK = Check(
    cause=CAUSE,
    title="Integrity of checkpoint and results",
    question=__doc__ or "",
    statistic=(
        "Names in the checkpoint's pickle outside the known frameworks; whether it can be read and was finished; "
        "its own copy "
        "of the rows (train_results) against results.csv, epoch by epoch; its own copy of the arguments (train_args) "
        "against args.yaml or opt.yaml; contradictions that reading the run found."
    ),
    thresholds=LIMITS,
    false_positives=(
        "A custom but harmless module is foreign code as well.",
        "A checkpoint of save_period is never stripped.",
        "A resumed run may be given another imgsz, batch, patience or number of epochs: these are not compared there.",
        "What the framework changes after it has written the file: AutoBatch, halved batches, imgsz rounded up to the "
        "stride, epochs of a plan in hours.",
    ),
    references=("yolo.md A4 and B; security.md A",),
    examine=examine,
)
