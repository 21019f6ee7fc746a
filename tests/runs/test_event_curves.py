"""Curves from event files: as good as results.csv where that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from runaudit.errors import CurvesError
from runaudit.runs.facts import RunFacts
from runaudit.runs.run import read_run
from tests.runs import event_files as files

ULTRALYTICS = (
    *("train/box_loss", "train/cls_loss", "train/dfl_loss", "metrics/precision(B)", "metrics/recall(B)"),
    *("metrics/mAP50(B)", "metrics/mAP50-95(B)", "val/box_loss", "val/cls_loss", "val/dfl_loss", "lr/pg0", "lr/pg1"),
)
YOLOV5 = (
    *("train/box_loss", "train/obj_loss", "train/cls_loss", "metrics/precision", "metrics/recall", "metrics/mAP_0.5"),
    *("metrics/mAP_0.5:0.95", "val/box_loss", "val/obj_loss", "val/cls_loss", "x/lr0", "x/lr1", "x/lr2"),
)


def scalars(tags: tuple[str, ...], step: int, value: float) -> list[bytes]:
    return [files.event(step, files.simple(tag, value)) for tag in tags]


def write(folder: Path, tags: tuple[str, ...], values: dict[int, float], *, begun: int = 1700000000) -> None:
    events = [event for step, value in values.items() for event in scalars(tags, step, value)]
    files.write(folder / f"events.out.tfevents.{begun}.host.1.0", events)


def read(folder: Path) -> RunFacts:
    return read_run(folder, weights_out=folder / "weights.safetensors")


def args(folder: Path, epochs: int) -> None:
    (folder / "args.yaml").write_text(f"task: detect\nmodel: yolo11n.pt\nepochs: {epochs}\npatience: 100\n")


def test_ultralytics_curves_are_those_of_its_tags(tmp_path: Path) -> None:
    write(tmp_path, ULTRALYTICS, {1: 0.25, 2: 0.75, 3: 0.5})
    args(tmp_path, 3)
    run = read(tmp_path)
    assert run.curves is not None
    assert (run.framework, run.task, run.status, run.epochs_run, run.best_epoch) == (
        "ultralytics",
        "detect",
        "finished",
        3,
        2,
    )
    assert run.curves.source == "events.out.tfevents.1700000000.host.1.0"
    assert run.curves.metrics["map50_95"] == (0.25, 0.75, 0.5)
    assert set(run.curves.train_losses) == {"box", "cls", "dfl"}
    assert set(run.curves.learning_rates) == {"pg0", "pg1"}
    assert run.curves.lines == (2, 14, 26)
    assert "curves_from_events" in {note.code for note in run.notes}


def test_yolov5_counts_from_0(tmp_path: Path) -> None:
    write(tmp_path, YOLOV5, {0: 0.5, 1: 0.25})
    (tmp_path / "opt.yaml").write_text("weights: yolov5s.pt\nepochs: 2\n")
    run = read(tmp_path)
    assert run.curves is not None
    assert (run.framework, run.curves.epochs, run.best_epoch, run.status) == ("yolov5", (1, 2), 1, "finished")


def test_the_last_validation_of_best_pt_is_no_epochs_own(tmp_path: Path) -> None:
    events = [*scalars(ULTRALYTICS, 1, 0.75), *scalars(ULTRALYTICS, 2, 0.25), *scalars(ULTRALYTICS, 2, 0.75)]
    files.write(tmp_path / "events.out.tfevents.1.h.1.0", events)
    args(tmp_path, 2)
    run = read(tmp_path)
    assert run.curves is not None
    assert run.curves.metrics["map50_95"] == (0.75, 0.25)


def test_a_resumed_run_has_two_files(tmp_path: Path) -> None:
    write(tmp_path, ULTRALYTICS, {2: 0.5, 3: 0.75, 4: 0.75}, begun=1700000900)
    write(tmp_path, ULTRALYTICS, {1: 0.25, 2: 0.5}, begun=999999999)
    args(tmp_path, 4)
    run = read(tmp_path)
    assert run.curves is not None
    assert (run.status, run.curves.epochs) == ("resumed", (1, 2, 2, 3, 4))


def test_results_csv_wins(tmp_path: Path) -> None:
    write(tmp_path, ULTRALYTICS, {1: 0.25})
    header = ",".join(("epoch", *ULTRALYTICS))
    (tmp_path / "results.csv").write_text(f"{header}\n1{',0.5' * len(ULTRALYTICS)}\n")
    run = read(tmp_path)
    assert run.curves is not None
    assert run.curves.source == "results.csv"
    (tmp_path / "results.csv").write_text("")
    run = read(tmp_path)
    assert run.curves is not None
    assert run.curves.source.startswith("events")
    assert run.notes[0].code == "results_empty"


def test_event_files_alone_are_a_run_but_never_beside_one(tmp_path: Path) -> None:
    (tmp_path / "tb").mkdir()
    write(tmp_path / "tb", ULTRALYTICS, {1: 0.25, 2: 0.5})
    assert (read(tmp_path).folder, read(tmp_path).epochs_run) == ("tb", 2)
    (tmp_path / "train").mkdir()
    args(tmp_path / "train", 2)
    run = read(tmp_path)
    assert (run.folder, run.curves) == ("train", None)


def test_event_files_without_curves(tmp_path: Path) -> None:
    files.write(tmp_path / "events.out.tfevents.1.h.1.0", [files.event(0, files.simple("accuracy", 1.0))])
    with pytest.raises(CurvesError) as caught:
        read(tmp_path)
    assert caught.value.error_code == "results_empty"
    args(tmp_path, 2)
    run = read(tmp_path)
    assert (run.curves, run.notes[0].code) == (None, "results_empty")


def test_a_cut_file_is_read_to_its_cut(tmp_path: Path) -> None:
    write(tmp_path, ULTRALYTICS, {1: 0.25, 2: 0.5})
    path = next(tmp_path.glob("events*"))
    path.write_bytes(path.read_bytes()[:-30])
    args(tmp_path, 5)
    run = read(tmp_path)
    assert run.curves is not None
    assert run.curves.epochs == (1, 2)
    assert run.curves.learning_rates["pg1"] == (0.25, None)
    assert {note.code for note in run.notes} >= {"event_file_damaged", "run_interrupted"}
