"""The corpus' classifiers through the command: what their runs reported is what re-validation gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from runaudit.reports.schema import Report
from tests.cli.command import runaudit
from tests.runs.corpus import CORPUS

pytestmark = pytest.mark.corpus

GARBAGE = CORPUS / "complete" / "yolov8n-cls_garbage"
DIGITS = CORPUS / "complete" / "yolo11n-cls_mnist160"


@pytest.mark.parametrize(
    ("folder", "run", "images", "top1", "top5"),
    [
        (GARBAGE, "train", 505, 0.91881, 0.99802),
        (GARBAGE, "train3", 505, 0.92871, 0.99802),
        (DIGITS, "train", 80, 0.1, 0.5),
    ],
)
def test_reported_accuracy_is_reproduced(
    tmp_path: Path, folder: Path, run: str, images: int, top1: float, top5: float
) -> None:
    done = runaudit(
        *("check", folder / "runs" / "classify" / run, "--data", folder, "--format", "json", "-o", tmp_path / "r.json"),
        seconds=280,
    )
    assert done.returncode in (0, 1), done.stderr
    report = Report.model_validate_json((tmp_path / "r.json").read_bytes())
    validation = report.validation
    assert validation is not None and validation.settings["images"] == images
    assert validation.reported["top1"] == top1
    assert validation.metrics.top1 == pytest.approx(top1, abs=6e-6)
    assert validation.metrics.top5 == pytest.approx(top5, abs=6e-6)
    assert validation.reproduced is True
    assert {check.cause: check.outcome for check in report.checks}["class_mapping"] == "passed"


def test_a_split_that_lacks_a_class_folder_is_counted_as_it_is(tmp_path: Path) -> None:
    """test/ of the garbage set has no cardboard."""
    done = runaudit(
        *("check", GARBAGE / "runs" / "classify" / "train", "--data", GARBAGE / "imagenes de basura"),
        *("--format", "json", "-o", tmp_path / "r.json"),
        seconds=280,
    )
    assert done.returncode in (0, 1), done.stderr
    report = Report.model_validate_json((tmp_path / "r.json").read_bytes())
    assert report.dataset is not None
    counts = {name: sum(split.class_instances.values()) for name, split in report.dataset.splits.items()}
    assert counts == {"train": 1766, "val": 505, "test": 211}
    assert report.dataset.splits["test"].class_instances["cardboard"] == 0
