"""How a run ended: finished, stopped early, interrupted, resumed, or not what a training writes.

Source of the rules: yolo.md A2 (rows), A4 (what a finished run strips from its checkpoint), A6 (early stopping).
"""

from __future__ import annotations

from dataclasses import dataclass

from runaudit.runs.curves import Results
from runaudit.runs.facts import CheckpointFacts, Column, Curves, Framework, Note, RunStatus, Task
from runaudit.runs.fitness import best_row, first_best_row
from runaudit.runs.identity import Sources


@dataclass(frozen=True)
class Plan:
    """What was asked for: `epochs` planned, `patience` (None: not known; 0: never stop early), and more."""

    epochs: int | None
    patience: int | None
    hours: float | None
    resumed: bool


def plan_of(sources: Sources) -> Plan:
    """The plan as the configuration states it, else the checkpoint."""
    hours = sources.argument("time")
    return Plan(
        epochs=_count(sources.argument("epochs")),
        patience=_count(sources.argument("patience")),
        hours=float(hours) if isinstance(hours, int | float) and hours > 0 else None,
        resumed=sources.argument("resume") not in (None, False, "", "false", "False"),
    )


def status_of(
    sources: Sources, plan: Plan, fitness: Column, framework: Framework, task: Task
) -> tuple[RunStatus, list[Note]]:
    """The run's status and the notes that led to it.

    What contradicts itself is `inconsistent` before all else; a run that did not come to its end is `interrupted`,
    resumed before or not; one that did, after a resume, is `resumed`.
    """
    if sources.results is None:
        return _without_curves(sources.checkpoint)
    curves = sources.results.curves
    contradictions = [
        *_missing_columns(sources.results, framework, task),
        *_gaps(curves, plan),
        *_beyond_plan(curves, plan),
    ]
    resumptions = _resumptions(curves)
    if plan.resumed:
        place = sources.configuration.places.get("resume") if sources.configuration is not None else None
        resumptions.append(Note(code="run_resumed", detail="The run was started with `resume`.", place=place))
    ending, ending_notes = _ending(curves, plan, fitness, sources.checkpoint)
    notes = [*contradictions, *resumptions, *ending_notes]
    if contradictions:
        return "inconsistent", notes
    if resumptions and ending != "interrupted":
        return "resumed", notes
    return ending, notes


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        return None
    return int(value)


def _without_curves(checkpoint: CheckpointFacts | None) -> tuple[RunStatus, list[Note]]:
    if checkpoint is not None and checkpoint.problem is None and checkpoint.finished:
        return "finished", []
    return "interrupted", [Note(code="results_missing", detail="There is no results.csv to tell how the run ended.")]


def _missing_columns(results: Results, framework: Framework, task: Task) -> list[Note]:
    """Every version writes losses, metrics and learning rates; a file without them was made by hand or cut."""
    curves = results.curves
    metrics = ("top1",) if task == "classify" else ("precision", "recall", "map50", "map50_95")
    missing = [name for name in metrics if name not in curves.metrics]
    missing += ["training losses"] * (not curves.train_losses)
    missing += ["validation losses"] * (not curves.val_losses)
    missing += ["learning rates"] * (not curves.learning_rates)
    if not missing:
        return []
    detail = f"{framework} always writes {', '.join(missing)}; this file has none. Was it made or edited by hand?"
    return [Note(code="columns_missing", detail=detail, place=f"{curves.source}:1")]


def _gaps(curves: Curves, plan: Plan) -> list[Note]:
    """Epochs that have no row, though one after them has. Going back is no gap: a resumed run repeats epochs."""
    notes = []
    if curves.epochs[0] > 1 and not plan.resumed:
        detail = f"The rows begin at epoch {curves.epochs[0]}; those before it are missing."
        notes.append(Note(code="epoch_gap", detail=detail, place=f"{curves.source}:{curves.lines[0]}"))
    steps = zip(curves.epochs, curves.epochs[1:], curves.lines[1:], strict=False)
    gaps = [(before, after, line) for before, after, line in steps if after > before + 1]
    for before, after, line in gaps[:5]:
        detail = f"Epoch {after} follows epoch {before}: the rows between them are missing."
        notes.append(Note(code="epoch_gap", detail=detail, place=f"{curves.source}:{line}"))
    if len(gaps) > 5:
        notes.append(Note(code="epoch_gap", detail=f"{len(gaps) - 5} more gaps.", place=curves.source))
    return notes


