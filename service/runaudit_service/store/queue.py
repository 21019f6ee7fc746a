"""The queue of record: who may work on which job, until when, and how it ends. All of it is rows in PostgreSQL.

A claim gives a lease (a time until which the worker must be heard of again) and a fence (a number that grows with every
claim of the job). Whatever is written for a job names the fence, so that a worker that was thought dead and comes back
writes nothing. Audits move one way: queued and running may alternate, a terminal state is never left. An audit whose
artifacts are still to be fetched begins as fetching, with a job of that kind; `fetched` has what ends it.

Each function is one transaction, and each locks the job before the audit, so that they can't deadlock one another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Connection, Engine, TextClause, text

from runaudit_service.store.terms import ADD_TERMS, cause_term

Queue = Literal["cpu", "gpu", "egress"]
# Curves are read and judged without a model, so they need not wait for a GPU.
QUEUE_OF_DEPTH: Final[dict[str, Queue]] = {"curves": "cpu", "standard": "gpu", "deep": "gpu"}
FETCH_QUEUE: Final[Queue] = "egress"
Problem = dict[str, Any]

REAP_BATCH = 100
"""jobs that one pass of the reaper takes; bounds how long it holds their rows"""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""NUL and lone surrogates"""


@dataclass(frozen=True)
class Input:
    """One artifact of an audit: a blob by its digest, a path below the data roots, or a URL to fetch it from.

    `file_name` is as uploaded. A URL may hold a token: it is shown nowhere.
    """

    sha256: str | None
    file_name: str | None
    path: str | None
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds, with all that is needed to do it."""

    job_id: UUID
    audit_id: UUID
    queue: str
    owner: str
    attempt: int
    max_attempts: int
    fence: int
    lease_seconds: float
    depth: str
    policy: dict[str, Any]
    baseline: dict[str, Any] | None
    environment: dict[str, Any]
    inputs: dict[str, Input]
    """by role: `run`, and `data` where the audit has a data set of its own"""
    kind: str = "audit"
    """or `fetch`"""
    tenant_id: UUID | None = None
    request_id: str | None = None
    """of the request that asked for it"""
    traceparent: str | None = None
    """the trace of that request, where traces are made"""


@dataclass(frozen=True)
class Renewal:
    """What a worker learns when it renews its lease."""

    lost: bool
    """the job is no longer this worker's: stop, and write nothing"""
    cancel_requested: bool


@dataclass(frozen=True)
class Result:
    """What a finished audit stores."""

    verdict: str
    headline: str
    causes: Sequence[str]
    framework: str | None
    schema_version: str
    report: str
    """the report as JSON text, stored as it is"""


@dataclass(frozen=True)
class Due:
    """Work of one queue that could start now. `oldest_seconds` is how long the first of it could have."""

    jobs: int
    oldest_seconds: float


@dataclass(frozen=True)
class Settled:
    """How many jobs went which way when they were given up by their workers."""

    requeued: int = 0
    failed: int = 0
    cancelled: int = 0


# Takes the oldest due job of the queues, skipping those that another worker is taking at this moment.
# Only these kinds: a worker leaves alone what it does not know.
_CLAIM = text(
    """
    WITH due AS (
        SELECT id FROM jobs
        WHERE state = 'queued' AND kind IN ('audit', 'fetch') AND queue = ANY(:queues) AND run_after <= now()
        ORDER BY run_after, id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET
        state = 'running', attempt = attempt + 1, fence = fence + 1,
        lease_owner = :owner, lease_expires_at = now() + make_interval(secs => :lease_seconds)
    FROM due WHERE jobs.id = due.id
    RETURNING jobs.id, jobs.audit_id, jobs.kind, jobs.queue, jobs.attempt, jobs.max_attempts, jobs.fence,
        jobs.request_id, jobs.traceparent, (SELECT tenant_id FROM audits WHERE audits.id = jobs.audit_id) AS tenant_id
    """
)

# Shows the audit as running. `first` tells whether it starts for the first time.
_START_AUDIT = text(
    """
    UPDATE audits SET
        state = 'running', attempt = :attempt, version = version + 1,
        started_at = COALESCE(started_at, now()),
        progress_stage = 'starting', progress_done = 0, progress_total = 0
    WHERE id = :audit_id AND state IN ('queued', 'fetching', 'running')
    RETURNING depth, policy, baseline, environment, started_at = now() AS first
    """
)

