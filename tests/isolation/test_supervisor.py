"""Children end when they must: at their deadline, on request, when killed, and never outlive the call."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from runaudit.errors import CancelledError, ChildError, ChildTimeoutError, RunNotFoundError
from runaudit.isolation.audit import read_report, run_audit
from runaudit.isolation.job import JobFolder, JobSpec, Progress, Source
from runaudit.isolation.process import child_environment, start_child
from runaudit.isolation.supervisor import run_child


def children() -> list[int]:
    """Pids of this process' living children, zombies left out."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                found.append(int(pid))
    return found


def job_folder(tmp_path: Path, run: Path) -> JobFolder:
    """A job folder whose run is the folder `run`."""
    folder = JobFolder(tmp_path / "job")
    folder.root.mkdir()
    spec = JobSpec(run=Source(kind="folder", path=str(run)), depth="curves")
    folder.spec.write_text(spec.model_dump_json())
    return folder


def ignore(progress: Progress) -> None:
    """Progress is of no interest here."""


@pytest.fixture
def before() -> set[int]:
    return set(children())


def test_a_child_past_its_deadline_is_killed(tmp_path: Path, before: set[int]) -> None:
    with pytest.raises(ChildTimeoutError) as caught:
        run_child("ingest", job_folder(tmp_path, tmp_path), seconds=0, on_progress=ignore, should_stop=lambda: False)
    assert caught.value.error_code == "audit_timed_out"
    assert set(children()) <= before


def test_a_child_is_killed_on_request(tmp_path: Path, before: set[int]) -> None:
    start = time.monotonic()
    with pytest.raises(CancelledError):
        run_child("ingest", job_folder(tmp_path, tmp_path), seconds=60, on_progress=ignore, should_stop=lambda: True)
    assert time.monotonic() - start < 30
    assert set(children()) <= before


def test_a_killed_child_is_an_error_that_may_be_tried_again(tmp_path: Path, before: set[int]) -> None:
    def kill() -> bool:
        for pid in set(children()) - before:
            os.kill(pid, signal.SIGKILL)
        return False

    with pytest.raises(ChildError, match="SIGKILL") as caught:
        run_child("ingest", job_folder(tmp_path, tmp_path), seconds=60, on_progress=ignore, should_stop=kill)
    assert caught.value.error_code == "child_crashed"
    assert not isinstance(caught.value, ChildTimeoutError)


def test_an_unreadable_input_comes_back_as_the_error_that_the_child_met(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    job = tmp_path / "job"
    job.mkdir()
    spec = JobSpec(run=Source(kind="folder", path=str(empty)), depth="curves")
    with pytest.raises(RunNotFoundError) as caught:
        run_audit(spec, job, on_progress=ignore, should_stop=lambda: False)
    assert caught.value.error_code == "run_not_found"


def test_a_child_knows_no_secret_of_its_parent(
    tmp_path: Path, before: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNAUDIT_DATABASE_URL", "postgresql://user:hidden@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("HOME", "/home/hidden")
    seen: list[bytes] = []

    def look() -> bool:
        seen.extend(Path(f"/proc/{pid}/environ").read_bytes() for pid in set(children()) - before)
        return True

    with pytest.raises(CancelledError):
        run_child("ingest", job_folder(tmp_path, tmp_path), seconds=60, on_progress=ignore, should_stop=look)
    assert seen
    assert all(b"hidden" not in environment for environment in seen)
    assert "RUNAUDIT_DATABASE_URL" not in child_environment("evaluate", JobFolder(tmp_path))


def test_a_child_that_waits_is_given_its_job_or_goes_away(tmp_path: Path, before: set[int]) -> None:
    folder = JobFolder(tmp_path / "job")
    folder.root.mkdir()
    child = start_child("ingest", folder)
    assert child.process.poll() is None
    job_folder_exists = folder.spec.exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    folder.spec.write_text(JobSpec(run=Source(kind="folder", path=str(empty)), depth="curves").model_dump_json())
    with pytest.raises(RunNotFoundError):
        run_child("ingest", folder, seconds=60, on_progress=ignore, should_stop=lambda: False, started=child)
    assert not job_folder_exists
    # A parent that dies closes the input of its child.
    waiting = start_child("ingest", folder)
    assert waiting.process.stdin is not None
    waiting.process.stdin.close()
    assert waiting.process.wait(timeout=60) == 0
    waiting.end()
    waiting.end()
    assert set(children()) <= before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("x" * 2000, "report_too_large"),
        ('{"schema_version": "1", "verdict": "pass"}', "report_invalid"),
        ('{"verdict": NaN', "report_invalid"),
    ],
)
def test_a_report_is_not_taken_on_trust(tmp_path: Path, body: str, code: str) -> None:
    folder = JobFolder(tmp_path)
    folder.report.write_text(body)
    with pytest.raises(ChildError) as caught:
        read_report(folder, limit=1000)
    assert caught.value.error_code == code
