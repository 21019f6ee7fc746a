"""Audits the benchmark's cases, one line of JSON a case: what was found, and what was measured.

    python -m benchmarks.planted.audit_cases OUT.jsonl [--only TEXT] [--every N]

Cases that OUT.jsonl has already are left out, so it can be stopped and started again. The stages run in this process,
without walls: everything here is our own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.planted.bases import class_names, render
from benchmarks.planted.cases import Case, cases
from benchmarks.planted.trainings import RUNS, SEED, VAL_IMAGES, thin_out
from runaudit.isolation.evaluate import evaluate
from runaudit.isolation.ingest import ingest
from runaudit.isolation.job import JobFolder, JobSpec
from runaudit.reports.schema import Report

PLANTING_SEED: Final = 11


def audited(case: Case, scratch: Path) -> Report:
    """The report of one case, made in `scratch`."""
    run, data, job = scratch / "run", scratch / "data", scratch / "job"
    shutil.copytree(RUNS / case.training.name, run)
    prepared(case, run, data)
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
    return Report.model_validate_json(folder.report.read_bytes())


def prepared(case: Case, run: Path, data: Path) -> None:
    """Render the case's data set as its training saw it, with the fault planted in it and in the run."""
    training = case.training
    render(training.base, data, seed=SEED, train=training.images, val=VAL_IMAGES)
    if case.seed != SEED:
        other = data / "other"
        render(training.base, other, seed=case.seed, train=0, val=VAL_IMAGES)
        for folder in ("images", "labels"):
            shutil.rmtree(data / folder / "val")
            (other / folder / "val").rename(data / folder / "val")
        shutil.rmtree(other)
    if training.keep < 1:
        thin_out(data / "labels" / "train", len(class_names(training.base)), training.keep)
    if case.fault is not None:
        case.fault.plant(run, data, case.severity, np.random.default_rng(PLANTING_SEED))


def summary(case: Case, report: Report, seconds: float) -> dict[str, Any]:
    """What scoring needs of a report."""
    validation = report.validation
    box = validation.metrics.box if validation is not None else None
    outcomes = {check.cause: check.outcome for check in report.checks}
    return {
        "case": case.name,
        "base": case.training.base,
        "family": case.training.family,
        "verdict": report.verdict,
        "headline": report.headline,
        "findings": [
            {"cause": finding.cause, "severity": finding.severity, "impact": finding.impact.value}
            for finding in report.findings
        ],
        "outcomes": outcomes,
        "map50_95": box.map50_95 if box is not None else None,
        "f1": box.f1 if box is not None else None,
        "ci95": validation.ci95.get("map50_95") if validation is not None else None,
        "reproduced": validation.reproduced if validation is not None else None,
        "images": validation.settings.get("images") if validation is not None else None,
        "seconds": round(seconds, 2),
    }


def main() -> None:
    """Audit the cases that are not in the output yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--every", type=int, default=1, help="only each N-th case")
    options = parser.parse_args()
    known = options.output.read_text().splitlines() if options.output.exists() else []
    done = {json.loads(line)["case"] for line in known}
    chosen = [case for case in cases() if options.only in case.name][:: options.every]
    for case in chosen:
        if case.name in done or not (RUNS / case.training.name).exists():
            continue
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="runaudit-case-") as folder:
            report = audited(case, Path(folder))
        with options.output.open("a") as file:
            file.write(json.dumps(summary(case, report, time.monotonic() - begin)) + "\n")


if __name__ == "__main__":
    main()
