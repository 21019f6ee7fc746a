"""The evaluate stage: rebuild the network, run it over the validation images, diagnose, and write the report."""

from __future__ import annotations

from collections.abc import Callable

from runaudit.errors import CheckpointError, DatasetError
from runaudit.evaluation.evaluate import evaluate_checkpoint
from runaudit.isolation.conclude import conclude
from runaudit.isolation.job import JobFolder, JobSpec, Progress
from runaudit.runs.facts import ImageIndex, IngestFacts, Note

Report = Callable[[Progress], None]


def with_problem(facts: IngestFacts, error: CheckpointError) -> IngestFacts:
    """The facts with what the rebuild found wrong with the checkpoint, for the check of its integrity to see."""
    checkpoint = facts.run.checkpoint
    if checkpoint is None:
        return facts
    problem = Note(code=error.error_code, detail=error.detail, place=error.place or checkpoint.source)
    run = facts.run.model_copy(update={"checkpoint": checkpoint.model_copy(update={"problem": problem})})
    return facts.model_copy(update={"run": run})


def evaluate(folder: JobFolder, spec: JobSpec, report: Report, walls: dict[str, str]) -> None:
    """Do the stage: leaves report.json. A checkpoint that does not fit its description is a finding, not a failure."""
    facts = IngestFacts.model_validate_json(folder.facts.read_bytes())
    index = ImageIndex.model_validate_json(folder.images.read_bytes())
    evaluation, why_not = None, None
    try:
        evaluation = evaluate_checkpoint(
            facts.run,
            weights=folder.weights,
            index=index,
            labels=folder.labels,
            device=spec.device,
            on_progress=lambda stage, done, total: report(Progress(stage=stage, done=done, total=total)),
        )
    except CheckpointError as error:
        why_not = f"The checkpoint can't be used: {error.detail}"
        facts = with_problem(facts, error)
    except DatasetError as error:
        why_not = error.detail
    conclude(folder, spec, facts, evaluation=evaluation, why_not_evaluated=why_not, report=report, walls=walls)
