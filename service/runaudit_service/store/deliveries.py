"""Deliveries as senders see them: which are due, who sends one now, and how it went. Rows in PostgreSQL, as the queue.

A claim leases a delivery until a time and gives it a fence. A sender that dies lets the lease run out, and another
sends the message again, under the same id; one that comes back late moves nothing, for its fence is old.

Each function is one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Connection, Engine, text

FAILING_DAYS: Final = 5
"""an endpoint that took nothing for so long is disabled (as Svix does, research/service.md B3)"""
PRUNE_BATCH: Final = 1000

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Claimed:
    """A delivery that this sender holds, with all that is needed to make it."""

    id: UUID
    fence: int
    message_id: str
    type: str
    occurred_at: datetime
    target: str
    endpoint_id: UUID | None
    """None: a callback"""
    url: str
    format: str
    secrets: tuple[str, ...]
    """what signs it, the current one first"""
    step: int
    """attempts of the schedule that were made"""
    snapshot: dict[str, Any] | None
    body: str | None
    """as it was sent before; None before the first attempt"""
    traceparent: str | None = None
    """the trace of the request that asked for the audit"""


@dataclass(frozen=True)
class Outcome:
    """How one attempt went. `delay` is the time until the next one in seconds, where `state` is `pending`."""

    delivery: Claimed
    body: str | None
    """as sent; None if it came to no body"""
    started_at: datetime
    seconds: float
    state: Literal["succeeded", "pending", "failed"]
    delay: float = 0.0
    status: int | None = None
    error: str | None = None
    response: str | None = None
    gone: bool = False
    """the receiver said that it wants nothing any more"""


@dataclass(frozen=True)
class Disabled:
    """An endpoint that was disabled just now."""

    id: UUID
    reason: str


# The receivers that have open deliveries are found by hopping through the index, one probe each, however long the
# queue of one of them is. Each then gives its oldest due ones, as many as it has room for; every receiver's first comes
# before any receiver's second. Chance decides among those that have proven nothing, or the old would keep out the new.
_CLAIM: Final = text(
    """
    WITH RECURSIVE targets AS (
        (SELECT target FROM webhook_deliveries WHERE state IN ('pending', 'sending') ORDER BY target LIMIT 1)
        UNION ALL
        SELECT (
            SELECT later.target FROM webhook_deliveries AS later
            WHERE later.state IN ('pending', 'sending') AND later.target > targets.target
            ORDER BY later.target LIMIT 1)
        FROM targets WHERE targets.target IS NOT NULL
    ),
    rooms AS (
        SELECT targets.target, COALESCE(known.room, 1) AS room, known.room IS NOT NULL AS proven
        FROM targets
        LEFT JOIN unnest(CAST(:targets AS text[]), CAST(:rooms AS integer[])) AS known(target, room) USING (target)
        WHERE targets.target IS NOT NULL AND COALESCE(known.room, CAST(:unproven AS integer)) > 0
    ),
    due AS (
        SELECT next.id, next.next_attempt_at, rooms.proven,
            row_number() OVER (PARTITION BY rooms.target ORDER BY next.next_attempt_at) AS place,
            row_number() OVER (PARTITION BY rooms.proven ORDER BY random()) AS rank
        FROM rooms CROSS JOIN LATERAL (
            SELECT id, next_attempt_at FROM webhook_deliveries
            WHERE target = rooms.target AND state IN ('pending', 'sending') AND next_attempt_at <= now()
            ORDER BY next_attempt_at
            LIMIT rooms.room
            FOR UPDATE SKIP LOCKED
        ) AS next
    ),
    taken AS (
        UPDATE webhook_deliveries AS deliveries SET
            state = 'sending', fence = fence + 1, next_attempt_at = now() + make_interval(secs => :lease_seconds)
        FROM (
            SELECT id FROM due WHERE proven OR rank <= :unproven ORDER BY place, next_attempt_at LIMIT :limit
        ) AS chosen
        WHERE deliveries.id = chosen.id
        RETURNING deliveries.*
    )
    SELECT taken.id, taken.fence, taken.message_id, taken.type, taken.occurred_at, taken.target, taken.endpoint_id,
        COALESCE(taken.url, endpoints.url) AS url, COALESCE(endpoints.format, 'standard') AS format,
        COALESCE(endpoints.secret, projects.signing_secret) AS secret,
        CASE
            WHEN endpoints.previous_secret_expires_at > now() THEN endpoints.previous_secret
            WHEN projects.previous_signing_secret_expires_at > now() THEN projects.previous_signing_secret
        END AS previous_secret,
        taken.step, taken.snapshot, taken.body,
        (SELECT traceparent FROM jobs WHERE jobs.audit_id = taken.audit_id ORDER BY id LIMIT 1) AS traceparent
    FROM taken
    LEFT JOIN webhook_endpoints AS endpoints ON endpoints.id = taken.endpoint_id
    LEFT JOIN projects ON projects.id = taken.project_id
    """
)

_TOLD: Final = """
    told AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:fences AS bigint[]), CAST(:bodies AS text[]), CAST(:started AS timestamptz[]),
            CAST(:seconds AS double precision[]), CAST(:states AS text[]), CAST(:delays AS double precision[]),
            CAST(:statuses AS integer[]), CAST(:errors AS text[]), CAST(:responses AS text[])
        ) AS told(id, fence, body, started_at, seconds, state, delay, status, error, response)
    )
