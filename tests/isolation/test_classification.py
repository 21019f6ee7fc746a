"""A classification run from its training to its report, in child processes as an audit has them.

The fixture trains a small network for a few seconds with the installed ultralytics: nothing else gives a results.csv
whose figures belong to a checkpoint.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from runaudit.errors import DatasetError, InputError, RunNotFoundError
from runaudit.evaluation.framework import framework
from runaudit.isolation.audit import run_audit
from runaudit.isolation.data_cache import DataCache
from runaudit.isolation.job import JobSpec
from runaudit.reports.schema import Report
from tests.cli.command import runaudit
from tests.evaluation.classifiers import NAMES, narrow_classifier, write_tree
from tests.isolation.test_archive_shapes import write_data

IMGSZ = 32


class Training:
    """The run folder, its data, and what `model.val()` says of its best.pt."""

    def __init__(self, root: Path) -> None:
        self.data = write_tree(root / "colours", {"train": dict.fromkeys(NAMES, 12), "val": dict.fromkeys(NAMES, 9)})
        description = root / "narrow-cls.yaml"
        description.write_text(yaml.safe_dump(narrow_classifier()))
        settings = {"imgsz": IMGSZ, "device": "cpu", "plots": False, "verbose": False, "project": str(root)}
        framework().YOLO(description, task="classify").train(
            data=str(self.data), epochs=6, batch=8, nbs=8, workers=0, amp=False, optimizer="AdamW", lr0=0.003,
            name="run", auto_augment=None, erasing=0.0, warmup_epochs=1, **settings,
        )  # fmt: skip
        self.run = root / "run"
        reference = framework().YOLO(self.run / "weights" / "best.pt").val(data=str(self.data), name="val", **settings)
        self.top1, self.top5 = reference.top1, reference.top5
        for cache in self.data.glob("*.cache"):
            cache.unlink()


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    return Training(tmp_path_factory.mktemp("training"))


def audit(folder: Path, run: Path, *, cache: DataCache | None = None, **spec: object) -> Report:
    folder.mkdir()
    kind = "folder" if run.is_dir() else "archive"
    return run_audit(
        JobSpec.model_validate({"run": {"kind": kind, "path": str(run)}, "device": "cpu", **spec}),
        folder,
        on_progress=lambda progress: None,
        should_stop=lambda: False,
        data_cache=cache,
    )


def outcome(report: Report, cause: str) -> tuple[str, str]:
    return next((check.outcome, check.reason) for check in report.checks if check.cause == cause)


def test_accuracy_is_the_frameworks_and_the_runs_own(training: Training, tmp_path: Path) -> None:
    """Through the command, as people would ask for it."""
    done = runaudit("check", training.run, "--data", training.data, "--format", "json", "-o", tmp_path / "report.json")
    assert done.returncode in (0, 1), done.stderr
    report = Report.model_validate_json((tmp_path / "report.json").read_bytes())
    assert report.run.task == "classify"
    validation = report.validation
    assert validation is not None
    assert 0.3 < training.top1 < 1.0, "the comparison means something only if some are right and some are wrong"
    assert validation.metrics.top1 == pytest.approx(training.top1, abs=1e-6)
    assert validation.metrics.top5 == pytest.approx(training.top5, abs=1e-6)
    assert validation.reported["top1"] == pytest.approx(training.top1, abs=1 / 36 + 1e-4)
    assert validation.reproduced is True and outcome(report, "metric_mismatch")[0] == "passed"
    assert outcome(report, "class_mapping")[0] == "passed"
    assert [entry.images for entry in validation.per_class] == [9, 9, 9, 9]
    assert report.dataset is not None and report.dataset.splits["val"].class_instances == dict.fromkeys(NAMES, 9)
    assert report.provenance.not_available.keys() == {"evaluation", "training"}
    assert report.provenance.seconds["inference"] > 0


def test_a_run_that_validated_on_the_test_folder_is_found_out(training: Training, tmp_path: Path) -> None:
    """As versions do that know no folder `valid`, which is what Roboflow calls it."""
    data = tmp_path / "colours"
    shutil.copytree(training.data / "train", data / "train")
    shutil.copytree(training.data / "val", data / "test")
    # Images of each class under the name of the next: whatever was learnt, accuracy there is another.
    for name, other in zip(NAMES, (*NAMES[1:], NAMES[0]), strict=True):
        shutil.copytree(training.data / "val" / name, data / "valid" / other)
    report = audit(tmp_path / "job", training.run, data={"kind": "folder", "path": str(data)})
    finding = next(finding for finding in report.findings if finding.cause == "metric_mismatch")
    assert "the test folder explains it" in finding.title
    tried = {item.name: item.value for item in finding.evidence}
    assert tried["top-1 accuracy on the test split"] == pytest.approx(training.top1, abs=1e-5)


def test_one_archive_may_hold_run_and_data(training: Training, tmp_path: Path) -> None:
    inside = tmp_path / "in"
    shutil.copytree(training.run, inside / "runs" / "classify" / "run")
    shutil.copytree(training.data, inside / "datasets" / "colours")
    shutil.copytree(training.data, inside / "datasets" / "others")
    archive = Path(shutil.make_archive(str(inside), "zip", inside))
    report = audit(tmp_path / "job", archive)
    assert report.dataset is not None and report.dataset.source == "datasets/colours", "the run's args.yaml names it"
    assert report.validation is not None
    assert report.validation.metrics.top1 == pytest.approx(training.top1, abs=1e-6)


@pytest.mark.slow
def test_a_data_artifact_is_read_once(training: Training, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "colours"), "zip", training.data.parent, "colours"))
    digest = sha256(archive.read_bytes()).hexdigest()
    data = {"kind": "archive", "path": str(archive), "sha256": digest}
    cache = DataCache(tmp_path / "cache", 2**30)
    first = audit(tmp_path / "first", training.run, data=data, cache=cache)
    second = audit(tmp_path / "second", training.run, data=data, cache=cache)
    assert first.validation is not None and first.validation == second.validation
    assert first.validation.metrics.top1 == pytest.approx(training.top1, abs=1e-6)
    assert first.dataset == second.dataset
    assert "unpack_data" in first.provenance.seconds and "data_cache" in second.provenance.seconds


def test_without_data_the_curves_are_all(training: Training, tmp_path: Path) -> None:
    report = audit(tmp_path / "job", training.run)
    assert report.validation is None and report.verdict != "pass"
    assert "no folders of images by class" in report.provenance.not_available["dataset"]
    assert "no folders of images by class" in report.provenance.not_available["classification"]
    assert outcome(report, "metric_mismatch")[0] == "not_run"
    curves = audit(tmp_path / "curves", training.run, depth="curves")
    assert "depth `curves`" in curves.provenance.not_available["classification"]


def test_data_without_class_folders_are_refused(training: Training, tmp_path: Path) -> None:
    detection = {"kind": "folder", "path": str(write_data(tmp_path / "boxes"))}
    with pytest.raises(DatasetError) as caught:
        audit(tmp_path / "job", training.run, data=detection)
    assert caught.value.error_code == "class_folders_missing"


def test_class_folders_without_a_run_are_told_apart(training: Training, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError) as caught:
        audit(tmp_path / "job", training.data)
    assert caught.value.error_code == "data_without_run"


def test_a_tree_full_of_traps(training: Training, tmp_path: Path) -> None:
    """Links out of the data, pipes, broken images, hidden folders: left out, and the rest is measured."""
    data = tmp_path / "colours"
    shutil.copytree(training.data, data)
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(data / "val" / "red" / "0.jpg", outside / "0.jpg")
    (data / "val" / "red" / "linked.jpg").symlink_to(outside / "0.jpg")
    (data / "val" / "blue" / "folder").symlink_to(outside)
    os.mkfifo(data / "val" / "green" / "pipe.jpg")
    (data / "val" / "white" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (data / "val" / ".ipynb_checkpoints").mkdir()
    (data / "val.cache").write_bytes(b"\x80\x04cposix\nsystem\n(S'true'\ntR.")
    report = audit(tmp_path / "job", training.run, data={"kind": "folder", "path": str(data)})
    assert report.dataset is not None and report.validation is not None
    assert report.dataset.splits["val"].images == 36 and report.dataset.splits["val"].rejected == 1
    assert report.validation.metrics.top1 == pytest.approx(training.top1, abs=1e-6)
    notes = " ".join(report.dataset.splits["val"].notes)
    assert "links" in notes and "was not opened" in notes


def test_names_that_are_not_utf8(training: Training, tmp_path: Path) -> None:
    data = tmp_path / "colours"
    shutil.copytree(training.data, data)
    folder = data / "val" / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    shutil.copy(data / "val" / "red" / "0.jpg", folder / "0.jpg")
    with pytest.raises(InputError) as caught:
        audit(tmp_path / "job", training.run, data={"kind": "folder", "path": str(data)})
    assert caught.value.error_code == "file_name_encoding"


def test_archives_with_several_trees_ask_which(training: Training, tmp_path: Path) -> None:
    archive = tmp_path / "two.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("one", "two"):
            packed.write(training.data / "train" / "red" / "0.jpg", f"{name}/train/red/0.jpg")
    with pytest.raises(DatasetError) as caught:
        audit(tmp_path / "job", training.run, data={"kind": "archive", "path": str(archive)})
    assert caught.value.error_code == "class_folders_ambiguous"


def test_labels_of_annotators_are_refused(training: Training, tmp_path: Path) -> None:
    data, labels = {"kind": "folder", "path": str(training.data)}, tmp_path / "ada"
    labels.mkdir()
    with pytest.raises(DatasetError) as caught:
        audit(tmp_path / "job", training.run, data=data, annotators={"ada": {"kind": "folder", "path": str(labels)}})
    assert caught.value.error_code == "labels_of_classifier"
