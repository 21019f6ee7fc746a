"""What an archive may hold: a run alone, data alone, both in any order, several runs, and annotators beside them."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from runaudit.errors import InputError
from runaudit.isolation.audit import run_audit
from runaudit.isolation.folder import JobFolder
from runaudit.isolation.job import JobSpec
from runaudit.reports.schema import Report
from runaudit.runs.annotators import load_annotator
from tests.cli.command import runaudit

HEADER = (
    "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/recall(B),metrics/mAP50(B),"
    "metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0,lr/pg1,lr/pg2"
)
BOX = "0.5 0.5 0.25 0.25"


def write_run(folder: Path, *, epochs: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{epoch},{epoch}{',0.5' * 10},0.01,0.01,0.01" for epoch in range(1, epochs + 1)]
    (folder / "results.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (folder / "args.yaml").write_text(f"task: detect\nmodel: yolo11n.pt\ndata: data.yaml\nepochs: {epochs}\n")
    return folder


def write_data(folder: Path) -> Path:
    for split, count in (("train", 3), ("val", 2)):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (16, 16)).save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text(f"0 {BOX}\n")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return folder


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def audit(archive: Path, **spec: object) -> Report:
    job = archive.parent / f"job-{archive.stem}"
    job.mkdir()
    source = {"kind": "archive", "path": str(archive)}
    return run_audit(
        JobSpec.model_validate({"run": source, **spec}),
        job,
        on_progress=lambda progress: None,
        should_stop=lambda: False,
    )


def refused(archive: Path, **spec: object) -> InputError:
    with pytest.raises(InputError) as caught:
        audit(archive, **spec)
    return caught.value


def not_run(report: Report) -> set[str]:
    return {check.cause for check in report.checks if check.outcome == "not_run"}


def test_a_run_without_data(tmp_path: Path) -> None:
    write_run(tmp_path / "in" / "runs" / "detect" / "train")
    report = audit(zipped(tmp_path / "in"))
    assert (report.run.epochs_run, report.dataset, report.validation) == (4, None, None)
    assert "class_imbalance" in not_run(report) and "metric_mismatch" in not_run(report)
    assert report.provenance.not_available.keys() == {"checkpoint", "dataset", "evaluation", "training"}


def test_data_without_a_run(tmp_path: Path) -> None:
    write_data(tmp_path / "in" / "set")
    error = refused(zipped(tmp_path / "in"))
    assert (error.error_code, error.place) == ("data_without_run", "set/data.yaml")


def test_neither(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.md").write_text("Nothing of either.\n")
    assert refused(zipped(tmp_path / "in")).error_code == "run_not_found"


def test_several_runs_are_named(tmp_path: Path) -> None:
    for name in ("train", "train2"):
        write_run(tmp_path / "in" / "runs" / name)
    error = refused(zipped(tmp_path / "in"))
    assert error.error_code == "several_runs"
    assert "runs/train, runs/train2" in error.detail


def test_of_a_run_inside_another_the_outer_one_is_read(tmp_path: Path) -> None:
    write_run(tmp_path / "in" / "train")
    write_run(tmp_path / "in" / "train" / "older", epochs=9)
    assert audit(zipped(tmp_path / "in")).run.epochs_run == 4


@pytest.mark.parametrize(("run", "data"), [("train", "set"), ("set/runs/train", "set"), ("train", "train/set")])
def test_a_run_and_its_data_in_one_archive(tmp_path: Path, run: str, data: str) -> None:
    write_data(tmp_path / "in" / data)
    write_run(tmp_path / "in" / run)
    report = audit(zipped(tmp_path / "in"))
    assert report.dataset is not None
    assert {split: census.images for split, census in report.dataset.splits.items()} == {"train": 3, "val": 2}
    assert report.run.epochs_run == 4


def test_data_beside_the_run_win_over_those_inside(tmp_path: Path) -> None:
    write_run(tmp_path / "in")
    write_data(tmp_path / "in" / "set")
    other = write_data(tmp_path / "other")
    (other / "images" / "train" / "0.png").unlink()
    report = audit(zipped(tmp_path / "in"), data={"kind": "archive", "path": str(zipped(other))})
    assert report.dataset is not None
    assert report.dataset.splits["train"].images == 2


def test_annotators_are_counted_and_kept(tmp_path: Path) -> None:
    write_run(tmp_path / "in")
    write_data(tmp_path / "in")
    ada, ben = tmp_path / "ada", tmp_path / "ben"
    (ada / "val").mkdir(parents=True)
    (ada / "val" / "0.txt").write_text(f"1 {BOX}\n")
    (ada / "val" / "1.txt").write_text("")
    shutil.copytree(tmp_path / "in" / "labels", ben)
    (ben / "train" / "2.txt").write_text("9 9 9\n")
    annotators = {
        "ada": {"kind": "folder", "path": str(ada)},
        "ben": {"kind": "archive", "path": str(zipped(ben))},
    }
    report = audit(zipped(tmp_path / "in"), annotators=annotators)
    assert report.dataset is not None
    found = report.dataset.annotators
    assert (found["ada"].images, found["ada"].background, found["ada"].not_annotated) == (2, 1, 3)
    assert found["ada"].class_instances == {"cat": 0, "dog": 1}
    assert (found["ben"].images, found["ben"].rejected, found["ben"].instances) == (4, 1, 4)
    overall = {(pair.first, pair.second): pair for pair in report.dataset.agreement if pair.label is None}
    # Of image 0 ada has the same box as a dog, of image 1 none; ben has all as they are, less the file that is refused.
    with_ada, with_ben = overall["labels", "ada"], overall["labels", "ben"]
    assert (with_ada.images, with_ada.matched, with_ada.only_first, with_ada.same_class) == (2, 1, 1, 0)
    assert (with_ben.images, with_ben.matched, with_ben.found, with_ben.same_class) == (4, 4, 1, 1)
    assert overall["ada", "ben"].images == 2
    kept = load_annotator(JobFolder(tmp_path / "job-in").annotator("ada"))
    assert kept.labels.cls.tolist() == [1]
    assert len(kept.annotated) == 2


def test_annotators_without_images_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "in")
    (tmp_path / "ada").mkdir()
    annotators = {"ada": {"kind": "folder", "path": str(tmp_path / "ada")}}
    assert refused(zipped(tmp_path / "in"), annotators=annotators).error_code == "labels_without_data"
    shutil.rmtree(tmp_path / "job-in")
    write_data(tmp_path / "in" / "set")
    assert refused(zipped(tmp_path / "in"), annotators=annotators).error_code == "labels_match_nothing"


def test_a_hostile_archive_of_labels_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "in")
    write_data(tmp_path / "in" / "set")
    hostile = tmp_path / "hostile.zip"
    with zipfile.ZipFile(hostile, "w") as archive:
        archive.writestr("../../escaped.txt", f"0 {BOX}\n")
    error = refused(zipped(tmp_path / "in"), annotators={"eve": {"kind": "archive", "path": str(hostile)}})
    assert error.error_code.startswith(("archive_", "zip_"))
    assert not list(tmp_path.rglob("escaped.txt"))


def test_the_command_passes_annotators_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    data = write_data(tmp_path / "set")
    shutil.copytree(data / "labels", tmp_path / "ada")
    ended = runaudit(
        "check", run, "--data", data / "data.yaml", "--labels", f"ada={tmp_path / 'ada'}", "--format", "json"
    )
    assert ended.returncode in (0, 1), ended.stderr
    report = Report.model_validate_json(ended.stdout)
    assert report.dataset is not None
    assert (report.dataset.annotators["ada"].images, report.dataset.annotators["ada"].instances) == (5, 5)
