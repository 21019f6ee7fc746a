"""Images of both splits, in whole audits: without weights, of a classifier, and with one path for both splits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from examples.shapes import render
from runaudit.isolation.audit import run_audit
from runaudit.isolation.job import JobSpec
from runaudit.reports.schema import Finding, Report
from tests.evaluation.classifiers import write_tree
from tests.evaluation.jobs import EXAMPLES


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    render(folder, train=24, val=12)
    return folder


def audited(job: Path, run: Path, data: Path) -> Report:
    job.mkdir()
    return run_audit(
        JobSpec.model_validate(
            {
                "run": {"kind": "folder", "path": str(run)},
                "data": {"kind": "folder", "path": str(data)},
                "device": "cpu",
            }
        ),
        job,
        on_progress=lambda progress: None,
        should_stop=lambda: False,
    )


def leakage(report: Report) -> Finding:
    return next(finding for finding in report.findings if finding.cause == "data_leakage")


def test_copies_are_found_without_weights(data: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(EXAMPLES / "runs" / "healthy", tmp_path / "run"))
    shutil.rmtree(run / "weights")
    train, val = (sorted((data / "images" / split).glob("*.jpg")) for split in ("train", "val"))
    for row in range(3):
        shutil.copy(train[row], val[row])
    report = audited(tmp_path / "job", run, data)
    finding = leakage(report)
    assert (finding.severity, finding.impact.grade) == ("major", "none")
    assert finding.affected.images == [f"images/val/{image.name}" for image in val[:3]]
    assert "no checkpoint" in finding.explanation
    assert len(report.provenance.artifacts["dataset"]) == 64


def test_one_path_for_both_splits_is_told_with_its_line(data: Path, tmp_path: Path) -> None:
    yaml = data / "data.yaml"
    yaml.write_text(yaml.read_text().replace("images/val", "images/train"))
    line = next(n for n, text in enumerate(yaml.read_text().splitlines(), 1) if text.startswith("val:"))
    finding = leakage(audited(tmp_path / "job", EXAMPLES / "runs" / "healthy", data))
    assert finding.severity == "critical"
    assert f"`val` (data.yaml:{line}) points to the same images as `train`" in finding.title
    assert finding.remedies[0].title.startswith("Split the images")


def test_copies_are_found_among_the_images_of_a_classifier(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "data", {split: {"a": 6, "b": 6} for split in ("train", "val")})
    run = tmp_path / "run"
    run.mkdir()
    (run / "args.yaml").write_text("task: classify\nmodel: yolo11n-cls.pt\nepochs: 1\n")
    source = sorted((tree / "train" / "a").iterdir())[0]
    target = sorted((tree / "val" / "b").iterdir())[0]
    shutil.copy(source, target)
    finding = leakage(audited(tmp_path / "job", run, tmp_path / "data"))
    assert "1 of 12 validation images" in finding.title
    assert finding.affected.images == [target.relative_to(tmp_path / "data").as_posix()]
