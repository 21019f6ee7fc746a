"""`runaudit check` as a process: formats, exit codes, and what a signal leaves behind."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from runaudit.causes import CAUSES
from runaudit.reports.schema import Report
from tests.cli.command import COMMAND, NO_SERVICE, runaudit

COLUMNS = (
    *("epoch", "time", "train/box_loss", "train/cls_loss", "train/dfl_loss"),
    *("metrics/precision(B)", "metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)"),
    *("val/box_loss", "val/cls_loss", "val/dfl_loss", "lr/pg0", "lr/pg1", "lr/pg2"),
)


def write_run(folder: Path, *, epochs: int, diverges_at: int | None = None) -> Path:
    """A run's records as ultralytics 8.4 writes them: it converges, or its losses turn to nan at an epoch."""
    folder.mkdir(parents=True)
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for epoch in range(1, epochs + 1):
            left = 0.9**epoch
            rate = 0.01 * (1 - epoch / epochs) + 0.0001
            broken = diverges_at is not None and epoch >= diverges_at
            losses = ["nan"] * 3 if broken else [0.5 + left, 0.4 + left, 0.9 + left]
            metrics = [0.0] * 4 if broken else [0.8 * (1 - left), 0.8 * (1 - left), 0.85 * (1 - left), 0.6 * (1 - left)]
            writer.writerow([epoch, epoch * 3.5, *losses, *metrics, *losses, rate, rate, rate])
    (folder / "args.yaml").write_text(
        f"task: detect\nmode: train\nmodel: yolo11n.yaml\ndata: data.yaml\nepochs: {epochs}\npatience: 100\n"
        "batch: 16\nimgsz: 640\noptimizer: SGD\nlr0: 0.01\nlrf: 0.01\nseed: 0\n"
    )
    return folder


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    return write_run(tmp_path / "healthy", epochs=80)


@pytest.fixture
def diverged(tmp_path: Path) -> Path:
    return write_run(tmp_path / "diverged", epochs=40, diverges_at=12)


def test_a_run_that_diverged_exits_with_1_and_says_why(diverged: Path) -> None:
    ended = runaudit("check", diverged, "--depth", "curves", "--format", "json")
    assert ended.returncode == 1, ended.stderr
    report = Report.model_validate_json(ended.stdout)
    assert report.verdict == "fail"
    assert "numerical_divergence" in {finding.cause for finding in report.findings}
    assert {check.cause for check in report.checks} == set(CAUSES)
    assert "read run" in ended.stderr


def test_curves_alone_never_pass_and_exit_with_0_without_findings(healthy: Path) -> None:
    ended = runaudit("check", healthy, "--depth", "curves", "--format", "json")
    report = json.loads(ended.stdout)
    assert report["verdict"] in ("inconclusive", "warn")
    assert ended.returncode == 0, report["findings"]


def test_the_report_as_json_follows_its_schema(diverged: Path) -> None:
    ended = runaudit("check", diverged, "--depth", "curves", "--format", "json")
    jsonschema.validate(json.loads(ended.stdout), Report.model_json_schema())


@pytest.mark.parametrize(
    ("format", "beginning"),
    [
        ("text", "FAIL  "),
        ("markdown", "# Runaudit: FAIL"),
        ("html", "<!DOCTYPE html>\n<html"),
        ("junit", '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites '),
        ("sarif", '{\n  "$schema": '),
    ],
)
def test_the_report_in_a_file(diverged: Path, tmp_path: Path, format: str, beginning: str) -> None:
    ended = runaudit("check", diverged, "--depth", "curves", "--format", format, "-o", tmp_path / "report")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "verdict: fail" in ended.stderr
    written = (tmp_path / "report").read_text(encoding="utf-8")
    assert "numerical_divergence" in written and written.startswith(beginning)


def test_fail_on_moves_the_bar(healthy: Path, diverged: Path) -> None:
    severities = {
        finding["severity"]
        for finding in json.loads(runaudit("check", diverged, "--depth", "curves", "--format", "json").stdout)[
            "findings"
        ]
    }
    for bar, grave in (("critical", {"critical"}), ("minor", {"critical", "major", "minor"})):
        ended = runaudit("check", diverged, "--depth", "curves", "--fail-on", bar)
        assert ended.returncode == (1 if severities & grave else 0)


