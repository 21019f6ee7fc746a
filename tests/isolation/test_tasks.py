"""Runs of masks, keypoints and rotated boxes from their files to their report, in child processes as an audit has them.

The networks have random weights and the labels are what they predict (`tests.evaluation.outlined`), so that nothing has
to be trained; results.csv has the figures that `yolo val` of the installed version gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from runaudit.evaluation.framework import framework
from runaudit.isolation.audit import run_audit
from runaudit.isolation.job import JobSpec
from runaudit.reports.schema import Metrics, Report
from runaudit.runs.facts import Task
from tests.evaluation.outlined import IMGSZ, write_checkpoint, write_data

LETTERS: dict[Task, str] = {"segment": "M", "pose": "P"}
FAMILY = "yolov8"


@dataclass(frozen=True)
class Run:
    """A run folder, its data.yaml, and what `yolo val` gives."""

    folder: Path
    data: Path
    theirs: Any


@pytest.fixture(scope="module", params=["obb", "pose", "segment"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Run]:
    task: Task = request.param
    root = tmp_path_factory.mktemp(task)
    folder = root / "run"
    (folder / "weights").mkdir(parents=True)
    best = write_checkpoint(task, FAMILY, folder / "weights" / "best.pt")
    data = write_data(root / "data", task, FAMILY, best, images=12)
    theirs = (
        framework()
        .YOLO(best)
        .val(data=str(data), imgsz=IMGSZ, device="cpu", plots=False, verbose=False, project=str(root), name="val")
    )
    (root / "data" / "labels" / "val.cache").unlink(missing_ok=True)
    (folder / "args.yaml").write_text(yaml.safe_dump({"task": task, "imgsz": IMGSZ, "epochs": 1, "data": "data.yaml"}))
    figures = {name: value for name, value in theirs.results_dict.items() if name != "fitness"}
    (folder / "results.csv").write_text(
        f"epoch,time,train/box_loss,{','.join(figures)},val/box_loss,lr/pg0\n"
        f"1,1.0,1.0,{','.join(f'{value:.5f}' for value in figures.values())},1.0,0.01\n"
    )
    return task, Run(folder, data, theirs)


def audit(folder: Path, run: Path, data: Path) -> Report:
    folder.mkdir()
    spec = JobSpec.model_validate(
        {
            "run": {"kind": "folder", "path": str(run)},
            "data": {"kind": "data_yaml", "path": str(data)},
            "device": "cpu",
            "own_machine": True,
        }
    )
    return run_audit(spec, folder, on_progress=lambda progress: None, should_stop=lambda: False)


def test_the_figures_of_each_geometry_are_the_frameworks_and_the_runs_own(
    run: tuple[Task, Run], tmp_path: Path
) -> None:
    task, made = run
    report = audit(tmp_path / "job", made.folder, made.data)
    assert report.run.task == task
    assert report.validation is not None, report.provenance.not_available
    validation, metrics = report.validation, report.validation.metrics

    def assert_same(mine: Metrics | None, theirs: Any) -> None:
        assert mine is not None
        # Equal confidences are ordered differently, which random weights give many of.
        assert mine.map50_95 == pytest.approx(theirs.map, abs=5e-4)
        assert mine.map50 == pytest.approx(theirs.map50, abs=5e-4)

    assert_same(metrics.obb if task == "obb" else metrics.box, made.theirs.box)
    if task == "obb":
        assert metrics.box is None
        return
    geometry = "mask" if task == "segment" else "pose"
    assert_same(
        metrics.mask if task == "segment" else metrics.pose, made.theirs.seg if task == "segment" else made.theirs.pose
    )
    name = f"{geometry}_map50_95"
    assert validation.reported[name] == pytest.approx(
        made.theirs.results_dict[f"metrics/mAP50-95({LETTERS[task]})"], abs=1e-5
    )
    assert abs(validation.difference[name]) < 1e-3
    assert name in validation.ci95
    assert validation.reproduced is True
    assert all(entry.further_map50_95 is not None for entry in validation.per_class if entry.instances)


def test_labels_that_are_boxes_only_are_said_to_be_too_little(run: tuple[Task, Run], tmp_path: Path) -> None:
    task, made = run
    boxes = tmp_path / "boxes"
    for part in ("images", "labels"):
        (boxes / part).mkdir(parents=True)
    (boxes / "images" / "val").symlink_to(made.data.parent / "images" / "val")
    (boxes / "labels" / "val").mkdir()
    for label in (made.data.parent / "labels" / "val").glob("*.txt"):
        (boxes / "labels" / "val" / label.name).write_text("0 0.5 0.5 0.2 0.2\n")
    (boxes / "data.yaml").write_text("train: images/val\nval: images/val\nnames: [a, b]\n")
    report = audit(tmp_path / "job", made.folder, boxes / "data.yaml")
    assert report.validation is None
    why = report.provenance.not_available["evaluation"]
    assert ("without keypoints" if task == "pose" else "are boxes only") in why