# The attempts of fetching are the job's; the audit itself has not begun yet.
_START_FETCHING = text(
    """
    UPDATE audits SET
        state = 'fetching', version = version + 1,
        progress_stage = 'fetching', progress_done = 0, progress_total = 0
    WHERE id = :audit_id AND state IN ('queued', 'fetching')
    RETURNING depth, policy, baseline, environment, false AS first
    """
)

_INPUTS = text(
    """
    SELECT uses.role, uses.path, uses.url, artifacts.sha256, artifacts.file_name
    FROM audit_artifacts AS uses LEFT JOIN artifacts ON artifacts.id = uses.artifact_id
    WHERE uses.audit_id = :audit_id
    """
)

# A job whose audit ended without it (cancelled while the job waited, say) ends as the audit did.
_FOLLOW_AUDIT = text(
    """
    UPDATE jobs SET state = audits.state, ended_at = now(), lease_owner = NULL, lease_expires_at = NULL
    FROM audits WHERE jobs.id = :job_id AND audits.id = jobs.audit_id
    """
)

# Extends the lease of a job that is still this worker's, and says whether the audit shall be cancelled.
_RENEW = text(
    """
    UPDATE jobs SET lease_expires_at = now() + make_interval(secs => :lease_seconds)
    FROM audits
    WHERE jobs.id = :job_id AND jobs.fence = :fence AND jobs.state = 'running' AND audits.id = jobs.audit_id
    RETURNING audits.cancel_requested_at IS NOT NULL AS cancel_requested
    """
)

# Writes progress only where it changed, so that a client's ETag stays the same while nothing happens.
_PROGRESS = text(
    """
    UPDATE audits SET progress_stage = :stage, progress_done = :done, progress_total = :total, version = version + 1
    WHERE id = :audit_id AND state IN ('running', 'fetching')
      AND (progress_stage, progress_done, progress_total) IS DISTINCT FROM (:stage, :done, :total)
    """
)

# Ends a job, if it is still this worker's.
_END_JOB = text(
    """
    UPDATE jobs SET
        state = :state, ended_at = now(), lease_owner = NULL, lease_expires_at = NULL,
        last_error = CAST(:error AS jsonb)
    WHERE id = :job_id AND fence = :fence AND state = 'running'
    RETURNING id
    """
)

# Ends an audit that has not ended.
_END_AUDIT = text(
    """
    UPDATE audits SET
        state = :state, ended_at = now(), version = version + 1, error = CAST(:error AS jsonb),
        verdict = :verdict, headline = :headline, causes = :causes, framework = :framework,
        progress_stage = :state
    WHERE id = :audit_id AND state NOT IN ('succeeded', 'failed', 'cancelled')
    RETURNING id
    """
)

_STORE_REPORT = text(
    """
    INSERT INTO reports (audit_id, schema_version, body, fence)
    VALUES (:audit_id, :schema_version, CAST(:report AS json), :fence)
    """
)

_EVENT = text(
    """
    INSERT INTO events (tenant_id, audit_id, type, data)
    SELECT tenant_id, id, :type, jsonb_strip_nulls(jsonb_build_object(
        'state', state, 'attempt', attempt, 'verdict', verdict, 'headline', headline, 'error', error))
    FROM audits WHERE id = :audit_id
    """
)

_DUE = text(
    """
    SELECT queue, count(*) AS jobs, CAST(EXTRACT(EPOCH FROM now() - min(run_after)) AS double precision) AS oldest
    FROM jobs WHERE state = 'queued' AND kind IN ('audit', 'fetch') AND run_after <= now()
    GROUP BY queue
    """
)