def test_an_archive_is_checked_as_its_folder_is(diverged: Path, tmp_path: Path) -> None:
    import shutil  # noqa: PLC0415

    archive = shutil.make_archive(str(tmp_path / "run"), "zip", diverged)
    ended = runaudit("check", archive, "--depth", "curves", "--format", "json")
    assert ended.returncode == 1, ended.stderr
    assert json.loads(ended.stdout)["verdict"] == "fail"


def test_a_policy_that_is_read_and_cannot_be_judged_is_not_broken(healthy: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("min_map50_95: 0.5\n")
    ended = runaudit("check", healthy, "--depth", "curves", "--policy", tmp_path / "policy.yaml", "--format", "json")
    report = json.loads(ended.stdout)
    assert [rule["rule"] for rule in report["policy"]] == ["min_map50_95"]
    assert report["policy"][0]["outcome"] in ("not_run", "inconclusive")
    assert ended.returncode == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--labels", "ada=nowhere"], "path_not_found"),
        (["--labels", "ada"], "usage"),
        (["--labels", "a/b=."], "usage"),
        (["--labels", "ada=.", "--depth", "curves"], "usage"),
        (["--labels", "ada=."], "labels_without_data"),
        (["--data", "nowhere.yaml"], "path_not_found"),
        (["--policy", "nowhere.yaml"], "path_not_found"),
    ],
)
def test_what_is_asked_for_in_vain_is_told(healthy: Path, options: list[str], code: str) -> None:
    ended = runaudit("check", healthy, *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith(f"[{code}]\n")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("min_map50_95: [", "yaml_invalid"),
        ("min_map50_95: high\n", "policy_invalid"),
        ("min_map51: 0.5\n", "policy_invalid"),
        ("min_map50_95: 1.5\n", "policy_invalid"),
        ('{"min_map50": -1}', "policy_invalid"),
    ],
)
def test_a_policy_that_says_nothing_possible_is_told_with_its_line(
    healthy: Path, tmp_path: Path, content: str, code: str
) -> None:
    (tmp_path / "policy.yaml").write_text(content)
    ended = runaudit("check", healthy, "--depth", "curves", "--policy", tmp_path / "policy.yaml")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "policy.yaml" in ended.stderr
    assert f"[{code}]" in ended.stderr


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("nowhere", None, "path_not_found"), ("run.zip", b"PK\x03\x04 cut short", None), ("empty", {}, "run_not_found")],
)
def test_input_that_cannot_be_read_exits_with_2(
    tmp_path: Path, name: str, content: bytes | dict[str, str] | None, code: str | None
) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        (tmp_path / name).mkdir()
    ended = runaudit("check", tmp_path / name, "--depth", "curves")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    assert f"[{code}]" in ended.stderr if code else "[archive_" in ended.stderr or "[zip_" in ended.stderr


