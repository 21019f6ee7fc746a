"""Damaged inputs, each with the stable code and place that a person gets, or what the report says was not checked."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runaudit.errors import InputError
from runaudit.isolation.audit import run_audit
from runaudit.isolation.job import JobSpec, Progress, Source
from runaudit.reports.markdown import render_markdown
from runaudit.reports.schema import Report
from tests.acceptance.inputs import CLASSES, run_copy, zipped


def audited(run: Path, folder: Path, data: Path | None = None) -> Report:
    """The report on a run (a folder or an archive) with data (likewise)."""

    def source(path: Path) -> Source:
        return Source(kind="folder" if path.is_dir() else "archive", path=str(path))

    folder.mkdir()
    spec = JobSpec(run=source(run), data=None if data is None else source(data), device="cpu")
    return run_audit(spec, folder, on_progress=ignored, should_stop=lambda: False)


def ignored(progress: Progress) -> None:
    """Progress is of no interest here."""


def outcomes(report: Report) -> dict[str, str]:
    return {check.cause: check.outcome for check in report.checks}


def truncated_zip(folder: Path) -> Path:
    whole = zipped(run_copy(folder / "run"), folder / "whole.zip").read_bytes()
    (folder / "cut.zip").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.zip"


def no_archive(folder: Path) -> Path:
    (folder / "run.zip").write_bytes(b"<html>404 not found</html>")
    return folder / "run.zip"


def empty_file(folder: Path) -> Path:
    (folder / "run.zip").write_bytes(b"")
    return folder / "run.zip"


def empty_archive(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "run.zip", "w"):
        return folder / "run.zip"


def bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "run.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as file:
        for _ in range(100):
            file.write(b"0" * 2**20)
    return folder / "run.zip"


def link_out(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "run.zip", "w") as archive:
        link = zipfile.ZipInfo("run/results.csv")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return folder / "run.zip"


def broken_configuration(folder: Path) -> Path:
    run = run_copy(folder / "run")
    (run / "args.yaml").write_text("task: detect\nmode: train\nmodel: [yolo11n.pt\n")
    return run


def tagged_configuration(folder: Path) -> Path:
    run = run_copy(folder / "run")
    (run / "args.yaml").write_text("task: detect\nmodel: !!python/object/apply:os.system ['id']\n")
    return run


def no_table(folder: Path) -> Path:
    run = run_copy(folder / "run")
    (run / "results.csv").write_bytes(os.urandom(2000))
    return run


@pytest.mark.parametrize(
    ("make", "code", "place"),
    [
        (truncated_zip, "archive_truncated", None),
        (no_archive, "archive_format_unknown", None),
        (empty_file, "archive_format_unknown", None),
        (empty_archive, "run_not_found", None),
        (bomb, "archive_ratio", None),
        (link_out, "archive_link", None),
        (broken_configuration, "yaml_invalid", "args.yaml:"),
        (tagged_configuration, "yaml_tag", "args.yaml:2"),
        (no_table, "results_unreadable", "results.csv"),
    ],
)
def test_an_unreadable_run_is_a_problem_with_a_code_and_a_place(
    tmp_path: Path, make: Callable[[Path], Path], code: str, place: str | None
) -> None:
    with pytest.raises(InputError) as caught:
        audited(make(tmp_path), tmp_path / "job")
    assert caught.value.error_code == code
    assert caught.value.detail.endswith(".")
    assert str(tmp_path) not in str(caught.value.problem())
    if place is not None:
        assert (caught.value.place or "").startswith(place)


def test_a_run_without_curves_says_which_checks_it_cost(tmp_path: Path, data_yaml: Path) -> None:
    run = run_copy(tmp_path / "run")
    (run / "results.csv").unlink()
    report = audited(run, tmp_path / "job", data_yaml.parent)
    assert outcomes(report)["insufficient_epochs"] == "not_run"
    assert outcomes(report)["overfitting"] == "passed", "training images say it without curves"
    assert "results.csv" in report.provenance.not_available["curves"]
    assert report.validation is not None


def test_a_run_without_weights_is_inconclusive_not_passed(tmp_path: Path, data_yaml: Path) -> None:
    run = run_copy(tmp_path / "run")
    (run / "weights" / "best.pt").unlink()
    report = audited(run, tmp_path / "job", data_yaml.parent)
    assert (report.verdict, report.validation) == ("inconclusive", None)
    assert "checkpoint" in report.provenance.not_available["evaluation"]
    assert outcomes(report)["metric_mismatch"] == "not_run"


def test_truncated_weights_fail_the_check_of_the_checkpoint(tmp_path: Path, data_yaml: Path) -> None:
    run = run_copy(tmp_path / "run")
    whole = (run / "weights" / "best.pt").read_bytes()
    (run / "weights" / "best.pt").write_bytes(whole[: len(whole) // 2])
    report = audited(run, tmp_path / "job", data_yaml.parent)
    assert report.verdict == "fail"
    assert report.findings[0].cause == "checkpoint_integrity"
    assert report.validation is None


def test_images_without_labels_are_nothing_to_measure_against(tmp_path: Path, data_yaml: Path) -> None:
    data = tmp_path / "data"
    (data / "images" / "val").mkdir(parents=True)
    for image in sorted((data_yaml.parent / "images" / "val").iterdir())[:4]:
        (data / "images" / "val" / image.name).write_bytes(image.read_bytes())
    (data / "data.yaml").write_text("train: images/val\nval: images/val\n" + CLASSES)
    report = audited(run_copy(tmp_path / "run"), tmp_path / "job", data)
    assert report.validation is None
    assert report.verdict != "pass"
    assert "label" in report.provenance.not_available["evaluation"]
    assert report.dataset is not None
    assert report.dataset.splits["val"].missing_labels == 4


def test_data_without_a_validation_split_are_said_to_lack_it(tmp_path: Path, data_yaml: Path) -> None:
    data = tmp_path / "data"
    (data / "images" / "train").mkdir(parents=True)
    image = min((data_yaml.parent / "images" / "train").iterdir())
    (data / "images" / "train" / image.name).write_bytes(image.read_bytes())
    (data / "data.yaml").write_text("train: images/train\n" + CLASSES)
    report = audited(run_copy(tmp_path / "run"), tmp_path / "job", data)
    assert "validation split" in report.provenance.not_available["evaluation"]


def test_bad_labels_and_a_corrupt_image_are_counted_and_named(tmp_path: Path, data_yaml: Path) -> None:
    data = tmp_path / "data"
    images, labels = data / "images" / "val", data / "labels" / "val"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for image in sorted((data_yaml.parent / "images" / "val").iterdir())[:6]:
        label = data_yaml.parent / "labels" / "val" / f"{image.stem}.txt"
        (images / image.name).write_bytes(image.read_bytes())
        (labels / label.name).write_bytes(label.read_bytes())
    first, second = sorted(labels.iterdir())[:2]
    first.write_text("0 0.5 0.5 0.1 0.1\n0 1.7 0.5 0.1 0.1\n")
    second.write_text("9 0.5 0.5 0.1 0.1\n")
    corrupt = sorted(images.iterdir())[2]
    corrupt.write_bytes(corrupt.read_bytes()[:20])
    (data / "data.yaml").write_text("train: images/val\nval: images/val\n" + CLASSES)
    report = audited(run_copy(tmp_path / "run"), tmp_path / "job", data)
    assert report.dataset is not None
    census = report.dataset.splits["val"]
    assert census.rejected == 3
    assert any(f"labels/val/{first.name}:2" in note for note in census.notes)
    assert any(f"labels/val/{second.name}:1" in note for note in census.notes)
    assert report.validation is not None


def test_hostile_names_reach_no_rendering_as_markup(tmp_path: Path, data_yaml: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for part in ("images", "labels"):
        (data / part).symlink_to(data_yaml.parent / part)
    names = ["<img src=x onerror=alert(1)>", "\x1b[31mred", "a|b\n# heading", "\u202ereversed"]
    listed = "\n".join(f"  {number}: {name!a}" for number, name in enumerate(names)).replace("'", '"')
    (data / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{listed}\n")
    whole = tmp_path / "whole"
    whole.mkdir()
    for file in [path for path in data_yaml.parent.rglob("*") if path.is_file() and path.suffix != ".yaml"]:
        target = whole / file.relative_to(data_yaml.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    (whole / "data.yaml").write_text((data / "data.yaml").read_text())
    rendered = render_markdown(audited(run_copy(tmp_path / "run"), tmp_path / "job", whole))
    assert "<img" not in rendered
    assert "\x1b" not in rendered
    assert "\u202e" not in rendered
    assert "\n# heading" not in rendered
