"""A worker process with a real broker and database: it hears the bell, and every way in which an audit ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from sqlalchemy import text

from runaudit_service.store.bell import Bell
from tests.conftest import wait_until
from tests.worker.children import alive, freeze_child
from tests.worker.rows import Submitted, audit_of, events_of, job_of, reports_of, request_cancel, submit
from tests.worker.workplace import Workplace, curves_run


def ended(workplace: Workplace, submitted: Submitted) -> bool:
    return audit_of(workplace.engine, submitted).ended_at is not None


def submit_run(workplace: Workplace, *, queue: str = "cpu", max_attempts: int = 3) -> Submitted:
    digest = workplace.store(curves_run())
    submitted = submit(workplace.engine, run_sha256=digest, queue=queue, max_attempts=max_attempts)
    assert Bell(workplace.broker_url).ring(queue)
    return submitted


def test_a_run_comes_back_with_a_report(workplace: Workplace) -> None:
    with workplace.worker():
        submitted = submit_run(workplace)
        wait_until(lambda: ended(workplace, submitted))
    audit = audit_of(workplace.engine, submitted)
    (report,) = reports_of(workplace.engine, submitted)
    assert audit.state == "succeeded"
    assert report["schema_version"] == "1"
    assert (audit.verdict, audit.headline) == (report["verdict"], report["headline"])
    assert audit.framework == report["run"]["framework"] == "ultralytics"
    assert audit.causes == [finding["cause"] for finding in report["findings"]]
    assert report["run"]["epochs_run"] == 12
    assert events_of(workplace.engine, submitted) == ["audit.queued", "audit.started", "audit.succeeded"]
    assert workplace.job_folders == []


def test_work_that_waits_is_done_one_after_another_on_one_bell(workplace: Workplace) -> None:
    digest = workplace.store(curves_run())
    waiting = [submit(workplace.engine, run_sha256=digest, queue="gpu") for _ in range(3)]
    assert Bell(workplace.broker_url).ring("gpu")
    with workplace.worker():
        wait_until(lambda: all(ended(workplace, submitted) for submitted in waiting), seconds=40)
    assert {audit_of(workplace.engine, submitted).state for submitted in waiting} == {"succeeded"}


def test_bells_of_work_that_is_done_are_forgotten(workplace: Workplace) -> None:
    digest = workplace.store(curves_run())
    bell = Bell(workplace.broker_url)
    waiting = [submit(workplace.engine, run_sha256=digest) for _ in range(2)]
    assert all(bell.ring("cpu") for _ in range(50))
    with workplace.worker():
        wait_until(lambda: all(ended(workplace, submitted) for submitted in waiting), seconds=40)
        wait_until(lambda: bell.waiting("cpu") == 0)
        submitted = submit_run(workplace)
        wait_until(lambda: ended(workplace, submitted))
    assert workplace.log("worker").count("received") < 10


def test_the_queues_of_a_worker_have_their_turns_though_one_has_the_bell(workplace: Workplace) -> None:
    digest = workplace.store(curves_run())
    waiting = [submit(workplace.engine, run_sha256=digest, queue=name) for name in ("gpu", "gpu", "cpu", "cpu")]
    assert Bell(workplace.broker_url).ring("gpu")
    with workplace.worker():
        wait_until(lambda: all(ended(workplace, submitted) for submitted in waiting), seconds=40)
    begun = sorted(waiting, key=lambda submitted: str(audit_of(workplace.engine, submitted).started_at))
    assert [job_of(workplace.engine, submitted).queue for submitted in begun] == ["gpu", "cpu", "gpu", "cpu"]


def test_an_archive_that_can_not_be_read_fails_at_once_with_its_code(workplace: Workplace) -> None:
    with workplace.worker():
        submitted = submit(workplace.engine, run_sha256=workplace.store(curves_run()[:200]))
        assert Bell(workplace.broker_url).ring("cpu")
        wait_until(lambda: ended(workplace, submitted))
    audit = audit_of(workplace.engine, submitted)
    assert (audit.state, audit.attempt) == ("failed", 1)
    assert audit.error is not None
    assert audit.error["code"] == "archive_truncated"
    assert reports_of(workplace.engine, submitted) == []
    assert workplace.job_folders == []


def test_an_artifact_that_is_gone_fails_the_audit_with_its_code(workplace: Workplace) -> None:
    with workplace.worker():
        submitted = submit(workplace.engine, run_sha256="c" * 64)
        assert Bell(workplace.broker_url).ring("cpu")
        wait_until(lambda: ended(workplace, submitted))
    audit = audit_of(workplace.engine, submitted)
    assert audit.state == "failed"
    assert audit.error is not None
    assert audit.error["code"] == "artifact_missing"
    assert job_of(workplace.engine, submitted).attempt == 1
    assert events_of(workplace.engine, submitted) == ["audit.queued", "audit.started", "audit.failed"]


def test_an_end_that_the_database_refuses_is_told(workplace: Workplace) -> None:
    with workplace.worker() as worker:
        submitted = submit_run(workplace, max_attempts=1)
        child = freeze_child(worker.pid)
        with workplace.engine.begin() as connection:
            connection.execute(text("ALTER TABLE reports RENAME TO reports_elsewhere"))
        os.kill(child, signal.SIGCONT)
        wait_until(lambda: ended(workplace, submitted))
    audit = audit_of(workplace.engine, submitted)
    assert (audit.state, audit.attempt) == ("failed", 1)
    assert audit.error is not None
    assert "refused to store" in audit.error["detail"]


def test_cancelling_ends_the_child_and_the_audit(workplace: Workplace) -> None:
    with workplace.worker() as worker:
        submitted = submit_run(workplace)
        child = freeze_child(worker.pid)
        request_cancel(workplace.engine, submitted)
        wait_until(lambda: ended(workplace, submitted))
        assert not alive(child)
    assert audit_of(workplace.engine, submitted).state == "cancelled"
    assert events_of(workplace.engine, submitted)[-1] == "audit.cancelled"
    assert workplace.job_folders == []


def test_a_worker_told_to_stop_finishes_what_ends_within_its_grace(workplace: Workplace) -> None:
    with workplace.worker() as worker:
        submitted = submit_run(workplace)
        child = freeze_child(worker.pid)
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in workplace.log("worker"))
        os.kill(child, signal.SIGCONT)
        assert worker.wait(20) == 0
    assert audit_of(workplace.engine, submitted).state == "succeeded"


def test_a_worker_told_to_stop_begins_nothing_more_and_passes_the_bell_on(workplace: Workplace) -> None:
    with workplace.worker() as worker:
        submitted = submit_run(workplace)
        child = freeze_child(worker.pid)
        waits = submit(workplace.engine, run_sha256=workplace.store(curves_run()))
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in workplace.log("worker"))
        os.kill(child, signal.SIGCONT)
        assert worker.wait(20) == 0
    assert audit_of(workplace.engine, submitted).state == "succeeded"
    assert job_of(workplace.engine, waits).fence == 0
    assert Bell(workplace.broker_url).waiting("cpu") == 1


def test_a_worker_told_to_stop_hands_back_what_does_not(workplace: Workplace) -> None:
    workplace.grace_seconds = 1
    with workplace.worker() as worker:
        submitted = submit_run(workplace, max_attempts=1)
        child = freeze_child(worker.pid)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
        assert not alive(child)
    job = job_of(workplace.engine, submitted)
    assert (job.state, job.attempt) == ("queued", 0)
    assert audit_of(workplace.engine, submitted).state == "queued"
    assert workplace.job_folders == []
    assert Bell(workplace.broker_url).ring("cpu")
    with workplace.worker("next"):
        wait_until(lambda: ended(workplace, submitted))
    assert audit_of(workplace.engine, submitted).state == "succeeded"


def test_a_worker_told_twice_does_not_wait(workplace: Workplace) -> None:
    workplace.grace_seconds = 300
    with workplace.worker() as worker:
        submitted = submit_run(workplace)
        freeze_child(worker.pid)
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in workplace.log("worker"))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
    assert job_of(workplace.engine, submitted).state == "queued"


def test_the_worker_never_loads_a_model(workplace: Workplace) -> None:
    with workplace.worker() as worker:
        submitted = submit_run(workplace)
        wait_until(lambda: ended(workplace, submitted))
        mapped = Path(f"/proc/{worker.pid}/maps").read_text()
    assert "libtorch" not in mapped
    assert "psycopg" in mapped
