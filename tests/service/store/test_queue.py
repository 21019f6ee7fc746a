"""The queue of record on a real PostgreSQL: claims, leases, fences, attempts, and every way in which a job ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from runaudit_service.store import queue
from runaudit_service.store.database import sync_engine
from tests.worker.rows import (
    audit_of,
    events_of,
    job_of,
    let_lease_expire,
    reports_of,
    request_cancel,
    submit,
)

LOST = {"code": "worker_lost", "detail": "The worker was lost."}
CRASHED = {"code": "child_crashed", "detail": "It crashed."}
RESULT = queue.Result(
    verdict="fail",
    headline="It learns too fast.",
    causes=["learning_rate"],
    framework="ultralytics",
    schema_version="1",
    report='{"verdict": "fail", "b": 1, "a": 2}',
)


@pytest.fixture
def engine(fresh_postgres_url: str) -> Iterator[Engine]:
    engine = sync_engine(fresh_postgres_url, pool_size=16)
    yield engine
    engine.dispose()


def claimed(engine: Engine, owner: str = "worker", lease: float = 60) -> queue.Claim:
    claim = queue.claim(engine, ["cpu"], owner, lease)
    assert claim is not None
    return claim


def test_a_claim_starts_the_audit_once(engine: Engine) -> None:
    submitted = submit(engine, run_sha256="a" * 64, depth="deep")
    claim = claimed(engine)
    assert (claim.job_id, claim.audit_id, claim.attempt, claim.fence) == (submitted.job_id, submitted.audit_id, 1, 1)
    assert claim.depth == "deep"
    assert claim.inputs == {"run": queue.Input(sha256="a" * 64, file_name="run.zip", path=None)}
    audit, job = audit_of(engine, submitted), job_of(engine, submitted)
    assert (audit.state, audit.attempt, audit.version) == ("running", 1, 2)
    assert audit.started_at is not None
    assert (job.state, job.lease_owner) == ("running", "worker")
    assert events_of(engine, submitted) == ["audit.queued", "audit.started"]
    assert queue.claim(engine, ["cpu"], "other", 60) is None


def test_only_the_named_queues_are_claimed(engine: Engine) -> None:
    submit(engine, queue="gpu")
    assert queue.claim(engine, ["cpu", "egress"], "worker", 60) is None
    assert queue.claim(engine, ["cpu", "gpu"], "worker", 60) is not None


def test_the_oldest_comes_first_and_the_future_waits(engine: Engine) -> None:
    first, second, third = submit(engine), submit(engine), submit(engine)
    with engine.begin() as connection:
        later = text("UPDATE jobs SET run_after = now() + interval '1 hour' WHERE id = :id")
        connection.execute(later, {"id": first.job_id})
        earlier = text("UPDATE jobs SET run_after = now() - interval '1 hour' WHERE id = :id")
        connection.execute(earlier, {"id": third.job_id})
    assert [claimed(engine).job_id, claimed(engine).job_id] == [third.job_id, second.job_id]
    assert queue.claim(engine, ["cpu"], "worker", 60) is None


def test_claimers_at_the_same_time_never_get_the_same_job(engine: Engine) -> None:
    jobs = {submit(engine).job_id for _ in range(60)}
    got: list[object] = []
    start = threading.Barrier(8)

    def work(owner: str) -> None:
        start.wait()
        while (claim := queue.claim(engine, ["cpu"], owner, 60)) is not None:
            got.append(claim.job_id)

    threads = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 60
    assert set(got) == jobs


def test_renewing_extends_the_lease_and_writes_progress(engine: Engine) -> None:
    submitted = submit(engine)
    claim = claimed(engine, lease=5)
    let_lease_expire(engine, submitted)
    renewal = queue.renew(engine, claim, stage="validate", done=3, total=9)
    assert renewal == queue.Renewal(lost=False, cancel_requested=False)
    assert queue.reap(engine, LOST) == queue.Settled()
    audit = audit_of(engine, submitted)
    assert (audit.progress_stage, audit.progress_done, audit.progress_total) == ("validate", 3, 9)


def test_the_version_stays_while_nothing_changes(engine: Engine) -> None:
    submitted = submit(engine)
    claim = claimed(engine)
    queue.renew(engine, claim, stage="validate", done=3, total=9)
    version = audit_of(engine, submitted).version
    queue.renew(engine, claim, stage="validate", done=3, total=9)
    queue.renew(engine, claim)
    assert audit_of(engine, submitted).version == version
    queue.renew(engine, claim, stage="validate", done=4, total=9)
    assert audit_of(engine, submitted).version == version + 1


def test_success_stores_everything_at_once(engine: Engine) -> None:
    submitted = submit(engine)
    assert queue.succeed(engine, claimed(engine), RESULT)
    audit, job = audit_of(engine, submitted), job_of(engine, submitted)
    assert (audit.state, audit.verdict, audit.headline) == ("succeeded", "fail", "It learns too fast.")
    assert (audit.causes, audit.framework) == (["learning_rate"], "ultralytics")
    assert audit.ended_at is not None
    assert (job.state, job.lease_owner) == ("succeeded", None)
    assert [list(body) for body in reports_of(engine, submitted)] == [["verdict", "b", "a"]]
    assert events_of(engine, submitted) == ["audit.queued", "audit.started", "audit.succeeded"]


def test_a_report_that_can_not_be_stored_leaves_nothing_behind(engine: Engine) -> None:
    submitted = submit(engine)
    claim = claimed(engine)
    broken = queue.Result("fail", "x", [], None, "1", report="{not json")
    with pytest.raises(Exception, match="json"):
        queue.succeed(engine, claim, broken)
    assert audit_of(engine, submitted).state == "running"
    assert job_of(engine, submitted).state == "running"
    assert events_of(engine, submitted)[-1] == "audit.started"


def test_a_stale_fence_writes_nothing(engine: Engine) -> None:
    submitted = submit(engine)
    zombie = claimed(engine, "zombie")
    let_lease_expire(engine, submitted)
    assert queue.reap(engine, LOST) == queue.Settled(requeued=1)
    for state in ("queued", "running"):
        before = audit_of(engine, submitted)
        assert before.state == state
        assert queue.renew(engine, zombie, stage="report").lost
        assert not queue.succeed(engine, zombie, RESULT)
        assert not queue.fail(engine, zombie, CRASHED)
        assert not queue.cancel(engine, zombie)
        assert queue.retry_later(engine, zombie, CRASHED, 0) == queue.Settled()
        assert queue.hand_back(engine, zombie) == queue.Settled()
        after = audit_of(engine, submitted)
        assert (after.version, after.state, after.progress_stage) == (before.version, state, before.progress_stage)
        assert reports_of(engine, submitted) == []
        if state == "queued":
            assert claimed(engine, "next").fence == 2
    assert events_of(engine, submitted) == ["audit.queued", "audit.started"]


def test_failing_is_terminal_and_keeps_the_problem(engine: Engine) -> None:
    submitted = submit(engine)
    assert queue.fail(engine, claimed(engine), CRASHED)
    audit = audit_of(engine, submitted)
    assert (audit.state, audit.error) == ("failed", CRASHED)
    assert job_of(engine, submitted).last_error == CRASHED
    assert events_of(engine, submitted)[-1] == "audit.failed"


UNSTORABLE = {"code": "yaml_duplicate_key", "detail": "a\0b", "errors": [{"pointer": "a\0.yaml:2", "detail": "\ud800"}]}
STORED = {
    "code": "yaml_duplicate_key",
    "detail": "a\ufffdb",
    "errors": [{"pointer": "a\ufffd.yaml:2", "detail": "\ufffd"}],
}


def test_a_problem_that_quotes_what_postgres_takes_in_no_text_is_stored_all_the_same(engine: Engine) -> None:
    submitted = submit(engine)
    assert queue.fail(engine, claimed(engine), UNSTORABLE)
    assert (audit_of(engine, submitted).error, job_of(engine, submitted).last_error) == (STORED, STORED)


def test_neither_does_it_keep_a_job_from_being_given_up(engine: Engine) -> None:
    submitted = submit(engine, max_attempts=1)
    assert queue.retry_later(engine, claimed(engine), UNSTORABLE, 0).failed == 1
    assert audit_of(engine, submitted).error == STORED


def test_neither_does_a_headline_keep_a_report_out(engine: Engine) -> None:
    submitted = submit(engine)
    assert queue.succeed(engine, claimed(engine), replace(RESULT, headline="class a\0b"))
    assert audit_of(engine, submitted).headline == "class a\ufffdb"


def test_a_failure_that_may_pass_is_tried_again_until_attempts_are_spent(engine: Engine) -> None:
    submitted = submit(engine, max_attempts=2)
    assert queue.retry_later(engine, claimed(engine), CRASHED, 0) == queue.Settled(requeued=1)
    audit = audit_of(engine, submitted)
    assert (audit.state, audit.error, audit.ended_at) == ("queued", None, None)
    second = claimed(engine)
    assert (second.attempt, second.fence) == (2, 2)
    assert queue.retry_later(engine, second, CRASHED, 0) == queue.Settled(failed=1)
    audit = audit_of(engine, submitted)
    assert (audit.state, audit.error, audit.attempt) == ("failed", CRASHED, 2)
    assert events_of(engine, submitted) == ["audit.queued", "audit.started", "audit.failed"]


def test_the_next_attempt_waits_its_delay(engine: Engine) -> None:
    submit(engine)
    queue.retry_later(engine, claimed(engine), CRASHED, 3600)
    assert queue.claim(engine, ["cpu"], "worker", 60) is None
    assert queue.due_counts(engine) == {}


def test_handing_back_does_not_spend_an_attempt(engine: Engine) -> None:
    submitted = submit(engine, max_attempts=1)
    assert queue.hand_back(engine, claimed(engine)) == queue.Settled(requeued=1)
    assert audit_of(engine, submitted).attempt == 0
    again = claimed(engine)
    assert (again.attempt, again.fence) == (1, 2)
    assert queue.succeed(engine, again, RESULT)


def test_the_reaper_leaves_live_leases_alone_and_caps_attempts(engine: Engine) -> None:
    live, dead = submit(engine, max_attempts=1), submit(engine, max_attempts=1)
    claimed(engine)
    claimed(engine)
    let_lease_expire(engine, dead)
    assert queue.reap(engine, LOST) == queue.Settled(failed=1)
    assert audit_of(engine, live).state == "running"
    audit = audit_of(engine, dead)
    assert (audit.state, audit.error) == ("failed", LOST)
    assert events_of(engine, dead)[-1] == "audit.failed"


def test_a_cancelled_audit_whose_worker_is_lost_is_not_tried_again(engine: Engine) -> None:
    submitted = submit(engine)
    claim = claimed(engine)
    request_cancel(engine, submitted)
    assert queue.renew(engine, claim).cancel_requested
    let_lease_expire(engine, submitted)
    assert queue.reap(engine, LOST) == queue.Settled(cancelled=1)
    audit = audit_of(engine, submitted)
    assert (audit.state, audit.error) == ("cancelled", None)
    assert events_of(engine, submitted)[-1] == "audit.cancelled"


def test_cancelling_is_terminal(engine: Engine) -> None:
    submitted = submit(engine)
    claim = claimed(engine)
    assert queue.cancel(engine, claim)
    assert audit_of(engine, submitted).state == job_of(engine, submitted).state == "cancelled"
    assert not queue.succeed(engine, claim, RESULT)


def test_a_job_past_its_deadline_is_not_tried_again(engine: Engine) -> None:
    submitted = submit(engine)
    claim = claimed(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET deadline_at = now()"))
    assert queue.retry_later(engine, claim, CRASHED, 0) == queue.Settled(failed=1)
    assert audit_of(engine, submitted).state == "failed"


def test_a_job_whose_audit_ended_before_is_closed_and_the_next_is_taken(engine: Engine) -> None:
    ended, waiting = submit(engine), submit(engine)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE audits SET state = 'cancelled', ended_at = now() WHERE id = :id"), {"id": ended.audit_id}
        )
    assert claimed(engine).job_id == waiting.job_id
    assert job_of(engine, ended).state == "cancelled"
    assert events_of(engine, ended) == ["audit.queued"]


def test_a_deleted_audit_takes_its_job_away_from_the_worker(engine: Engine) -> None:
    submitted = submit(engine)
    claim = claimed(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM audits WHERE id = :id"), {"id": submitted.audit_id})
    assert queue.renew(engine, claim).lost
    assert not queue.succeed(engine, claim, RESULT)


def test_due_work_is_counted_by_queue(engine: Engine) -> None:
    submit(engine)
    submit(engine, queue="gpu")
    submit(engine, queue="gpu")
    claimed(engine)
    due = queue.due_counts(engine)
    assert set(due) == {"gpu"}
    assert due["gpu"].jobs == 2
    assert 0 <= due["gpu"].oldest_seconds < 60
