"""The job's state machine on a real PostgreSQL: in whatever order things happen, an audit ends once and is not lost."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, text

from runaudit_service.store import queue
from runaudit_service.store.database import sync_engine
from tests.worker.rows import Submitted, audit_of, events_of, job_of, reports_of, request_cancel, submit

MAX_ATTEMPTS = 3
MOST_JOBS = 2
PROBLEM = {"code": "child_crashed", "detail": "It crashed."}
RESULT = queue.Result("pass", "Fine.", [], "ultralytics", "1", "{}")
TERMINAL = {"succeeded", "failed", "cancelled"}


class JobStates(RuleBasedStateMachine):
    """Submits, claims, loses workers and ends jobs at will; `holders` is the model: who holds each job by right."""

    engine: Engine
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        with self.engine.begin() as connection:
            connection.execute(text("TRUNCATE jobs, audits, events, reports CASCADE"))
        self.submitted: dict[object, Submitted] = {}
        self.holders: dict[object, queue.Claim | None] = {}
        self.ended: dict[object, str] = {}
        self.fences: dict[object, int] = {}
        self.given: list[queue.Claim] = []

    def holds(self, claim: queue.Claim) -> bool:
        return self.holders[claim.job_id] == claim

    def end(self, claim: queue.Claim, state: str) -> None:
        self.holders[claim.job_id] = None
        self.ended[claim.job_id] = state

    def give_up(self, claim: queue.Claim, settled: queue.Settled) -> None:
        """Follows the model after a job was given up by its worker or taken from it."""
        assert settled.requeued + settled.failed + settled.cancelled == 1
        self.holders[claim.job_id] = None
        if settled.failed:
            self.ended[claim.job_id] = "failed"
        elif settled.cancelled:
            self.ended[claim.job_id] = "cancelled"

    @initialize()
    def submit_the_first(self) -> None:
        self.submit()

    # Few jobs, so that the histories of each grow long.
    @precondition(lambda self: len(self.submitted) < MOST_JOBS)
    @rule()
    def submit(self) -> None:
        submitted = submit(self.engine, max_attempts=MAX_ATTEMPTS)
        self.submitted[submitted.job_id] = submitted
        self.holders[submitted.job_id] = None
        self.fences[submitted.job_id] = 0

    @rule(target=claims)
    def claim(self) -> object:
        waiting = {job for job, holder in self.holders.items() if holder is None and job not in self.ended}
        claim = queue.claim(self.engine, ["cpu"], "worker", 60)
        assert (claim is None) == (not waiting)
        if claim is None:
            return multiple()
        assert claim.job_id in waiting
        assert claim.fence == self.fences[claim.job_id] + 1
        assert claim.attempt <= MAX_ATTEMPTS
        self.holders[claim.job_id] = claim
        self.fences[claim.job_id] = claim.fence
        self.given.append(claim)
        return claim

    @rule(claim=claims)
    def renew(self, claim: queue.Claim) -> None:
        assert queue.renew(self.engine, claim, stage="validate", done=1, total=2).lost != self.holds(claim)

    @rule(claim=claims)
    def succeed(self, claim: queue.Claim) -> None:
        held = self.holds(claim)
        assert queue.succeed(self.engine, claim, RESULT) == held
        if held:
            self.end(claim, "succeeded")

    @rule(claim=claims)
    def fail(self, claim: queue.Claim) -> None:
        held = self.holds(claim)
        assert queue.fail(self.engine, claim, PROBLEM) == held
        if held:
            self.end(claim, "failed")

    @rule(claim=claims)
    def cancel(self, claim: queue.Claim) -> None:
        held = self.holds(claim)
        assert queue.cancel(self.engine, claim) == held
        if held:
            self.end(claim, "cancelled")

    @rule(claim=claims, back=st.booleans())
    def leave(self, claim: queue.Claim, *, back: bool) -> None:
        held = self.holds(claim)
        settled = queue.hand_back(self.engine, claim) if back else queue.retry_later(self.engine, claim, PROBLEM, 0)
        if held:
            self.give_up(claim, settled)
        else:
            assert settled == queue.Settled()

    @rule(claim=claims)
    def request_cancel(self, claim: queue.Claim) -> None:
        request_cancel(self.engine, self.submitted[claim.job_id])

    @rule(claim=claims)
    def lose_the_worker(self, claim: queue.Claim) -> None:
        with self.engine.begin() as connection:
            expire = text(
                "UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE id = :id AND state = 'running'"
            )
            connection.execute(expire, {"id": claim.job_id})
        holder = self.holders[claim.job_id]
        settled = queue.reap(self.engine, PROBLEM)
        if holder is None:
            assert settled == queue.Settled()
        else:
            self.give_up(holder, settled)

    @invariant()
    def a_stale_claim_writes_nothing(self) -> None:
        for claim in [claim for claim in self.given if not self.holds(claim)][-2:]:
            assert queue.renew(self.engine, claim, stage="report").lost
            assert not queue.succeed(self.engine, claim, RESULT)
            assert not queue.cancel(self.engine, claim)
            assert queue.retry_later(self.engine, claim, PROBLEM, 0) == queue.Settled()

    @invariant()
    def every_row_is_as_the_model_says(self) -> None:
        for job_id, submitted in self.submitted.items():
            audit, job = audit_of(self.engine, submitted), job_of(self.engine, submitted)
            held = self.holders[job_id] is not None
            expected = self.ended.get(job_id, "running" if held else "queued")
            assert audit.state == job.state == expected
            events = events_of(self.engine, submitted)
            assert events[0] == "audit.queued"
            assert events.count("audit.started") == (1 if self.fences[job_id] else 0)
            terminal = [event for event in events if event.removeprefix("audit.") in TERMINAL]
            assert terminal == ([f"audit.{expected}"] if expected in TERMINAL else [])
            assert len(reports_of(self.engine, submitted)) == (1 if expected == "succeeded" else 0)


@pytest.mark.slow  # about 20 s: 40 histories of up to 25 steps, each step several transactions
def test_any_history_keeps_the_promises(fresh_postgres_url: str) -> None:
    engine = sync_engine(fresh_postgres_url)
    machine = type("JobStatesOnPostgres", (JobStates,), {"engine": engine})
    limits = settings(
        max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    try:
        run_state_machine_as_test(machine, settings=limits)
    finally:
        engine.dispose()
