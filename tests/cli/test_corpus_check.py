"""Every run of the corpus through `check --depth curves`, against what INDEX.md says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runaudit.causes import CAUSES
from runaudit.isolation.folder import JobFolder
from runaudit.isolation.ingest import ingest
from runaudit.isolation.job import JobSpec, Source
from runaudit.reports.schema import Report
from tests.cli.command import runaudit
from tests.runs.test_corpus import CORPUS, STATUS, TASK_EXCEPTIONS, Indexed, indexed_runs

pytestmark = pytest.mark.corpus

RUNS = indexed_runs()

EARLIER_OF_EQUALS = {
    "BabyMelvin__yolo_learn__2",
    "BabyMelvin__yolo_learn__3",
    "BabyMelvin__yolo_learn__5",
    "ViniciusTC-git__Car-Detection-YOLOv5__1",
    "rafaelpadilla__tennis_autodistill__3",
    *(f"juanitapombo__Characterization-of-Dynamic-DNA-Origami-with-YOLOv5n__{n}" for n in (3, 4, 5, 6, 9, 10)),
}
"""The index names the first of epochs that are equally good; best.pt is written again at each, so it holds the last."""

BY_MAP50_95_ALONE = {
    "Elegant0Lemon__yolov5_circle_detect__1",
    "Laplace825__yolov8-oracle-detect__2",
    "MohammadYusufGit__object_segmentation__1",
    "Yaoxingtian__my_yolo__1",
    "Yaoxingtian__my_yolo__8",
    "juanitapombo__Characterization-of-Dynamic-DNA-Origami-with-YOLOv5n__2",
    "lvoxv__AOI_OtherModel_exp__3",
}
"""The index looks at mAP50-95 of boxes; these versions give a tenth to mAP50, and count masks as much as boxes."""


def audited(indexed: Indexed, folder: Path) -> Report:
    """The report that the ingest child leaves, made in this process."""
    spec = JobSpec(run=Source(kind="folder", path=str(CORPUS / indexed.path)), depth="curves", own_machine=True)
    job = JobFolder(folder)
    ingest(job, spec, lambda progress: None, {})
    return Report.model_validate_json(job.report.read_bytes())


def compare(report: Report, indexed: Indexed) -> None:
    assert report.run.framework == indexed.framework
    assert report.run.task == TASK_EXCEPTIONS.get(indexed.path, indexed.task)
    assert (report.run.epochs_planned, report.run.epochs_run) == (indexed.planned, indexed.rows)
    assert report.run.status == STATUS.get(indexed.path, "finished")
    assert {check.cause for check in report.checks} == set(CAUSES)
    assert report.verdict != "pass"
    if indexed.best is not None:
        compare_best(report, indexed.path.removeprefix("runs/"), indexed.best[1] - 1)


def compare_best(report: Report, name: str, index_row: int) -> None:
    assert report.curves is not None and report.run.best_epoch is not None
    row = len(report.curves.epochs) - 1 - report.curves.epochs[::-1].index(report.run.best_epoch)
    columns = report.curves.columns
    if row == index_row:
        assert name not in EARLIER_OF_EQUALS | BY_MAP50_95_ALONE
    elif name in EARLIER_OF_EQUALS:
        score = columns["metrics/top1" if report.run.task == "classify" else "metrics/map50_95"]
        assert row > index_row
        assert score[row] == score[index_row]
    else:
        assert name in BY_MAP50_95_ALONE
        assert fitness(columns, row) > fitness(columns, index_row)


def fitness(columns: dict[str, list[float | None]], row: int) -> float:
    """YOLOv5's and ultralytics' before 8.4 (yolo.md A6), written out."""
    weights = {"map50": 0.1, "map50_95": 0.9, "mask/map50": 0.1, "mask/map50_95": 0.9}
    return sum(weight * (columns.get(f"metrics/{key}", {row: 0.0})[row] or 0) for key, weight in weights.items())  # type: ignore[index]


@pytest.mark.parametrize("indexed", RUNS, ids=lambda run: run.path.removeprefix("runs/"))
def test_a_run_is_reported_as_the_index_says(indexed: Indexed, tmp_path: Path) -> None:
    compare(audited(indexed, tmp_path), indexed)


@pytest.mark.parametrize("indexed", RUNS[::12], ids=lambda run: run.path.removeprefix("runs/"))
def test_the_command_reports_the_same(indexed: Indexed, tmp_path: Path) -> None:
    ended = runaudit("check", CORPUS / indexed.path, "--depth", "curves", "--format", "json")
    assert ended.returncode in (0, 1), ended.stderr
    report = Report.model_validate_json(ended.stdout)
    compare(report, indexed)
    own = audited(indexed, tmp_path)
    ignored = {"provenance"}
    assert json.loads(report.model_dump_json(exclude=ignored)) == json.loads(own.model_dump_json(exclude=ignored))
