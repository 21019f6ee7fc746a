"""The example picture of each cause: a figure of the report on a run that the fault was planted in.

    python -m benchmarks.planted.pictures [--only CAUSE ...]

Writes docs/checks/pictures/<cause>.svg, and what each shows into runaudit/reports/example_pictures.json, from which
the pages of the checks take it. Only development cases are audited, none of the held-out data. Where what the figure
shows is read from files alone, no model is run, so that the picture is the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2

from benchmarks.planted.audit_cases import prepared
from benchmarks.planted.cases import Case, cases
from benchmarks.planted.trainings import copy_run
from runaudit.causes import CAUSES
from runaudit.isolation.conclude import conclude
from runaudit.isolation.evaluate import evaluate
from runaudit.isolation.ingest import ingest
from runaudit.isolation.job import JobFolder, JobSpec
from runaudit.reports.check_pages import PICTURES_FILE
from runaudit.reports.figures import figure
from runaudit.reports.schema import Report
from runaudit.runs.facts import IngestFacts

PICTURES: Final = Path(__file__).parents[2] / "docs" / "checks" / "pictures"
LARGEST: Final = 40_000
"""bytes of a picture"""


@dataclass(frozen=True)
class Example:
    """`case` of the benchmark, the `name` of its report's figure, and what that shows; `model`: inference is needed."""

    case: str
    name: str
    shows: str
    model: bool = True


EXAMPLES: Final[dict[str, Example]] = {
    "class_imbalance": Example(
        "signs-v8-class_imbalance-3", "classes.svg", "mAP50-95 by class: those that training saw rarely fail"
    ),
    "distribution_shift": Example(
        "shapes-11-clean-example+distribution_shift-dark-3",
        "interventions.svg",
        "what matching the dark validation images to training's light brings",
    ),
    "annotation_errors": Example(
        "shapes-11-clean-example+annotation_errors-dropped-2",
        "label_errors.svg",
        "the estimated share of labels that are wrong, by kind, where a quarter was left out",
    ),
    "data_leakage": Example(
        "signs-v8-overfitting-2+data_leakage-exact-2",
        "interventions.svg",
        "what mAP50-95 changes by without the validation images that training has too",
    ),
    "label_files": Example(
        "shapes-11-clean-example+label_files-lost-2",
        "label_files.svg",
        "images by split and label file, where label files were moved away",
        model=False,
    ),
    "class_mapping": Example(
        "shapes-11-clean-example+class_mapping-permuted-2",
        "class_ids.svg",
        "mAP50-95 with class ids as they stand, blind to them, and with the best permutation",
    ),
    "validation_set_too_small": Example(
        "shapes-11-clean-example+validation_set_too_small-cut-1",
        "classes.svg",
        "mAP50-95 by class with intervals as wide as ten images leave them",
    ),
    "image_format": Example(
        "shapes-11-clean-example+image_format-exif-3",
        "shares.svg",
        "the share of images that a tag turns on their side",
        model=False,
    ),
    "overfitting": Example(
        "signs-v8-overfitting-3",
        "losses.svg",
        "losses of training (lines) and validation (dashed), which come apart",
        model=False,
    ),
    "underfitting": Example(
        "signs-v8-underfitting-3", "metric.svg", "mAP of a network that is too narrow, level and low", model=False
    ),
    "learning_rate": Example(
        "signs-v8-learning_rate-high-3", "losses.svg", "losses at a rate a hundred times the usual one", model=False
    ),
    "batch_size": Example(
        "signs-v8-batch_size-large-3", "metric.svg", "mAP where a batch leaves too few optimizer steps", model=False
    ),
    "model_architecture": Example(
        "signs-v8-model_architecture-imgsz-3",
        "sizes.svg",
        "AP and recall by size of the labels, where the input is too small for the objects",
    ),
    "augmentation": Example(
        "signs-v8-augmentation-flip-3",
        "classes.svg",
        "mAP50-95 by class: signs that mirror each other fail, others don't",
    ),
    "insufficient_epochs": Example(
        "signs-v8-insufficient_epochs-3", "metric.svg", "mAP that still rises when training ends", model=False
    ),
    "hardware_limits": Example(
        "shapes-11-clean-example+hardware_limits-memory-2",
        "metric.svg",
        "mAP of a training that ran out of GPU memory at a third of its epochs",
        model=False,
    ),
    "weight_initialization": Example(
        "signs-v8-weight_initialization-random-2",
        "metric.svg",
        "mAP of a training that began with random weights",
        model=False,
    ),
    "numerical_divergence": Example(
        "traffic-11-learning_rate-high-3", "losses.svg", "losses of a training that collapsed", model=False
    ),
    "checkpoint_integrity": Example(
        "shapes-11-clean-example+checkpoint_integrity-altered-2",
        "shares.svg",
        "the share of rows of results.csv that differ from what the checkpoint recorded",
        model=False,
    ),
    "metric_mismatch": Example(
        "shapes-11-clean-example+metric_mismatch-embellished-2",
        "metric.svg",
        "reported mAP (lines), and what re-validation measures (band)",
    ),
    "confidence_threshold": Example(
        "shapes-11-clean-example+confidence_threshold-shifted-3",
        "calibration.svg",
        "precision by confidence, of a model that is unsure of what it gets right",
    ),
}