def _settle(chosen: str) -> TextClause:
    """Decides for the running jobs that `chosen` selects (and locks) whether they wait again or end.

    A job whose cancellation was asked for is cancelled; one without attempts left, or past its deadline, fails with
    :problem; any other waits :delay seconds. With :refund = 1 the attempt is not counted.
    """
    return text(
        f"""
        WITH chosen AS ({chosen}),
        decided AS (
            SELECT chosen.id, chosen.audit_id, chosen.kind, chosen.request_id, CASE
                WHEN audits.cancel_requested_at IS NOT NULL THEN 'cancelled'
                WHEN chosen.attempt - :refund >= chosen.max_attempts THEN 'failed'
                WHEN chosen.deadline_at IS NOT NULL AND chosen.deadline_at <= now() THEN 'failed'
                ELSE 'queued' END AS state
            FROM chosen JOIN audits ON audits.id = chosen.audit_id
        ),
        moved_jobs AS (
            UPDATE jobs SET
                state = decided.state, attempt = jobs.attempt - :refund,
                lease_owner = NULL, lease_expires_at = NULL,
                run_after = CASE decided.state
                    WHEN 'queued' THEN now() + make_interval(secs => :delay) ELSE jobs.run_after END,
                ended_at = CASE decided.state WHEN 'queued' THEN NULL ELSE now() END,
                last_error = CAST(:problem AS jsonb)
            FROM decided WHERE jobs.id = decided.id
        ),
        moved_audits AS (
            UPDATE audits SET
                state = waiting.state, version = version + 1,
                attempt = audits.attempt - CASE decided.kind WHEN 'fetch' THEN 0 ELSE :refund END,
                progress_stage = waiting.state, progress_done = 0, progress_total = 0,
                ended_at = CASE decided.state WHEN 'queued' THEN NULL ELSE now() END,
                error = CASE decided.state WHEN 'failed' THEN CAST(:problem AS jsonb)
                    || jsonb_strip_nulls(jsonb_build_object('request_id', decided.request_id)) END
            FROM decided, LATERAL (
                SELECT CASE WHEN decided.state = 'queued' AND decided.kind = 'fetch' THEN 'fetching'
                    ELSE decided.state END AS state
            ) AS waiting
            WHERE audits.id = decided.audit_id AND audits.state NOT IN ('succeeded', 'failed', 'cancelled')
            RETURNING audits.id, audits.tenant_id, audits.state, audits.attempt, audits.error
        ),
        told AS (
            INSERT INTO events (tenant_id, audit_id, type, data)
            SELECT tenant_id, id, 'audit.' || state,
                jsonb_strip_nulls(jsonb_build_object('state', state, 'attempt', attempt, 'error', error))
            FROM moved_audits WHERE state IN ('failed', 'cancelled')
        )
        SELECT state, count(*) AS jobs FROM decided GROUP BY state
        """  # noqa: S608  # `chosen` is one of the two constants below
    )


_GIVE_UP = _settle("SELECT * FROM jobs WHERE id = :job_id AND fence = :fence AND state = 'running' FOR UPDATE")
_REAP = _settle(
    """
    SELECT * FROM jobs WHERE state = 'running' AND lease_expires_at < now()
    ORDER BY lease_expires_at LIMIT :batch FOR UPDATE SKIP LOCKED
    """
)


def claim(engine: Engine, queues: Sequence[str], owner: str, lease_seconds: float) -> Claim | None:
    """Takes the next due job of `queues` (names of QUEUES) for `owner`; None where there is none."""
    with engine.begin() as connection:
        while True:
            job = connection.execute(
                _CLAIM, {"queues": list(queues), "owner": owner, "lease_seconds": lease_seconds}
            ).one_or_none()
            if job is None:
                return None
            start = _START_FETCHING if job.kind == "fetch" else _START_AUDIT
            audit = connection.execute(start, {"audit_id": job.audit_id, "attempt": job.attempt}).one_or_none()
            if audit is not None:
                break
            connection.execute(_FOLLOW_AUDIT, {"job_id": job.id})
        if audit.first:
            _tell(connection, job.audit_id, "audit.started")
        inputs = {
            row.role: Input(row.sha256, row.file_name, row.path, row.url)
            for row in connection.execute(_INPUTS, {"audit_id": job.audit_id})
        }
    return Claim(
        job_id=job.id,
        audit_id=job.audit_id,
        kind=job.kind,
        queue=job.queue,
        owner=owner,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        fence=job.fence,
        lease_seconds=lease_seconds,
        depth=audit.depth,
        policy=audit.policy,
        baseline=audit.baseline,
        environment=audit.environment,
        inputs=inputs,
        tenant_id=job.tenant_id,
        request_id=job.request_id,
        traceparent=job.traceparent,
    )


def renew(engine: Engine, claim: Claim, *, stage: str | None = None, done: int = 0, total: int = 0) -> Renewal:
    """Extends the lease by its length from now, and writes how far the audit is (`done` of `total` of `stage`)."""
    with engine.begin() as connection:
        row = connection.execute(
            _RENEW, {"job_id": claim.job_id, "fence": claim.fence, "lease_seconds": claim.lease_seconds}
        ).one_or_none()
        if row is None:
            return Renewal(lost=True, cancel_requested=False)
        if stage is not None:
            connection.execute(_PROGRESS, {"audit_id": claim.audit_id, "stage": stage, "done": done, "total": total})
        return Renewal(lost=False, cancel_requested=row.cancel_requested)


