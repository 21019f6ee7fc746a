"""Model versions that wait for a verdict, as the worker sees them: which are due, and how telling them went.

As with deliveries, a claim leases a row until a time and gives it a fence: a worker that dies lets the lease run out,
and one that comes back late moves nothing. Each function is one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, text


@dataclass(frozen=True)
class Told:
    """What one model version is to be told; `attempts` were made before."""

    id: uuid.UUID
    fence: int
    attempts: int
    model: str
    model_version: str
    audit_id: uuid.UUID
    state: str
    """of the audit, which has ended"""
    verdict: str | None
    headline: str | None
    error: dict[str, Any] | None


# An audit that goes on is looked at again with the next claim: few versions wait at a time.
_CLAIM: Final = text(
    """
    WITH due AS (
        SELECT verdicts.id FROM model_version_verdicts AS verdicts JOIN audits ON audits.id = verdicts.audit_id
        WHERE verdicts.state = 'waiting' AND verdicts.next_attempt_at <= now() AND audits.ended_at IS NOT NULL
        ORDER BY verdicts.next_attempt_at
        LIMIT :limit
        FOR UPDATE OF verdicts SKIP LOCKED
    ),
    taken AS (
        UPDATE model_version_verdicts AS verdicts SET
            fence = fence + 1, next_attempt_at = now() + make_interval(secs => :lease_seconds)
        FROM due WHERE verdicts.id = due.id
        RETURNING verdicts.*
    )
    SELECT taken.id, taken.fence, taken.attempts, taken.model, taken.model_version, taken.audit_id,
        audits.state, audits.verdict, audits.headline, audits.error
    FROM taken JOIN audits ON audits.id = taken.audit_id
    """
)

_MOVE: Final = text(
    """
    UPDATE model_version_verdicts SET
        state = :state, attempts = attempts + 1, last_error = :error,
        next_attempt_at = CASE WHEN :state = 'waiting' THEN now() + make_interval(secs => :delay) END
    WHERE id = :id AND fence = :fence AND state = 'waiting'
    """
)


def claim(engine: Engine, limit: int, lease_seconds: float) -> Sequence[Told]:
    """Takes versions whose audits have ended and that are due, for `lease_seconds`."""
    with engine.begin() as connection:
        rows = connection.execute(_CLAIM, {"limit": limit, "lease_seconds": lease_seconds}).mappings()
        return [Told(**row) for row in rows]


def succeed(engine: Engine, told: Told) -> None:
    """The version has its tags."""
    _move(engine, told, "succeeded")


def fail(engine: Engine, told: Told, error: str) -> None:
    """No further attempt is made."""
    _move(engine, told, "failed", error=error)


def retry(engine: Engine, told: Told, error: str, delay_seconds: float) -> None:
    """It is tried again after a while."""
    _move(engine, told, "waiting", error=error, delay=delay_seconds)


def _move(engine: Engine, told: Told, state: str, *, error: str | None = None, delay: float = 0.0) -> None:
    with engine.begin() as connection:
        connection.execute(_MOVE, {"id": told.id, "fence": told.fence, "state": state, "error": error, "delay": delay})
