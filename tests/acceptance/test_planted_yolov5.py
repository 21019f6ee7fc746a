"""Faults planted on the validation side of a real YOLOv5 run: the audit names them among its first three findings."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.planted.faults import FAULTS, Fault
from runaudit.isolation.audit import run_audit
from runaudit.isolation.job import JobSpec
from runaudit.reports.schema import Report

CORPUS = Path(os.environ.get("RUNAUDIT_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
YOLOV5 = CORPUS / "complete/yolov5n_coco128/yolov5"
RUN = YOLOV5 / "runs/train/exp_coco128"
SEED = 11
PLANTED = {
    "dark": "distribution_shift",
    "dropped": "annotation_errors",
    "swapped": "annotation_errors",
    "permuted": "class_mapping",
    "lost": "label_files",
    "truncated": "image_format",
}
EQUIVALENT = {"label_files": {"annotation_errors"}, "annotation_errors": {"label_files", "class_mapping"}}

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.slow,  # each fault is an audit of 64 images at 640 pixels
    pytest.mark.skipif(not RUN.exists(), reason="the corpus is not there"),
]


def halves(root: Path) -> Path:
    """coco128 with its first half as training and its second as validation split; the model has learnt both."""
    names = sorted(path.stem for path in (YOLOV5 / "coco128/images/train2017").iterdir())
    for number, name in enumerate(names):
        split = "train" if number < len(names) // 2 else "val"
        for kind, suffix in (("images", "jpg"), ("labels", "txt")):
            source = YOLOV5 / "coco128" / kind / "train2017" / f"{name}.{suffix}"
            target = root / kind / split
            target.mkdir(parents=True, exist_ok=True)
            if source.exists():
                shutil.copyfile(source, target / source.name)
    described = (YOLOV5 / "data/coco128.yaml").read_text().split("names:")[1].split("\n\n")[0].strip("\n")
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{described}\n")
    return root / "data.yaml"


def audited(folder: Path, fault: Fault | None) -> Report:
    run, data, job = folder / "run", folder / "data", folder / "job"
    shutil.copytree(RUN, run)
    described = halves(data)
    if fault is not None:
        fault.plant(run, data, 3, np.random.default_rng(SEED))
    job.mkdir()
    spec = JobSpec.model_validate(
        {
            "run": {"kind": "folder", "path": str(run)},
            "data": {"kind": "data_yaml", "path": str(described)},
            "own_machine": True,
            "device": "cpu",
        }
    )
    return run_audit(spec, job, on_progress=lambda _: None, should_stop=lambda: False)


@pytest.mark.parametrize("variant", PLANTED)
def test_what_is_planted_is_among_the_first_three(variant: str, tmp_path: Path) -> None:
    fault = next(fault for fault in FAULTS if fault.variant == variant)
    report = audited(tmp_path, fault)
    accepted = EQUIVALENT.get(fault.cause, set()) | {PLANTED[variant]}
    assert {finding.cause for finding in report.findings[:3]} & accepted, report.headline


def test_without_a_fault_none_of_them_is_critical_or_major(tmp_path: Path) -> None:
    grave = {finding.cause for finding in audited(tmp_path, None).findings if finding.severity != "minor"}
    assert not grave & {*PLANTED.values()}
