"""The end of every audit: evidence, checks, ranking, policy and the report, written into the job folder. No torch."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable

import runaudit
from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.policy import Baseline, Policy
from runaudit.evaluation.facts import ClassificationFacts, ExaminationFacts
from runaudit.isolation.job import JobFolder, JobSpec, Progress
from runaudit.reports.build import build_report
from runaudit.reports.schema import Provenance
from runaudit.runs.facts import IngestFacts, RunFacts

_VERSIONED = ("numpy", "opencv-python", "torch", "torchvision", "ultralytics")

NO_CHECKPOINT = "The run holds no checkpoint (weights/best.pt or weights/last.pt)."
NO_BOXES = "A classification run has no boxes, so that there is no mAP to measure."


def evidence_of(
    facts: IngestFacts,
    examination: ExaminationFacts | None,
    classification: ClassificationFacts | None,
    why_not_evaluated: str | None,
    spec: JobSpec,
) -> Evidence:
    """All that is known of the run, with a sentence for each part that is missing."""
    missing = {
        "curves": None if facts.run.curves is not None else _no_curves(facts.run),
        "checkpoint": None if facts.run.checkpoint is not None else NO_CHECKPOINT,
        "dataset": facts.dataset_absent,
        "evaluation": why_not_evaluated,
        "training": why_not_evaluated,
    }
    if facts.run.task == "classify":
        missing |= {"evaluation": NO_BOXES, "training": NO_BOXES, "classification": why_not_evaluated}
    measured = examination.absent if examination is not None else {}
    return Evidence(
        run=facts.run,
        dataset=facts.dataset,
        evaluation=examination.evaluation if examination is not None else None,
        training=examination.training if examination is not None else None,
        classification=classification,
        interventions=examination.interventions if examination is not None else (),
        leakage=examination.leakage if examination is not None else None,
        shift=examination.shift if examination is not None else None,
        label_contrast=examination.label_contrast if examination is not None else (),
        environment=dict(spec.environment),
        absent={part: why for part, why in missing.items() if why is not None} | measured,
    )


def _no_curves(run: RunFacts) -> str:
    """Why there are no curves: a file without a row is not a missing one."""
    unread = next((note for note in run.notes if note.code.startswith("results_") and note.place is not None), None)
    if unread is not None:
        return f"{unread.place}: {unread.detail}"
    return "The run holds no results.csv, and no event files with curves."


def versions() -> dict[str, str]:
    """Versions of the libraries that figures depend on, of those that are installed."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def provenance_of(spec: JobSpec, facts: IngestFacts, evidence: Evidence, walls: dict[str, str]) -> Provenance:
    """Where the report comes from: versions, device, digests, walls, and seconds per stage."""
    evaluation = evidence.evaluation or evidence.classification
    digests = {
        "run": spec.run.sha256,
        "data": spec.data.sha256 if spec.data is not None else None,
        "dataset": facts.dataset.same_images.digest if facts.dataset and facts.dataset.same_images else None,
        "checkpoint": facts.run.checkpoint.sha256 if facts.run.checkpoint is not None else None,
    }
    return Provenance(
        runaudit_version=runaudit.__version__,
        versions=versions(),
        device=evaluation.device if evaluation is not None else None,
        seeds={"bootstrap": 0} if evaluation is not None else {},
        artifacts={role: digest for role, digest in digests.items() if digest is not None},
        isolation=dict(walls),
        seconds=facts.seconds | (evaluation.seconds if evaluation is not None else {}),
        not_available=evidence.absent,
    )


def conclude(
    folder: JobFolder,
    spec: JobSpec,
    facts: IngestFacts,
    *,
    examination: ExaminationFacts | None,
    classification: ClassificationFacts | None = None,
    why_not_evaluated: str | None,
    report: Callable[[Progress], None],
    walls: dict[str, str],
) -> None:
    """Examine every cause, judge the policy, and leave report.json."""
    report(Progress(stage="diagnose"))
    start = time.perf_counter()
    evidence = evidence_of(facts, examination, classification, why_not_evaluated, spec)
    results = examine_all(evidence)
    provenance = provenance_of(spec, facts, evidence, walls)
    finished = build_report(
        evidence,
        results,
        Policy.model_validate(spec.policy),
        depth=spec.depth,
        provenance=provenance,
        baseline=None if spec.baseline is None else Baseline.model_validate(spec.baseline),
    )
    seconds = finished.provenance.seconds | {"diagnose": round(time.perf_counter() - start, 4)}
    finished = finished.model_copy(update={"provenance": finished.provenance.model_copy(update={"seconds": seconds})})
    report(Progress(stage="report"))
    # Written under another name first: a killed child must not leave half a report behind.
    draft = folder.report.with_suffix(".tmp")
    draft.write_text(finished.model_dump_json())
    draft.replace(folder.report)
