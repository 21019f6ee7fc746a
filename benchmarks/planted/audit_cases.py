"""Audits the benchmark's cases, one line of JSON a case: what was found, and what was measured.

    python -m benchmarks.planted.audit_cases OUT.jsonl [--only PATTERN] [--every N]

Cases that OUT.jsonl has already are left out, so it can be stopped and started again. The stages run in this process,
without walls: everything here is our own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np

from benchmarks.planted.baselines import named
from benchmarks.planted.bases import render
from benchmarks.planted.cases import Case, cases
from benchmarks.planted.faults import rewrite_checkpoint_metrics, rewrite_metrics
from benchmarks.planted.trainings import change_data, copy_run
from runaudit.diagnostics.metric_mismatch import reported_metrics
from runaudit.errors import RunauditError
from runaudit.evaluation.evaluate import measure
from runaudit.isolation.evaluate import evaluate
from runaudit.isolation.ingest import ingest
from runaudit.isolation.job import JobFolder, JobSpec
from runaudit.reports.schema import Report
from runaudit.runs.dataset import read_dataset
from runaudit.runs.facts import IngestFacts
from runaudit.runs.label_arrays import write_labels
from runaudit.runs.run import read_run

PLANTING_SEED: Final = 11


class Renderer(Protocol):
    """Renders a data set as `bases.render` does."""

    def __call__(self, base: str, root: Path, *, seed: int, train: int, val: int) -> Path: ...


def remembering(kept: Path) -> Renderer:
    """Renders each data set once, below `kept`, and copies it from then on: it is half of what an audit takes here."""

    def rendered(base: str, root: Path, *, seed: int, train: int, val: int) -> Path:
        once = kept / f"{base}-{seed}-{train}-{val}"
        if not once.exists():
            unfinished = kept / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            render(base, unfinished, seed=seed, train=train, val=val)
            unfinished.rename(once)
        shutil.copytree(once, root, dirs_exist_ok=True)
        return root / "data.yaml"

    return rendered


def audited(case: Case, scratch: Path, renderer: Renderer = render) -> tuple[Report, dict[str, list[str]]]:
    """The report of one case, made in `scratch`, and what the baselines name."""
    run, data, job = scratch / "run", scratch / "data", scratch / "job"
    copy_run(case.training, run)
    prepared(case, run, data, renderer)
    job.mkdir()
    folder = JobFolder(job)
    spec = JobSpec.model_validate(
        {
            "run": {"kind": "folder", "path": str(run)},
            "data": {"kind": "data_yaml", "path": str(data / "data.yaml")},
            "own_machine": True,
            "device": "auto",
        }
    )
    ingest(folder, spec, lambda progress: None, {})
    if not folder.report.exists():
        evaluate(folder, spec, lambda progress: None, {})
    report = Report.model_validate_json(folder.report.read_bytes())
    facts = _facts(folder, run)
    return report, named(facts.run, facts.dataset, data)


def _facts(folder: JobFolder, run: Path) -> IngestFacts:
    """What ingest read; where it wrote the report itself, because no model could be run, the run is read again."""
    if folder.facts.exists():
        return IngestFacts.model_validate_json(folder.facts.read_bytes())
    return IngestFacts(run=read_run(run, weights_out=run / "again.safetensors"))


def prepared(case: Case, run: Path, data: Path, renderer: Renderer = render) -> None:
    """Render the case's data set as its training saw it, with the fault planted in it and in the run."""
    training = case.training
    renderer(training.base, data, seed=training.seed, train=training.images, val=training.val_images)
    if case.seed is not None:
        other = data / "other"
        renderer(training.base, other, seed=case.seed, train=0, val=training.val_images)
        for folder in ("images", "labels"):
            shutil.rmtree(data / folder / "val")
            (other / folder / "val").rename(data / folder / "val")
        shutil.rmtree(other)
    change_data(training, data)
    seen = case.fault is not None and case.fault.seen
    if case.seed is not None and not seen:
        _tell_in_results(run, data)
    if case.fault is not None:
        case.fault.plant(run, data, case.severity, np.random.default_rng(PLANTING_SEED))
    if seen:
        _tell_in_results(run, data)


