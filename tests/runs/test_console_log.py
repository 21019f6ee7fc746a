"""Console logs of every generation, damaged ones, and hostile ones."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.runs import log_text
from runaudit.runs.console_log import read_console_log
from runaudit.runs.facts import LogDevice, LogFacts, LogOptimizer, LogScan
from runaudit.runs.log_text import from_text, read_log, texts_with
from tests.runs.console_logs import ULTRALYTICS_8_0, ULTRALYTICS_8_3, ULTRALYTICS_8_4, YOLOV5_6, YOLOV9

T4 = LogDevice(kind="CUDA:0", name="Tesla T4", memory_mib=15110)


def read(text: str, **options: str | bool) -> LogFacts:
    facts = read_console_log(from_text(text, source="train.log"), **options)  # type: ignore[arg-type]
    assert facts is not None
    return facts


def events(facts: LogFacts) -> list[tuple[str, str | None]]:
    return [(note.code, note.place) for note in facts.events]


def test_ultralytics_8_0_with_colours_and_a_rewritten_bar() -> None:
    facts = read(ULTRALYTICS_8_0)
    assert (facts.framework, facts.version, facts.python, facts.torch) == (
        "ultralytics",
        "8.0.20",
        "3.8.10",
        "1.13.1+cu116",
    )
    assert facts.devices == (T4,)
    assert (facts.batch, facts.transferred, facts.image_size, facts.amp) == (41, (319, 355), 640, None)
    assert facts.places["batch"] == "train.log:6"
    assert facts.optimizer == LogOptimizer(name="SGD", lr=0.01, place="train.log:7")
    assert facts.scans == (
        LogScan(split="train", found=117, backgrounds=5, corrupt=3, place="train.log:8"),
        LogScan(split="val", found=30, backgrounds=0, corrupt=0, place="train.log:9"),
    )
    assert (facts.epochs_planned, facts.epochs_begun, facts.epochs_completed, facts.hours) == (50, 30, 30, 0.126)
    assert (facts.early_stop_patience, facts.places["early_stop_patience"]) == (10, "train.log:20")
    assert (facts.peak_memory_gb, facts.save_folder) == (7.25, "runs/detect/train")
    assert events(facts) == [("nms_time_limit", "train.log:18")]
    assert facts.arguments["batch"] == -1
    assert facts.arguments["save"] is True


def test_ultralytics_8_3_on_windows_out_of_memory() -> None:
    facts = read(ULTRALYTICS_8_3)
    assert (facts.version, facts.amp, facts.places["amp"]) == ("8.3.62", "failed", "train.log:8")
    assert [(device.kind, device.memory_mib) for device in facts.devices] == [("CUDA:0", 6144), ("CUDA:1", 24260)]
    assert facts.optimizer == LogOptimizer(
        name="AdamW", lr=0.001429, momentum=0.9, automatic=True, place="train.log:12"
    )
    assert facts.arguments["device"] == "[0, 1]"
    assert facts.arguments["time"] is None
    assert events(facts) == [
        ("no_labels", "train.log:10"),
        ("exception", "train.log:19"),
        ("out_of_memory", "train.log:19"),
    ]
    assert (facts.epochs_begun, facts.epochs_completed) == (1, None)


def test_ultralytics_8_4_that_halved_its_batch_and_was_killed() -> None:
    facts = read(ULTRALYTICS_8_4)
    assert (facts.batch, facts.image_size, facts.amp) == (32, 1280, "passed")
    assert facts.optimizer is not None
    assert (facts.optimizer.name, facts.optimizer.automatic) == ("MuSGD", True)
    assert [code for code, _ in events(facts)] == ["batch_reduced", "nan_recovery", "process_ended"]
    assert (facts.epochs_begun, facts.epochs_planned, facts.peak_memory_gb) == (2, 3, 14.1)


def test_yolov5_counts_from_zero_and_names_missing_and_empty_apart() -> None:
    facts = read(YOLOV5_6)
    assert (facts.framework, facts.version, facts.torch) == ("yolov5", "6.1-172-ge305aba", "1.11.0+cu113")
    assert facts.devices[0].name == "A100-SXM4-40GB"
    assert facts.scans[0] == LogScan(
        split="train", found=128, backgrounds=2, missing=0, empty=2, corrupt=1, place="train.log:7"
    )
    assert facts.scans[1].backgrounds == 5
    assert (facts.epochs_begun, facts.epochs_completed, facts.epochs_planned) == (3, 3, 3)
    assert (facts.optimizer, facts.arguments["freeze"]) == (LogOptimizer(name="SGD", place="train.log:6"), "[0]")
    assert facts.events == ()


def test_yolov9_is_told_from_its_version() -> None:
    facts = read(YOLOV9)
    assert (facts.framework, facts.version) == ("yolov9", "0.1-104-g5b1ea9a")
    assert events(facts) == [("cuda_error", "train.log:7")]


def test_of_several_trainings_the_one_that_saved_into_this_folder_is_read() -> None:
    log = ULTRALYTICS_8_3 + ULTRALYTICS_8_4
    assert read(log).version == "8.4.130"
    facts = read(log, run_name="train2")
    assert (facts.version, facts.events[0].code, facts.epochs_begun) == ("8.3.62", "log_several_trainings", 1)
    assert "process_ended" not in {note.code for note in facts.events}
    assert read_console_log(from_text(log, source="x"), run_name="train9", strict=True) is None
    assert read_console_log(from_text("", source="x"), run_name="train9", strict=True) is None


def test_a_resumed_training_is_the_same_one() -> None:
    again = ULTRALYTICS_8_4.replace("resume=False", "resume=/content/runs/detect/train4/weights/last.pt")
    facts = read(ULTRALYTICS_8_4 + again)
    assert [code for code, _ in events(facts)].count("process_ended") == 2


@pytest.mark.parametrize("text", ["", "\n\n", "requirements\ntorch==2.0\n", "train: 3 apples\n", "\x00\xff\x1b["])
def test_what_is_no_log_of_a_training_gives_none(text: str) -> None:
    assert read_console_log(from_text(text, source="notes.txt")) is None


def test_a_traceback_that_the_log_ends_in() -> None:
    facts = read(YOLOV5_6 + 'Traceback (most recent call last):\n  File "train.py", line 1\n')
    assert facts.events[-1].code == "exception"
    assert "ends in it" in facts.events[-1].detail


def test_repeated_events_are_counted() -> None:
    facts = read(YOLOV5_6 + "WARNING: NMS time limit 0.580s exceeded\n" * 500)
    assert len(facts.events) == 11
    assert facts.events[-1].detail == "490 more of these."


def test_a_long_log_is_read_at_both_ends_with_its_lines_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_text, "MAX_BYTES", 8192)
    path = tmp_path / "train.log"
    path.write_text(ULTRALYTICS_8_4 + "nothing to see\n" * 10_000 + "RuntimeError: cuDNN error: X\n")
    facts = read_console_log(read_log(path, source="train.log"))
    assert facts is not None
    assert facts.version == "8.4.130"
    assert facts.events[-2].place == f"train.log:{ULTRALYTICS_8_4.count(chr(10)) + 10_001}"
    assert facts.events[-1].code == "log_cut"


HOSTILE = (
    "Ultralytics " + "a " * 100_000,
    "Ultralytics " + "a" * 8000 + " torch",
    "train: " + "9" * 8000 + " images",
    "train: " * 1200 + "1 images, 2 backgrounds",
    "engine/trainer: " + "a=" * 4000 + "[",
    "CPU (" * 1600 + "torch ",
    "Starting " * 900 + "training for",
    "optimizer: " * 700 + "SGD(lr=",
    "\x1b[" * 4000 + "0" * 4000,
    "Traceback (most recent call last)" * 200,
    "\r" * 8000,
)


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_line_takes_no_longer_than_others(line: str) -> None:
    start = time.process_time()
    read_console_log(from_text((line + "\n") * (2_000_000 // len(line)), source="train.log"))
    assert time.process_time() - start < 20


@given(st.text(max_size=300), st.integers(0, 2**32))
def test_any_text_is_read(text: str, seed: int) -> None:
    log = list((ULTRALYTICS_8_0 + YOLOV5_6).splitlines(keepends=True))
    randomness = random.Random(seed)
    randomness.shuffle(log)
    log.insert(randomness.randrange(len(log)), text)
    facts = read_console_log(from_text("".join(log), source="train.log"))
    assert facts is None or LogFacts.model_validate_json(facts.model_dump_json()) == facts


@given(st.binary(max_size=400))
def test_places_are_lines_of_the_file(content: bytes) -> None:
    text = content.decode("latin-1") + "\nCUDA error\r\n"
    log = from_text(text, source="x")
    found = texts_with(log, (b"CUDA error",))
    assert found
    assert found[-1].line == 1 + text.replace("\x1b", "").count("\n") - 1 or "\x1b" in text