def _beyond_plan(curves: Curves, plan: Plan) -> list[Note]:
    """A plan in hours changes the number of epochs while it runs; any other is never exceeded."""
    last = max(curves.epochs)
    if plan.epochs is None or plan.hours is not None or last <= plan.epochs:
        return []
    line = next(line for epoch, line in zip(curves.epochs, curves.lines, strict=True) if epoch > plan.epochs)
    planned = "1 epoch was" if plan.epochs == 1 else f"{plan.epochs} epochs were"
    detail = f"{planned} planned, but there is a row of epoch {last}. Do the files belong together?"
    return [Note(code="epochs_beyond_plan", detail=detail, place=f"{curves.source}:{line}")]


def _resumptions(curves: Curves) -> list[Note]:
    """Rows at which a run was taken up again: the epoch or the clock goes back (`time` restarts on resume)."""
    clock = curves.seconds or (None,) * len(curves.epochs)
    notes = []
    for row in range(1, len(curves.epochs)):
        before, after = clock[row - 1], clock[row]
        repeated = curves.epochs[row] <= curves.epochs[row - 1]
        restarted = before is not None and after is not None and after < before
        if repeated or restarted:
            what = f"Epoch {curves.epochs[row]} stands again" if repeated else "The clock restarts"
            detail = f"{what}: the run was taken up again here."
            notes.append(Note(code="run_resumed", detail=detail, place=f"{curves.source}:{curves.lines[row]}"))
    return notes[:5]


def _ending(
    curves: Curves, plan: Plan, fitness: Column, checkpoint: CheckpointFacts | None
) -> tuple[RunStatus, list[Note]]:
    readable = checkpoint if checkpoint is not None and checkpoint.problem is None else None
    unstripped = [_not_stripped(readable)] if readable is not None and not readable.finished else []
    stripped = readable is not None and readable.finished
    if plan.epochs is not None and max(curves.epochs) < plan.epochs:
        return _short_of(plan.epochs, curves, plan, fitness, stripped=stripped, unstripped=unstripped)
    if unstripped:
        return "interrupted", unstripped
    if plan.epochs is None and not stripped:
        detail = "The number of planned epochs is not known; the run is taken for finished."
        return "finished", [Note(code="plan_unknown", detail=detail)]
    return "finished", []


def _short_of(
    planned: int, curves: Curves, plan: Plan, fitness: Column, *, stripped: bool, unstripped: list[Note]
) -> tuple[RunStatus, list[Note]]:
    """How a run ended that has fewer epochs than planned."""
    last = max(curves.epochs)
    if _patience_ran_out(curves, plan, fitness):
        return "early_stopped", []
    if plan.hours is not None and (stripped or _hours_are_up(curves, plan.hours)):
        return "finished", []
    if stripped and plan.patience and last < plan.patience:
        # Patience can't have run out yet, so that rows are missing or somebody ended it and stripped the checkpoint.
        detail = f"The rows end at epoch {last} of {planned}, before a patience of {plan.patience} could run out."
        return "interrupted", [Note(code="rows_missing", detail=detail, place=f"{curves.source}:{curves.lines[-1]}")]
    if stripped:
        detail = f"The run ended by itself after epoch {last} of {planned}, not because of its patience."
        return "early_stopped", [Note(code="early_stop_unexplained", detail=detail, place=curves.source)]
    detail = f"The rows end at epoch {last} of {planned}, and the patience had not run out."
    place = f"{curves.source}:{curves.lines[-1]}"
    return "interrupted", [Note(code="run_interrupted", detail=detail, place=place), *unstripped]


def _not_stripped(checkpoint: CheckpointFacts) -> Note:
    detail = "It still holds its optimizer or its epoch, which training strips when it ends by itself."
    return Note(code="checkpoint_not_stripped", detail=detail, place=checkpoint.source)


def _patience_ran_out(curves: Curves, plan: Plan, fitness: Column) -> bool:
    """Whether the last epoch is at least `patience` after the best.

    Versions differ in whether an equal epoch counts as better (yolo.md A6), and results.csv is rounded, so the first
    and the last of equal epochs are both allowed to be the best.
    """
    rows = (first_best_row(fitness), best_row(fitness))
    if not plan.patience:
        return False
    return any(row is not None and max(curves.epochs) - curves.epochs[row] >= plan.patience for row in rows)


def _hours_are_up(curves: Curves, hours: float) -> bool:
    """Whether one more epoch of average length would exceed the plan (ultralytics ends before it would)."""
    elapsed = curves.seconds[-1] if curves.seconds else None
    return elapsed is not None and elapsed * (1 + 1 / len(curves.epochs)) >= hours * 3600