def drawn(example: Example, scratch: Path) -> str:
    """The figure of the example's report. Raises LookupError if the report has none of that name."""
    case = next(case for case in cases() if case.name == example.case)
    if case.held_out:
        raise LookupError(f"{case.name} is held out")
    report = _report(case, scratch, model=example.model)
    picture = figure(report, example.name)
    if picture is None:
        raise LookupError(f"{case.name}: the report has no {example.name}")
    return picture


def _report(case: Case, scratch: Path, *, model: bool) -> Report:
    """The case's report, with or without a model being run."""
    run, data, job = scratch / "run", scratch / "data", scratch / "job"
    copy_run(case.training, run)
    prepared(case, run, data)
    job.mkdir()
    folder = JobFolder(job)
    spec = JobSpec.model_validate(
        {
            "run": {"kind": "folder", "path": str(run)},
            "data": {"kind": "data_yaml", "path": str(data / "data.yaml")},
            "own_machine": True,
        }
    )
    ingest(folder, spec, lambda progress: None, {})
    if not folder.report.exists():
        if model:
            evaluate(folder, spec, lambda progress: None, {})
        else:
            facts = IngestFacts.model_validate_json(folder.facts.read_bytes())
            conclude(
                folder,
                spec,
                facts,
                examination=None,
                classification=None,
                why_not_evaluated="No model was run for this picture.",
                report=lambda progress: None,
                walls={},
            )
    return Report.model_validate_json(folder.report.read_bytes())


def _write(cause: str) -> None:
    example = EXAMPLES[cause]
    cv2.setNumThreads(1)  # ingest forks, which a process whose libraries have started threads must not do
    with tempfile.TemporaryDirectory(prefix="runaudit-picture-") as scratch:
        picture = drawn(example, Path(scratch))
    if len(picture.encode()) > LARGEST:
        raise ValueError(f"{cause}: the picture has more than {LARGEST} bytes")
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{cause}.svg").write_text(f"{picture}\n", encoding="utf-8")


def main() -> None:
    """Draw the pictures and write what they show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(CAUSES), choices=CAUSES)
    options = parser.parse_args()
    shown = {
        cause: {"case": example.case, "figure": example.name, "shows": example.shows}
        for cause, example in EXAMPLES.items()
    }
    PICTURES_FILE.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    for cause in options.only:
        process = multiprocessing.get_context("spawn").Process(target=_write, args=(cause,))
        process.start()
        process.join()
        print(f"{cause}: {'drawn' if process.exitcode == 0 else 'failed'}", flush=True)


if __name__ == "__main__":
    main()
