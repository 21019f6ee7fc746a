"""Whole run folders: what is told from them, and how they ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from runaudit.errors import CurvesError, InputError, RunNotFoundError, YamlError
from runaudit.runs.curves import read_results
from runaudit.runs.facts import CheckpointFacts, RunFacts
from runaudit.runs.fitness import best_row, first_best_row, fitness
from runaudit.runs.identity import Sources, architecture_of, framework_of, scores_map50_95_only, version_of
from runaudit.runs.run import read_run
from runaudit.runs.status import plan_of, status_of

COLUMNS = (
    "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/recall(B),metrics/mAP50(B),"
    "metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0,lr/pg1,lr/pg2"
)
ARGS = "task: detect\nmodel: yolo11n.pt\nepochs: {epochs}\npatience: {patience}\ntime: null\nresume: {resume}\n"


def row(epoch: int, score: float, seconds: float | None = None) -> str:
    clock = epoch * 10.0 if seconds is None else seconds
    return f"{epoch},{clock},1,1,1,0.5,0.5,{score},{score / 2},1,1,1,0.01,0.01,0.01"


def results(folder: Path, rows: list[str]) -> None:
    (folder / "results.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")


def args(folder: Path, *, epochs: int = 10, patience: int = 3, resume: str = "false", more: str = "") -> None:
    (folder / "args.yaml").write_text(ARGS.format(epochs=epochs, patience=patience, resume=resume) + more)


def read(folder: Path) -> RunFacts:
    return read_run(folder, weights_out=folder / "weights.safetensors")


def notes(run: RunFacts) -> list[tuple[str, str | None]]:
    return [(note.code, note.place) for note in run.notes]


def test_a_finished_run(tmp_path: Path) -> None:
    results(tmp_path, [row(epoch, epoch / 20) for epoch in range(1, 11)])
    args(tmp_path)
    run = read(tmp_path)
    assert (run.framework, run.framework_version, run.task, run.architecture) == (
        "ultralytics",
        None,
        "detect",
        "yolo11n",
    )
    assert (run.epochs_planned, run.epochs_run, run.best_epoch, run.best_row) == (10, 10, 10, 9)
    assert (run.status, run.notes, run.checkpoint, run.folder) == ("finished", (), None, "")
    assert run.argument("patience") == 3


def test_a_run_whose_patience_ran_out(tmp_path: Path) -> None:
    results(tmp_path, [row(epoch, 0.5 if epoch == 2 else 0.1) for epoch in range(1, 6)])
    args(tmp_path)
    assert read(tmp_path).status == "early_stopped"


def test_patience_0_never_stops_a_run(tmp_path: Path) -> None:
    results(tmp_path, [row(epoch, 0.5 if epoch == 2 else 0.1) for epoch in range(1, 6)])
    args(tmp_path, patience=0)
    assert read(tmp_path).status == "interrupted"


def test_an_interrupted_run(tmp_path: Path) -> None:
    results(tmp_path, [row(epoch, epoch / 20) for epoch in range(1, 6)])
    args(tmp_path)
    run = read(tmp_path)
    assert run.status == "interrupted"
    assert notes(run) == [("run_interrupted", "results.csv:6")]


def test_a_run_that_was_given_hours(tmp_path: Path) -> None:
    results(tmp_path, [row(epoch, epoch / 20, seconds=epoch * 600) for epoch in range(1, 7)])
    (tmp_path / "args.yaml").write_text("task: detect\nepochs: 100\npatience: 50\ntime: 1.0\n")
    assert read(tmp_path).status == "finished"
    results(tmp_path, [row(epoch, epoch / 20, seconds=epoch * 600) for epoch in range(1, 3)])
    assert read(tmp_path).status == "interrupted"


def test_a_resumed_run_by_its_argument_its_clock_or_a_repeated_epoch(tmp_path: Path) -> None:
    results(tmp_path, [row(epoch, epoch / 20) for epoch in range(1, 11)])
    args(tmp_path, resume="runs/train/weights/last.pt")
    run = read(tmp_path)
    assert (run.status, notes(run)) == ("resumed", [("run_resumed", "args.yaml:6")])
    args(tmp_path)
    results(tmp_path, [row(epoch, epoch / 20, seconds=epoch % 6) for epoch in range(1, 11)])
    assert notes(read(tmp_path)) == [("run_resumed", "results.csv:7")]
    results(tmp_path, [row(epoch, epoch / 20) for epoch in (1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 10)])
    run = read(tmp_path)
    assert (run.status, run.epochs_run, notes(run)) == ("resumed", 10, [("run_resumed", "results.csv:7")])


@pytest.mark.parametrize(
    ("epochs", "code", "place"),
    [
        ([1, 2, 5, 6, 7, 8, 9, 10], "epoch_gap", "results.csv:4"),
        ([4, 5, 6, 7, 8, 9, 10], "epoch_gap", "results.csv:2"),
        (list(range(1, 13)), "epochs_beyond_plan", "results.csv:12"),
    ],
)
def test_rows_that_no_training_writes(tmp_path: Path, epochs: list[int], code: str, place: str) -> None:
    results(tmp_path, [row(epoch, epoch / 20) for epoch in epochs])
    args(tmp_path)
    run = read(tmp_path)
    assert (run.status, notes(run)) == ("inconsistent", [(code, place)])


def test_a_file_made_by_hand_is_inconsistent(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("epoch,train/box_loss,metrics/mAP50\n1,2,0.2\n10,1,0.5\n50,0.5,0.8\n")
    args(tmp_path, epochs=50)
    run = read(tmp_path)
    assert run.status == "inconsistent"
    assert run.best_epoch is None
    assert notes(run) == [
        ("columns_missing", "results.csv:1"),
        ("epoch_gap", "results.csv:3"),
        ("epoch_gap", "results.csv:4"),
    ]


def test_a_yolov5_run_is_told_from_columns_and_opt_yaml(tmp_path: Path) -> None:
    header = (
        "epoch,train/box_loss,train/obj_loss,train/cls_loss,metrics/precision,metrics/recall,metrics/mAP_0.5,"
        "metrics/mAP_0.5:0.95,val/box_loss,val/obj_loss,val/cls_loss,x/lr0,x/lr1,x/lr2"
    )
    (tmp_path / "results.csv").write_text(
        f"{header}\n0,1,1,1,.5,.5,.9,.30,1,1,1,.01,.01,.01\n1,1,1,1,.5,.5,.1,.35,1,1,1,.01,.01,.01\n"
    )
    (tmp_path / "opt.yaml").write_text(
        "weights: C:\\models\\yolov5s.pt\ncfg: ''\nepochs: 2\npatience: 100\nresume: false\n"
    )
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\n")
    run = read(tmp_path)
    assert (run.framework, run.task, run.architecture, run.status) == ("yolov5", "detect", "yolov5s", "finished")
    # 0.1 * 0.9 + 0.9 * 0.30 = 0.36 is more than 0.1 * 0.1 + 0.9 * 0.35 = 0.325.
    assert (run.best_epoch, run.best_row) == (1, 0)


def test_from_8_4_on_map50_95_alone_decides(tmp_path: Path) -> None:
    first, second = row(1, 0.9), row(2, 0.9)
    text = [first.replace("0.9,0.45", "0.9,0.30"), second.replace("0.9,0.45", "0.1,0.35")]
    results(tmp_path, text)
    args(tmp_path, epochs=2)
    assert read(tmp_path).best_epoch == 1
    args(tmp_path, epochs=2, more="rle: 1.0\n")
    assert read(tmp_path).best_epoch == 2


def test_of_equal_epochs_the_last_is_in_best_pt(tmp_path: Path) -> None:
    assert best_row((0.1, 0.5, 0.5, float("nan"), None)) == 2
    assert first_best_row((0.1, 0.5, 0.5)) == 1
    assert best_row((float("nan"), None)) is None
    results(tmp_path, [row(epoch, 0.0) for epoch in range(1, 4)])
    args(tmp_path, epochs=3)
    assert read(tmp_path).best_epoch == 3


def test_what_is_missing_is_none_and_what_is_unknown_is_noted(tmp_path: Path) -> None:
    results(tmp_path, [row(1, 0.5)])
    run = read(tmp_path)
    assert (run.status, run.epochs_planned, run.configuration) == ("finished", None, None)
    assert notes(run) == [("plan_unknown", None)]
    (tmp_path / "results.csv").unlink()
    args(tmp_path)
    run = read(tmp_path)
    assert (run.status, run.curves, run.epochs_run, run.best_epoch) == ("interrupted", None, None, None)


def test_an_empty_results_csv_is_a_note_beside_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "results.csv").touch()
    with pytest.raises(CurvesError) as caught:
        read(tmp_path)
    assert caught.value.error_code == "results_empty"
    args(tmp_path)
    assert notes(read(tmp_path))[0] == ("results_empty", "results.csv:1")


def test_an_empty_args_yaml_is_a_note_beside_other_evidence_and_an_error_alone(tmp_path: Path) -> None:
    (tmp_path / "args.yaml").touch()
    with pytest.raises(YamlError):
        read(tmp_path)
    results(tmp_path, [row(epoch, epoch / 20) for epoch in range(1, 11)])
    run = read(tmp_path)
    assert ("configuration_empty", "args.yaml") in notes(run)
    assert run.configuration is None and run.epochs_run == 10


def test_a_results_csv_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("<html></html>")
    args(tmp_path)
    with pytest.raises(CurvesError) as caught:
        read(tmp_path)
    assert (caught.value.error_code, caught.value.place) == ("results_unreadable", "results.csv:1")


def test_no_run_and_several_runs_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError):
        read(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        args(tmp_path / name)
    with pytest.raises(InputError, match="a, b"):
        read(tmp_path)


def test_a_checkpoint_that_is_none_is_a_problem_and_no_error(tmp_path: Path) -> None:
    results(tmp_path, [row(epoch, epoch / 20) for epoch in range(1, 11)])
    args(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "best.pt").write_bytes(b"no checkpoint")
    run = read(tmp_path)
    assert run.checkpoint is not None
    assert run.checkpoint.problem is not None
    assert run.checkpoint.source == "weights/best.pt"
    assert run.status == "finished"


def test_checkpoints_of_other_names_are_not_chosen_between(tmp_path: Path) -> None:
    results(tmp_path, [row(epoch, epoch / 20) for epoch in range(1, 11)])
    args(tmp_path)
    (tmp_path / "weights").mkdir()
    for name in ("epoch1.pt", "epoch2.pt"):
        (tmp_path / "weights" / name).touch()
    run = read(tmp_path)
    assert run.checkpoint is None
    assert notes(run) == [("checkpoint_ambiguous", None)]


def test_files_of_two_frameworks_and_tasks_are_noted(tmp_path: Path) -> None:
    results(tmp_path, [row(1, 0.5)])
    (tmp_path / "opt.yaml").write_text("weights: yolov5s.pt\nepochs: 1\n")
    assert ("framework_conflict", None) in notes(read(tmp_path))
    (tmp_path / "opt.yaml").unlink()
    (tmp_path / "args.yaml").write_text("task: segmentation\nepochs: 1\n")
    assert ("task_unknown", "args.yaml:1") in notes(read(tmp_path))


def checkpoint(**facts: object) -> CheckpointFacts:
    return CheckpointFacts.model_validate({"source": "weights/best.pt", "sha256": "0" * 64, "size": 1, **facts})


def test_the_checkpoint_tells_version_network_and_whether_the_run_ended(tmp_path: Path) -> None:
    stripped = checkpoint(
        framework="ultralytics", version="8.4.190", epoch=-1, model_yaml={"yaml_file": "yolo11s.yaml"}, task="detect"
    )
    sources = Sources(None, None, stripped)
    assert version_of(sources) == "8.4.190"
    assert architecture_of(sources) == "yolo11s"
    assert scores_map50_95_only(sources, "ultralytics")
    assert framework_of(sources) == ("ultralytics", [])
    assert status_of(sources, plan_of(sources), (), "ultralytics", "detect")[0] == "finished"
    killed = Sources(None, None, checkpoint(framework="ultralytics", version="8.3.0", epoch=4, optimizer_present=True))
    assert not scores_map50_95_only(killed, "ultralytics")
    assert status_of(killed, plan_of(killed), (), "ultralytics", "detect")[0] == "interrupted"
    assert framework_of(Sources(None, None, None))[1][0].code == "framework_unknown"


def test_a_run_of_fewer_rows_than_its_patience_was_not_stopped_early(tmp_path: Path) -> None:
    results(tmp_path, [row(1, 0.1)])
    args(tmp_path, epochs=60, patience=50)
    run = read(tmp_path)
    assert run.curves is not None
    sources = Sources(
        read_results(tmp_path / "results.csv", source="results.csv"), run.configuration, checkpoint(epoch=-1)
    )
    values = fitness(run.curves, "ultralytics", "detect", map50_95_only=False)
    status, said = status_of(sources, plan_of(sources), values, "ultralytics", "detect")
    assert (status, [(note.code, note.place) for note in said]) == ("interrupted", [("rows_missing", "results.csv:2")])


@pytest.mark.parametrize(
    ("epoch", "optimizer", "planned", "status"),
    [
        (-1, False, 5, "finished"),
        (4, True, 5, "interrupted"),
        (-1, False, 9, "early_stopped"),
        (4, True, 9, "interrupted"),
    ],
)
def test_a_stripped_checkpoint_is_that_of_a_run_that_ended_by_itself(
    tmp_path: Path, epoch: int, optimizer: bool, planned: int, status: str
) -> None:
    results(tmp_path, [row(number, number / 20) for number in range(1, 6)])
    args(tmp_path, epochs=planned)
    run = read(tmp_path)
    assert run.curves is not None
    sources = Sources(
        read_results(tmp_path / "results.csv", source="results.csv"),
        run.configuration,
        checkpoint(epoch=epoch, optimizer_present=optimizer),
    )
    values = fitness(run.curves, "ultralytics", "detect", map50_95_only=False)
    assert status_of(sources, plan_of(sources), values, "ultralytics", "detect")[0] == status