def succeed(engine: Engine, claim: Claim, result: Result) -> bool:
    """Stores a report and ends audit and job, all or nothing. False, and nothing written, if the job was lost."""
    with engine.begin() as connection:
        if not _end(connection, claim, "succeeded", result=result):
            return False
        connection.execute(
            _STORE_REPORT,
            {
                "audit_id": claim.audit_id,
                "schema_version": result.schema_version,
                "report": result.report,
                "fence": claim.fence,
            },
        )
        return True


def fail(engine: Engine, claim: Claim, problem: Problem) -> bool:
    """Ends audit and job as failed: another attempt would fail the same. False if the job was lost."""
    with engine.begin() as connection:
        return _end(connection, claim, "failed", problem=problem)


def cancel(engine: Engine, claim: Claim) -> bool:
    """Ends audit and job as cancelled. False if the job was lost."""
    with engine.begin() as connection:
        return _end(connection, claim, "cancelled")


def retry_later(engine: Engine, claim: Claim, problem: Problem, delay_seconds: float) -> Settled:
    """Gives the job up after a failure that may pass: it waits, or fails with `problem` if its attempts are spent."""
    return _give_up(engine, claim, problem, delay_seconds, refund=0)


def hand_back(engine: Engine, claim: Claim, delay_seconds: float = 0) -> Settled:
    """Gives the job up because the worker stops, or lacks what it needs: the attempt is not counted, and the job waits
    again, at once or after `delay_seconds`."""
    return _give_up(engine, claim, None, delay_seconds, refund=1)


def reap(engine: Engine, problem: Problem) -> Settled:
    """Takes the jobs whose leases ran out from their workers; those without attempts left fail with `problem`."""
    with engine.begin() as connection:
        rows = connection.execute(
            _REAP, {"batch": REAP_BATCH, "problem": _stored(problem), "delay": 0, "refund": 0}
        ).all()
    return _settled(rows)


def due_counts(engine: Engine) -> dict[str, Due]:
    """The work that could start now, by queue; queues without any are left out."""
    with engine.connect() as connection:
        return {row.queue: Due(row.jobs, max(row.oldest, 0.0)) for row in connection.execute(_DUE)}


def _end(
    connection: Connection, claim: Claim, state: str, *, problem: Problem | None = None, result: Result | None = None
) -> bool:
    # A problem names the request that it belongs to: here the one that asked for the audit.
    named = {} if claim.request_id is None else {"request_id": claim.request_id}
    error = None if problem is None else _stored(problem | named)
    job = {"job_id": claim.job_id, "fence": claim.fence, "state": state, "error": error}
    if connection.execute(_END_JOB, job).one_or_none() is None:
        return False
    audit = {
        "audit_id": claim.audit_id,
        "state": state,
        "error": error,
        "verdict": result.verdict if result else None,
        "headline": _storable(result.headline) if result else None,
        "causes": list(result.causes) if result else [],
        "framework": result.framework if result else None,
    }
    if connection.execute(_END_AUDIT, audit).one_or_none() is None:
        connection.execute(_FOLLOW_AUDIT, {"job_id": claim.job_id})
        return False
    terms = sorted({cause_term(cause) for cause in result.causes}) if result else []
    connection.execute(ADD_TERMS, {"audit_id": claim.audit_id, "terms": terms})
    _tell(connection, claim.audit_id, f"audit.{state}")
    return True


def _stored(problem: Problem) -> str:
    """The problem as JSON text that PostgreSQL takes: problems quote what was handed in, and that may hold anything."""
    return json.dumps(_storable(problem))


def _storable(value: Any) -> Any:
    """Plain data with a replacement character for each one that a text or jsonb column refuses."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value


def _tell(connection: Connection, audit_id: UUID, event: str) -> None:
    connection.execute(_EVENT, {"audit_id": audit_id, "type": event})


def _give_up(engine: Engine, claim: Claim, problem: Problem | None, delay_seconds: float, *, refund: int) -> Settled:
    with engine.begin() as connection:
        rows = connection.execute(
            _GIVE_UP,
            {
                "job_id": claim.job_id,
                "fence": claim.fence,
                "problem": None if problem is None else _stored(problem),
                "delay": delay_seconds,
                "refund": refund,
            },
        ).all()
    return _settled(rows)


def _settled(rows: Sequence[Any]) -> Settled:
    counts = {row.state: row.jobs for row in rows}
    return Settled(counts.get("queued", 0), counts.get("failed", 0), counts.get("cancelled", 0))
