"""Which file is a run's log, and the environment of a request beside it."""

from __future__ import annotations

from pathlib import Path

from runaudit.runs.facts import LogFacts, RunFacts
from runaudit.runs.log_environment import read_environment
from runaudit.runs.run import read_run
from tests.runs.console_logs import ULTRALYTICS_8_3, ULTRALYTICS_8_4, YOLOV5_6


def run_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "args.yaml").write_text("task: detect\nmodel: yolo11n.pt\nepochs: 3\n")
    return folder


def read(root: Path, **environment: object) -> RunFacts:
    return read_run(root, weights_out=root / "weights.safetensors", environment=environment)  # type: ignore[arg-type]


def log_of(run: RunFacts) -> LogFacts:
    assert run.log is not None
    return run.log


def test_a_log_in_the_run_folder(tmp_path: Path) -> None:
    run_in(tmp_path)
    (tmp_path / "classes.txt").write_text(YOLOV5_6)
    (tmp_path / "notes.txt").write_text("Learning rate too high?\n")
    (tmp_path / "nohup.out").write_text(ULTRALYTICS_8_4)
    log = log_of(read(tmp_path))
    assert (log.sources, log.batch, log.places["batch"]) == (("nohup.out",), 32, "nohup.out:10")


def test_without_a_log_there_is_none(tmp_path: Path) -> None:
    assert read(run_in(tmp_path)).log is None


def test_the_likeliest_of_several_is_read_and_the_others_named(tmp_path: Path) -> None:
    run_in(tmp_path)
    (tmp_path / "a.log").write_text(ULTRALYTICS_8_3)
    (tmp_path / "train.log").write_text(ULTRALYTICS_8_4)
    run = read(tmp_path)
    assert log_of(run).sources == ("train.log",)
    assert ("log_ignored", "a.log") in [(note.code, note.place) for note in run.notes]


def test_a_log_above_the_run_folder_counts_if_it_names_it(tmp_path: Path) -> None:
    run_in(tmp_path / "runs" / "detect" / "train4")
    (tmp_path / "nohup.out").write_text(ULTRALYTICS_8_3 + ULTRALYTICS_8_4)
    assert log_of(read(tmp_path)).version == "8.4.130"
    (tmp_path / "nohup.out").write_text(ULTRALYTICS_8_3)
    assert read(tmp_path).log is None


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.log").write_text(YOLOV5_6)
    run_in(tmp_path / "run")
    (tmp_path / "run" / "train.log").symlink_to(tmp_path / "elsewhere.log")
    assert read(tmp_path / "run").log is None


def test_the_environment_is_a_log_too() -> None:
    facts = read_environment(
        {
            "gpu": [{"name": "NVIDIA GeForce GTX 1650", "memory_mib": 4096}],
            "versions": {"python": "3.11.9", "torch": "2.5.1", "ultralytics": "8.3.50"},
            "arguments": {"batch": 12, "optimizer": "AdamW", "amp": True},
            "log_tail": "RuntimeError: CUDA out of memory. Tried to allocate 2 MiB\nKilled\n",
            "something_else": [1, {"deep": None}],
        }
    )
    assert facts is not None
    assert (facts.framework, facts.version, facts.torch, facts.batch) == ("ultralytics", "8.3.50", "2.5.1", 12)
    assert (facts.devices[0].name, facts.devices[0].memory_mib) == ("NVIDIA GeForce GTX 1650", 4096)
    assert facts.places["batch"] == "environment.arguments.batch"
    assert [(note.code, note.place) for note in facts.events] == [
        ("out_of_memory", "environment.log_tail:1"),
        ("process_ended", "environment.log_tail:2"),
    ]


def test_an_environment_that_tells_nothing_or_nonsense() -> None:
    assert read_environment({}) is None
    nonsense = {"gpu": 3, "versions": [], "arguments": "none", "log_tail": ["x"], "gpu_memory_mib": float("nan")}
    assert read_environment(nonsense) is None  # type: ignore[arg-type]
    assert read_environment({"gpu": [None, True, {"name": 3}], "device": "cpu"}) is not None


def test_environment_and_log_are_brought_together(tmp_path: Path) -> None:
    run_in(tmp_path)
    (tmp_path / "train.log").write_text(ULTRALYTICS_8_4)
    log = log_of(read(tmp_path, gpu="Tesla V100", gpu_memory_mib=16384, log_tail="Killed\n"))
    assert (log.sources, log.devices[0].name, log.version) == (
        ("environment", "environment.log_tail", "train.log"),
        "Tesla V100",
        "8.4.130",
    )
    assert log.places["devices"] == "environment.gpu"
    assert log.places["batch"] == "train.log:10"
    assert log.events[0].place == "environment.log_tail:1"