"""

# Every attempt is logged, also that of a sender which lost the delivery meanwhile: the receiver has seen it.
_LOG: Final = text(
    f"""
    WITH {_TOLD}
    INSERT INTO webhook_attempts (tenant_id, delivery_id, started_at, seconds, status, error, response)
    SELECT deliveries.tenant_id, told.id, told.started_at, told.seconds, told.status, told.error, told.response
    FROM told JOIN webhook_deliveries AS deliveries ON deliveries.id = told.id
    """  # noqa: S608  # a constant
)

# What shall be tried again is not, if its endpoint was disabled meanwhile.
_MOVE: Final = text(
    f"""
    WITH {_TOLD},
    decided AS (
        SELECT told.*, CASE WHEN told.state = 'pending' AND EXISTS (
            SELECT FROM webhook_deliveries AS own JOIN webhook_endpoints AS endpoints ON endpoints.id = own.endpoint_id
            WHERE own.id = told.id AND endpoints.disabled_at IS NOT NULL
        ) THEN 'skipped' ELSE told.state END AS new_state FROM told
    )
    UPDATE webhook_deliveries AS deliveries SET
        state = decided.new_state, step = step + 1, attempts = attempts + 1,
        body = COALESCE(decided.body, deliveries.body),
        snapshot = CASE WHEN decided.body IS NULL THEN deliveries.snapshot END,
        next_attempt_at = CASE decided.new_state
            WHEN 'pending' THEN now() + make_interval(secs => decided.delay) END,
        ended_at = CASE decided.new_state WHEN 'pending' THEN NULL ELSE now() END
    FROM decided
    WHERE deliveries.id = decided.id AND deliveries.fence = decided.fence AND deliveries.state = 'sending'
    """  # noqa: S608
)

_WELL: Final = text(
    "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = ANY(:ids) AND failing_since IS NOT NULL"
)
_FAILING: Final = text(
    "UPDATE webhook_endpoints SET failing_since = now() WHERE id = ANY(:ids) AND failing_since IS NULL"
)
_DISABLE_GONE: Final = text(
    """
    UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'gone: it answered 410'
    WHERE id = ANY(:ids) AND disabled_at IS NULL RETURNING id, disabled_reason
    """
)
_DISABLE_FAILING: Final = text(
    """
    UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = format('failing for %s days', :days)
    WHERE id = ANY(:ids) AND disabled_at IS NULL AND failing_since <= now() - make_interval(days => :days)
    RETURNING id, disabled_reason
    """
)
SKIP_WAITING: Final = text(
    """
    UPDATE webhook_deliveries SET state = 'skipped', next_attempt_at = NULL, ended_at = now()
    WHERE endpoint_id = ANY(:ids) AND state = 'pending'
    """
)
"""what waits for endpoints that have been disabled; it can be redelivered"""

_RELEASE: Final = text(
    """
    UPDATE webhook_deliveries SET state = 'pending', next_attempt_at = now()
    WHERE (id, fence) IN (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[]))) AND state = 'sending'
    """
)

_PRUNE: Final = text(
    """
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries WHERE ended_at < now() - make_interval(secs => :seconds)
        ORDER BY ended_at LIMIT :batch FOR UPDATE SKIP LOCKED)
    """
)


def claim(engine: Engine, rooms: Mapping[str, int], unproven: int, limit: int, lease_seconds: float) -> list[Claimed]:
    """Takes up to `limit` due deliveries for this sender, fairly. Those whose lease ran out are due again.

    `rooms` says how many each of these targets may have; of all other targets `unproven` get one each.
    """
    with engine.begin() as connection:
        rows = connection.execute(
            _CLAIM,
            {
                "targets": list(rooms),
                "rooms": list(rooms.values()),
                "unproven": unproven,
                "limit": limit,
                "lease_seconds": lease_seconds,
            },
        ).all()
    return [
        Claimed(
            id=row.id,
            fence=row.fence,
            message_id=row.message_id,
            type=row.type,
            occurred_at=row.occurred_at,
            target=row.target,
            endpoint_id=row.endpoint_id,
            url=row.url,
            format=row.format,
            secrets=tuple(secret for secret in (row.secret, row.previous_secret) if secret),
            step=row.step,
            snapshot=row.snapshot,
            body=row.body,
            traceparent=row.traceparent,
        )
        for row in rows
    ]


def record(engine: Engine, outcomes: Sequence[Outcome]) -> list[Disabled]:
    """Logs attempts, moves their deliveries on where the fence still holds, and judges the endpoints by them.

    Returns the endpoints that were disabled by this.
    """
    values: dict[str, list[Any]] = {
        "ids": [one.delivery.id for one in outcomes],
        "fences": [one.delivery.fence for one in outcomes],
        "bodies": [one.body for one in outcomes],
        "started": [one.started_at for one in outcomes],
        "seconds": [one.seconds for one in outcomes],
        "states": [one.state for one in outcomes],
        "delays": [one.delay for one in outcomes],
        "statuses": [one.status for one in outcomes],
        "errors": [one.error for one in outcomes],
        "responses": [None if one.response is None else _UNSTORABLE.sub("\ufffd", one.response) for one in outcomes],
    }
    with engine.begin() as connection:
        # Endpoints before deliveries, as everyone locks them.
        disabled = _judge(connection, outcomes)
        connection.execute(_LOG, values)
        connection.execute(_MOVE, values)
    return disabled


def release(engine: Engine, held: Sequence[Claimed]) -> None:
    """Gives back deliveries that this sender will not finish; they are due at once, without an attempt counted."""
    with engine.begin() as connection:
        connection.execute(_RELEASE, {"ids": [one.id for one in held], "fences": [one.fence for one in held]})


def prune(engine: Engine, *, seconds: float) -> int:
    """Forgets deliveries that ended so long ago, with their attempts, PRUNE_BATCH at most; how many there were."""
    with engine.begin() as connection:
        return int(connection.execute(_PRUNE, {"seconds": seconds, "batch": PRUNE_BATCH}).rowcount)


def _judge(connection: Connection, outcomes: Sequence[Outcome]) -> list[Disabled]:
    """An endpoint that took one message of the batch is well; pings tell nothing about the others."""
    told = [one for one in outcomes if one.delivery.endpoint_id is not None]
    gone = sorted({one.delivery.endpoint_id for one in told if one.gone and one.delivery.endpoint_id})
    audits = [one for one in told if one.delivery.type != "ping"]
    well = {one.delivery.endpoint_id for one in audits if one.state == "succeeded"}
    failing = {one.delivery.endpoint_id for one in audits} - well
    found: list[Disabled] = []
    if well:
        connection.execute(_WELL, {"ids": list(well)})
    if failing:
        connection.execute(_FAILING, {"ids": list(failing)})
        rows = connection.execute(_DISABLE_FAILING, {"ids": list(failing), "days": FAILING_DAYS})
        found += [Disabled(row.id, row.disabled_reason) for row in rows]
    if gone:
        found += [Disabled(row.id, row.disabled_reason) for row in connection.execute(_DISABLE_GONE, {"ids": gone})]
    if found:
        connection.execute(SKIP_WAITING, {"ids": [one.id for one in found]})
    return found