def _tell_in_results(run: Path, data: Path) -> None:
    """Have results.csv say what a training would have reported that validated on these images all along.

    Every row's metrics are scaled by what the last checkpoint loses or gains on them.
    """
    weights, labels = run / "planting.safetensors", run / "planting-labels.safetensors"
    facts = read_run(run, weights_out=weights)
    try:
        _, index, arrays = read_dataset(data, data / "data.yaml", own_machine=True)
        write_labels(labels, arrays)
        measured = measure(facts, weights=weights, index=index, labels=labels, replicates=1).facts.metrics
    except RunauditError:
        return
    finally:
        weights.unlink(missing_ok=True)
        labels.unlink(missing_ok=True)
    reported = reported_metrics(facts)
    factors = {
        column: value / reported[name]
        for column, name, value in (
            ("metrics/precision(B)", "precision", measured.precision),
            ("metrics/recall(B)", "recall", measured.recall),
            ("metrics/mAP50(B)", "map50", measured.map50),
            ("metrics/mAP50-95(B)", "map50_95", measured.map50_95),
        )
        if reported.get(name)
    }

    def scaled(column: str, value: float) -> float:
        return min(1.0, value * factors.get(column, 1.0))

    rewrite_metrics(run, scaled)
    rewrite_checkpoint_metrics(run / "weights" / "best.pt", scaled)


def summary(case: Case, report: Report, baselines: dict[str, list[str]], seconds: float) -> dict[str, Any]:
    """What scoring needs of a report."""
    validation = report.validation
    box = validation.metrics.box if validation is not None else None
    thresholds = validation.thresholds if validation is not None else None
    outcomes = {check.cause: check.outcome for check in report.checks}
    return {
        "case": case.name,
        "base": case.training.base,
        "family": case.training.family,
        "verdict": report.verdict,
        "headline": report.headline,
        "findings": [
            {
                "cause": finding.cause,
                "severity": finding.severity,
                "direction": finding.impact.direction,
                "impact": finding.impact.value,
                "ci95": finding.impact.ci95,
                "grade": finding.impact.grade,
            }
            for finding in report.findings
        ],
        "outcomes": outcomes,
        "map50_95": box.map50_95 if box is not None else None,
        "f1": box.f1 if box is not None else None,
        "f1_default": thresholds.overall.f1_default if thresholds is not None else None,
        "ci95": validation.ci95.get("map50_95") if validation is not None else None,
        "reproduced": validation.reproduced if validation is not None else None,
        "images": validation.settings.get("images") if validation is not None else None,
        "baselines": baselines,
        "seconds": round(seconds, 2),
    }


def main() -> None:
    """Audit the cases that are not in the output yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose name this regular expression finds")
    parser.add_argument("--every", type=int, default=1, help="only each N-th case")
    options = parser.parse_args()
    known = options.output.read_text().splitlines() if options.output.exists() else []
    done = {json.loads(line)["case"] for line in known}
    chosen = [case for case in cases() if re.search(options.only, case.name)][:: options.every]
    with tempfile.TemporaryDirectory(prefix="runaudit-pictures-") as pictures:
        for case in chosen:
            if case.name in done or not case.training.folder.exists():
                continue
            # A process a case: ingest forks, which a process whose libraries have started threads must not do.
            arguments = case.name, options.output, Path(pictures)
            process = multiprocessing.get_context("spawn").Process(target=_one, args=arguments)
            process.start()
            process.join()
            if process.exitcode != 0:
                print(f"{case.name}: failed", flush=True)


def _one(name: str, output: Path, pictures: Path) -> None:
    """Audit the case of this name and append its line."""
    case = next(case for case in cases() if case.name == name)
    # Rendering must not start threads either.
    cv2.setNumThreads(1)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="runaudit-case-") as folder:
        report, baselines = audited(case, Path(folder), remembering(pictures))
    line = summary(case, report, baselines, time.monotonic() - begin)
    with output.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
