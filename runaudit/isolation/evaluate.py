"""The evaluate stage: rebuild the network, run it over the validation images, diagnose, and write the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from runaudit.errors import CheckpointError, ChildMemoryError, DatasetError
from runaudit.evaluation.batches import MOST_BATCH_PIXELS
from runaudit.evaluation.classification import DEFAULT_IMGSZ as CLASSIFIER_IMGSZ
from runaudit.evaluation.classification import examine_classifier
from runaudit.evaluation.examination import examine
from runaudit.evaluation.inference import select_device
from runaudit.evaluation.memory import ran_out_of_memory
from runaudit.evaluation.protocol import ULTRALYTICS, YOLOV5
from runaudit.isolation.conclude import conclude
from runaudit.isolation.job import JobFolder, JobSpec, Progress
from runaudit.isolation.reconciling import accuracy_unreproduced, unreproduced
from runaudit.runs.facts import ImageIndex, IngestFacts, Note, RunFacts
from runaudit.runs.image_size import DEFAULT_IMGSZ, image_size

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
    """Do the stage: leaves report.json. A checkpoint that does not fit its description is a finding, not a failure.

    Raises ChildMemoryError if the model and its images need more memory than there is.
    """
    facts = IngestFacts.model_validate_json(folder.facts.read_bytes())
    index = ImageIndex.model_validate_json(folder.images.read_bytes())
    examination, classification, why_not = None, None, None

    def on_progress(stage: Literal["load_model", "validate", "reconcile"], done: int, total: int) -> None:
        report(Progress(stage=stage, done=done, total=total))

    try:
        if facts.run.task == "classify":
            classification = examine_classifier(
                facts.run,
                weights=folder.weights,
                index=index,
                labels=folder.labels,
                folder_names=facts.dataset.names if facts.dataset is not None else {},
                device=spec.device,
                on_progress=on_progress,
                unreproduced=lambda measured: accuracy_unreproduced(facts.run, measured),
            )
        else:
            examination = examine(
                facts.run,
                weights=folder.weights,
                index=index,
                labels=folder.labels,
                depth="deep" if spec.depth == "deep" else "standard",
                device=spec.device,
                on_progress=on_progress,
                unreproduced=lambda evaluation: unreproduced(facts.run, evaluation),
            )
    except CheckpointError as error:
        if ran_out_of_memory(error):
            raise _too_large(facts.run, select_device(spec.device)) from error
        why_not = f"The checkpoint can't be used: {error.detail}"
        facts = with_problem(facts, error)
    except DatasetError as error:
        why_not = error.detail
    except Exception as error:
        if ran_out_of_memory(error):
            raise _too_large(facts.run, select_device(spec.device)) from error
        raise
    conclude(
        folder,
        spec,
        facts,
        examination=examination,
        classification=classification,
        why_not_evaluated=why_not,
        report=report,
        walls=walls,
    )


def _too_large(run: RunFacts, device: torch.device) -> ChildMemoryError:
    """The error for a run whose model and images did not fit, with the settings that its need of memory grows with."""
    imgsz = image_size(run, default=CLASSIFIER_IMGSZ if run.task == "classify" else DEFAULT_IMGSZ)
    protocol = YOLOV5 if run.framework == "yolov5" else ULTRALYTICS
    at_a_time = min(protocol.batch, max(1, MOST_BATCH_PIXELS // imgsz**2))
    remedy = "Run the audit where there is more memory, or fewer audits at a time"
    if device.type != "cpu":
        remedy = "Stop what else uses the GPU, or use another (RUNAUDIT_DEVICE of workers, else CUDA_VISIBLE_DEVICES)"
    return ChildMemoryError(
        f"The model ran out of memory on the validation images (imgsz {imgsz}, {at_a_time} "
        f"image{'s' if at_a_time > 1 else ''} at a time, device {device}). {remedy}. Depth curves needs no model."
    )