def test_a_missing_extra_is_named(healthy: Path, tmp_path: Path) -> None:
    """An interpreter that cannot find torch stands for one without the extra: the import system says the same."""
    hidden = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'torch' else found(name, *rest)\n"
        f"sys.argv = ['runaudit', 'check', {str(healthy)!r}]\n"
        "from runaudit.cli import main\n"
        "main()\n"
    )
    ended = subprocess.run([COMMAND[0], "-c", hidden], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "pip install 'runaudit[audit]'" in ended.stderr
    assert "[extra_missing]" in ended.stderr


@contextmanager
def halted_check(run: Path, temporary: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running check whose child process stands still, and the child's pid."""
    temporary.mkdir()
    checking = subprocess.Popen(
        [*COMMAND, "check", str(run), "--depth", "curves"],
        env=os.environ | NO_SERVICE | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        child = wait_for_child(checking)
        os.kill(child, signal.SIGSTOP)
        yield checking, child
    finally:
        checking.kill()
        checking.communicate(timeout=30)


def wait_for_child(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for pid in children.read_text().split():
            if b"runaudit.isolation.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        time.sleep(0.005)
    raise TimeoutError("no child process was started")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_check_its_child_and_its_folder(
    healthy: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with halted_check(healthy, tmp_path / "temporary") as (checking, child):
        checking.send_signal(number)
        _, said = checking.communicate(timeout=30)
    assert checking.returncode == code
    assert "[cancelled]" in said and "Traceback" not in said
    assert not Path(f"/proc/{child}").exists()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_child_that_is_killed_exits_with_3(healthy: Path, tmp_path: Path) -> None:
    with halted_check(healthy, tmp_path / "temporary") as (checking, child):
        os.kill(child, signal.SIGKILL)
        _, said = checking.communicate(timeout=30)
    assert checking.returncode == 3
    assert "[child_crashed]" in said and "SIGKILL" in said


def test_an_error_that_quotes_a_run_moves_nothing_on_the_terminal(healthy: Path) -> None:
    (healthy / "args.yaml").write_text('"a\\e]0;title\\a\\e[31m": 1\n' * 2)
    ended = runaudit("check", healthy, "--depth", "curves")
    assert ended.returncode == 2
    assert "[yaml_duplicate_key]" in ended.stderr
    assert not {"\x1b", "\a"} & set(ended.stderr)


@pytest.mark.parametrize("bad", [b"\xff.jpg", b"images\xff/a.jpg"])
def test_names_that_are_no_utf_8_are_told(healthy: Path, tmp_path: Path, bad: bytes) -> None:
    data = tmp_path / "data"
    image = Path(os.fsdecode(bytes(data) + b"/images/" + bad))
    image.parent.mkdir(parents=True)
    assert cv2.imwrite(str(data / "a.png"), np.zeros((32, 32, 3), dtype=np.uint8))
    (data / "a.png").rename(image.with_suffix(".png"))
    (data / "data.yaml").write_text("val: images\nnames: [a]\n")
    ended = runaudit("check", healthy, "--data", data)
    assert (ended.returncode, "[file_name_encoding]" in ended.stderr) == (2, True), ended.stderr


def test_a_run_whose_own_name_is_no_utf_8_is_told(healthy: Path) -> None:
    renamed = healthy.rename(Path(os.fsdecode(bytes(healthy.parent) + b"/\xff")))
    ended = runaudit("check", renamed, "--depth", "curves")
    assert (ended.returncode, "[file_name_encoding]" in ended.stderr) == (2, True), ended.stderr


NO_FILE = ("pipe", "socket", "device")


def special(kind: str, folder: Path) -> Path:
    """A path that is neither a file nor a folder; opening the pipe would wait for a writer for ever."""
    path = folder / "special.yaml"
    if kind == "device":
        return Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(path)
        return path
    here = Path.cwd()
    os.chdir(folder)  # a socket's name has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)
    return path


@pytest.mark.parametrize("kind", NO_FILE)
@pytest.mark.parametrize("option", ["RUN", "--data", "--labels", "--policy"])
def test_what_is_no_file_is_told_and_never_opened(healthy: Path, tmp_path: Path, option: str, kind: str) -> None:
    path = special(kind, tmp_path)
    given = {
        "RUN": (path,),
        "--data": (healthy, "--data", path),
        "--labels": (healthy, "--labels", f"ada={path}"),
        "--policy": (healthy, "--policy", path),
    }[option]
    ended = runaudit("check", *given, seconds=30)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert kind in ended.stderr
    assert ended.stderr.endswith("[path_not_regular]\n")


@pytest.mark.parametrize("where", ["no/report.txt", "healthy", "healthy/results.csv/report.txt"])
def test_an_output_that_cannot_be_written_is_told_before_the_audit_starts(
    healthy: Path, tmp_path: Path, where: str
) -> None:
    ended = runaudit("check", healthy, "--depth", "curves", "-o", tmp_path / where)
    assert ended.returncode == 2
    assert "[output_unwritable]" in ended.stderr and "read run" not in ended.stderr


def test_an_output_is_left_as_it_was_where_the_audit_fails(tmp_path: Path, healthy: Path) -> None:
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text("the report of before")
    (healthy / "args.yaml").write_text("task: [detect")
    for output in (old, new):
        assert runaudit("check", healthy, "--depth", "curves", "-o", output).returncode == 2
    assert old.read_text() == "the report of before" and not new.exists()


@pytest.mark.parametrize("name", ["weights/best.pt", "results.csv", "args.yaml"])
def test_a_file_of_a_run_is_answered_with_its_folder(healthy: Path, name: str) -> None:
    (healthy / "weights").mkdir()
    (healthy / "weights" / "best.pt").write_bytes(b"PK\3\4")
    ended = runaudit("check", healthy / name, "--depth", "curves")
    assert ended.returncode == 2
    assert "[run_is_a_file]" in ended.stderr and f"here {healthy}" in ended.stderr
