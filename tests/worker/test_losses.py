"""What is lost comes back, once: bells, brokers, databases, workers, children. All of it real, all of it killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from runaudit_service.embedded import postgres
from runaudit_service.embedded.part import stop
from runaudit_service.store.bell import Bell
from runaudit_service.store.blobs import FolderBlobs
from runaudit_service.store.database import sync_engine
from runaudit_service.store.migrate import upgrade
from tests.conftest import wait_until
from tests.worker.broker import Broker
from tests.worker.children import alive, children, fork_server, freeze_child
from tests.worker.rows import Submitted, audit_of, events_of, job_of, reports_of, submit
from tests.worker.workplace import Workplace, curves_run

LEASE_SECONDS = 5.0
SLACK_SECONDS = 40.0
"""what the issue grants beyond the lease and the audit's own running time"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "valkey")
    yield broker
    broker.stop()


def submit_run(workplace: Workplace, *, max_attempts: int = 3) -> Submitted:
    return submit(workplace.engine, run_sha256=workplace.store(curves_run()), max_attempts=max_attempts)


def ended(workplace: Workplace, submitted: Submitted) -> bool:
    return audit_of(workplace.engine, submitted).ended_at is not None


def assert_finished_once(workplace: Workplace, submitted: Submitted) -> None:
    assert audit_of(workplace.engine, submitted).state == "succeeded"
    assert len(reports_of(workplace.engine, submitted)) == 1
    assert events_of(workplace.engine, submitted) == ["audit.queued", "audit.started", "audit.succeeded"]


def test_a_lost_bell_is_rung_again(workplace: Workplace) -> None:
    with workplace.worker(), workplace.reaper():
        submitted = submit_run(workplace)
        wait_until(lambda: ended(workplace, submitted))
    assert_finished_once(workplace, submitted)


def test_an_audit_submitted_while_the_broker_is_down_runs_when_it_is_back(workplace: Workplace, broker: Broker) -> None:
    workplace.broker_url = broker.url
    broker.start()
    with workplace.worker(), workplace.reaper():
        wait_until(lambda: "ready" in workplace.log("worker"))
        broker.kill()
        submitted = submit_run(workplace)
        assert not Bell(broker.url).ring("cpu")
        time.sleep(3)
        assert audit_of(workplace.engine, submitted).state == "queued"
        broker.start()
        wait_until(lambda: ended(workplace, submitted), seconds=40)
    assert_finished_once(workplace, submitted)


def test_a_worker_and_a_reaper_that_start_before_the_broker_wait_for_it(workplace: Workplace, broker: Broker) -> None:
    workplace.broker_url = broker.url
    with workplace.worker() as worker, workplace.reaper() as reaper:
        submitted = submit_run(workplace)
        time.sleep(4)
        assert worker.poll() is None
        assert reaper.poll() is None
        broker.start()
        wait_until(lambda: ended(workplace, submitted), seconds=40)
    assert_finished_once(workplace, submitted)


def test_a_killed_worker_s_audit_finishes_once_with_another(workplace: Workplace) -> None:
    with workplace.reaper(), workplace.worker("first") as first:
        submitted = submit_run(workplace)
        child = freeze_child(first.pid)
        with workplace.worker("second"):
            begun = time.monotonic()
            first.kill()
            wait_until(lambda: not alive(child), seconds=5, what="the child of the killed worker ending")
            wait_until(lambda: ended(workplace, submitted), seconds=LEASE_SECONDS + SLACK_SECONDS + 5)
            took = time.monotonic() - begun
    assert_finished_once(workplace, submitted)
    assert job_of(workplace.engine, submitted).attempt == 2
    assert took < LEASE_SECONDS + SLACK_SECONDS


def test_what_a_killed_worker_left_on_disk_goes_when_the_next_starts(workplace: Workplace) -> None:
    with workplace.reaper(), workplace.worker("first") as first:
        submitted = submit_run(workplace)
        freeze_child(first.pid)
        first.kill()
        first.wait()
        assert workplace.job_folders
        with workplace.worker("second"):
            wait_until(lambda: ended(workplace, submitted), seconds=30)
    assert workplace.job_folders == []


def test_an_audit_that_always_loses_its_worker_fails_in_the_end(workplace: Workplace) -> None:
    workplace.lease_seconds = 1
    with workplace.reaper():
        submitted = submit_run(workplace, max_attempts=2)
        for number in range(2):
            with workplace.worker(f"worker-{number}") as worker:
                freeze_child(worker.pid)
                worker.kill()
        wait_until(lambda: ended(workplace, submitted))
    audit = audit_of(workplace.engine, submitted)
    assert audit.state == "failed"
    assert audit.error is not None
    assert audit.error["code"] == "worker_lost"
    assert events_of(workplace.engine, submitted) == ["audit.queued", "audit.started", "audit.failed"]


def test_a_killed_child_is_tried_again(workplace: Workplace) -> None:
    with workplace.reaper(), workplace.worker() as worker:
        submitted = submit_run(workplace)
        begun = time.monotonic()
        os.kill(freeze_child(worker.pid), signal.SIGKILL)
        wait_until(lambda: ended(workplace, submitted), seconds=30)
        took = time.monotonic() - begun
    assert_finished_once(workplace, submitted)
    assert job_of(workplace.engine, submitted).attempt == 2
    assert took < LEASE_SECONDS + SLACK_SECONDS


def test_a_killed_fork_server_costs_an_attempt(workplace: Workplace) -> None:
    with workplace.reaper(), workplace.worker() as worker:
        submitted = submit_run(workplace)
        child = freeze_child(worker.pid)
        os.kill(fork_server(worker.pid), signal.SIGKILL)
        wait_until(lambda: not alive(child), what="the child of the killed server ending")
        wait_until(lambda: ended(workplace, submitted), seconds=30)
    assert_finished_once(workplace, submitted)
    assert job_of(workplace.engine, submitted).attempt == 2


def test_a_child_that_always_dies_fails_the_audit(workplace: Workplace) -> None:
    with workplace.reaper(), workplace.worker() as worker:
        submitted = submit_run(workplace, max_attempts=2)
        seen: set[int] = set()
        while not ended(workplace, submitted):
            for child in set(children(worker.pid)) - seen:
                seen.add(child)
                os.kill(child, signal.SIGKILL)
            time.sleep(0.01)
    audit = audit_of(workplace.engine, submitted)
    assert (audit.state, audit.attempt) == ("failed", 2)
    assert audit.error is not None
    assert audit.error["code"] == "child_crashed"


def test_a_worker_that_comes_back_from_the_dead_writes_nothing(workplace: Workplace) -> None:
    with workplace.reaper(), workplace.worker("zombie") as zombie:
        submitted = submit_run(workplace)
        child = freeze_child(zombie.pid)
        os.kill(zombie.pid, signal.SIGSTOP)
        with workplace.worker("second"):
            wait_until(lambda: ended(workplace, submitted), seconds=30)
        assert_finished_once(workplace, submitted)
        before = audit_of(workplace.engine, submitted).version
        os.kill(zombie.pid, signal.SIGCONT)
        wait_until(lambda: "taken away" in workplace.log("zombie"))
        assert not alive(child)
    assert_finished_once(workplace, submitted)
    assert audit_of(workplace.engine, submitted).version == before


def test_one_reaper_is_active_and_another_takes_over(workplace: Workplace) -> None:
    with workplace.reaper("first") as first, workplace.reaper("second") as second:
        wait_until(lambda: "begins" in workplace.log("first") + workplace.log("second"))
        locks = text(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database "
            "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
        )

        def holders() -> int:
            with workplace.engine.connect() as connection:
                return int(connection.execute(locks).scalar_one())

        wait_until(lambda: holders() == 1)
        time.sleep(3)
        assert holders() == 1
        first.kill()
        second_alone = second.poll() is None
        assert second_alone
        with workplace.worker():
            submitted = submit_run(workplace)
            wait_until(lambda: ended(workplace, submitted), seconds=30)
    assert_finished_once(workplace, submitted)


@pytest.mark.slow  # about 15 s: a database of its own is made, killed in the middle of an audit, and recovers
def test_a_database_that_goes_away_costs_a_delay_only(workplace: Workplace, tmp_path: Path) -> None:
    server = postgres.prepare(tmp_path / "postgres")
    part = server.part(tmp_path / "postgres.log")
    database = part.start()
    try:
        wait_until(server.ready)
        server.create_database()
        upgrade(server.url())
        workplace.database_url = server.url()
        workplace.engine = sync_engine(server.url())
        with workplace.worker() as worker, workplace.reaper() as reaper:
            submitted = submit_run(workplace)
            child = freeze_child(worker.pid)
            database.kill()
            database.wait()
            os.kill(child, signal.SIGCONT)
            time.sleep(5)
            assert worker.poll() is None
            assert reaper.poll() is None

            def back() -> bool:
                # The killed server's sessions may need a moment to notice.
                nonlocal database
                if database.poll() is not None:
                    database = part.start()
                return server.ready()

            wait_until(back, seconds=30)
            wait_until(lambda: ended(workplace, submitted), seconds=40)
            assert_finished_once(workplace, submitted)
        workplace.engine.dispose()
    finally:
        stop(database, part)


def test_the_reaper_removes_what_no_audit_needs(workplace: Workplace) -> None:
    workplace.extra["RUNAUDIT_ARTIFACT_GRACE_SECONDS"] = "0"
    kept, gone = workplace.store(curves_run(10)), workplace.store(curves_run(11))
    submit(workplace.engine, run_sha256=kept, queue="gpu")
    forgotten = submit(workplace.engine, run_sha256=gone, queue="gpu")
    with workplace.engine.begin() as connection:
        connection.execute(text("UPDATE artifacts SET released_at = now()"))
        connection.execute(text("DELETE FROM audits WHERE id = :id"), {"id": forgotten.audit_id})
    store = FolderBlobs(workplace.data_dir / "blobs")
    with workplace.reaper():
        wait_until(lambda: not store.holds(gone), what="the artifact being removed")
    assert store.holds(kept)
    assert "removed 1 audits, artifacts and uploads" in workplace.log("reaper")
