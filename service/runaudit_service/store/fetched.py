"""How fetching ends: an artifact takes the place of its URL, and once all have, the audit waits for a worker.

Each function is one transaction that names the fence of its claim, as those of `queue` do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine, text

from runaudit_service.store.blobs import Blob
from runaudit_service.store.fingerprint import fingerprint
from runaudit_service.store.models import new_id
from runaudit_service.store.queue import QUEUE_OF_DEPTH, Claim, Queue
from runaudit_service.store.removal import HOLD_BLOB
from runaudit_service.store.room import HOLD_ROOM, USED_BYTES, no_room

# Held to the end of the transaction: a reaper that takes the job meanwhile waits, and finds its fence raised.
_HOLD_JOB: Final = text("SELECT id FROM jobs WHERE id = :job_id AND fence = :fence AND state = 'running' FOR UPDATE")

# The tenant's title to the blob; the one that it has already, if it has.
_TITLE: Final = text(
    """
    INSERT INTO artifacts (id, tenant_id, sha256, bytes, file_name)
    SELECT :id, tenant_id, :sha256, :bytes, :file_name FROM audits WHERE id = :audit_id
    ON CONFLICT (tenant_id, sha256) DO UPDATE SET file_name = COALESCE(artifacts.file_name, EXCLUDED.file_name)
    RETURNING id, xmax = 0 AS is_new
    """
)

# Whose room the artifact takes, and how much that is (0: any).
_ROOM: Final = text(
    """
    SELECT tenant_id,
        COALESCE((SELECT max_stored_bytes FROM tenant_limits WHERE tenant_id = audits.tenant_id), :setting) AS most
    FROM audits WHERE id = :audit_id
    """
)

_REPLACE_URL: Final = text(
    """
    UPDATE audit_artifacts SET artifact_id = :artifact_id, url = NULL
    WHERE audit_id = :audit_id AND role = :role AND url IS NOT NULL
    """
)

_DIGESTS: Final = text(
    """
    SELECT uses.role, uses.path, artifacts.sha256
    FROM audit_artifacts AS uses LEFT JOIN artifacts ON artifacts.id = uses.artifact_id
    WHERE uses.audit_id = :audit_id
    """
)

_END_FETCHING: Final = text(
    """
    UPDATE jobs SET state = 'succeeded', ended_at = now(), lease_owner = NULL, lease_expires_at = NULL,
        last_error = NULL
    WHERE id = :job_id AND fence = :fence AND state = 'running'
    RETURNING max_attempts
    """
)

_QUEUE_AUDIT: Final = text(
    """
    UPDATE audits SET state = 'queued', version = version + 1, fingerprint = :fingerprint,
        progress_stage = 'queued', progress_done = 0, progress_total = 0
    WHERE id = :audit_id AND state = 'fetching'
    RETURNING id
    """
)

_ADD_JOB: Final = text(
    """
    INSERT INTO jobs (id, audit_id, kind, queue, max_attempts, request_id, traceparent)
    SELECT :id, :audit_id, 'audit', :queue, :max_attempts, request_id, traceparent FROM jobs WHERE id = :fetch_id
    """
)


def put_in_place(
    engine: Engine,
    claim: Claim,
    *,
    role: str,
    blob: Blob,
    file_name: str | None,
    place: Callable[[], object],
    max_stored_bytes: int = 0,
) -> bool:
    """Have a fetched artifact take the place of its URL, which is forgotten. False if the job was lost.

    `place` puts the blob where it belongs; it is called with the blob held against removal. `max_stored_bytes` is the
    setting: what a tenant may store that has no limit of its own; 0: all.

    Raises StorageQuotaError; nothing is then kept.
    """
    with engine.begin() as connection:
        if connection.execute(_HOLD_JOB, {"job_id": claim.job_id, "fence": claim.fence}).one_or_none() is None:
            return False
        room = connection.execute(_ROOM, {"audit_id": claim.audit_id, "setting": max_stored_bytes}).one()
        tenant = {"tenant_id": room.tenant_id}
        if room.most:
            connection.execute(HOLD_ROOM, tenant)
        connection.execute(HOLD_BLOB, {"sha256": blob.sha256})
        title = connection.execute(
            _TITLE,
            {
                "id": new_id(),
                "sha256": blob.sha256,
                "bytes": blob.bytes,
                "file_name": file_name,
                "audit_id": claim.audit_id,
            },
        ).one()
        if title.is_new and room.most and (used := int(connection.scalar(USED_BYTES, tenant))) > room.most:
            raise no_room(room.most, used - blob.bytes, blob.bytes)
        place()
        connection.execute(_REPLACE_URL, {"artifact_id": title.id, "audit_id": claim.audit_id, "role": role})
        return True


def queue_audit(engine: Engine, claim: Claim) -> Queue | None:
    """End the fetching and queue the audit. The queue whose bell is to be rung, or None if the job was lost.

    The audit's fingerprint becomes that of the content, so that the same content handed in again finds this audit.
    """
    with engine.begin() as connection:
        ended = connection.execute(_END_FETCHING, {"job_id": claim.job_id, "fence": claim.fence}).one_or_none()
        if ended is None:
            return None
        inputs = [
            (row.role, row.sha256 or "", row.path or "")
            for row in connection.execute(_DIGESTS, {"audit_id": claim.audit_id})
        ]
        same = fingerprint(inputs, claim.depth, claim.policy, claim.environment)
        queued = connection.execute(_QUEUE_AUDIT, {"audit_id": claim.audit_id, "fingerprint": same}).one_or_none()
        if queued is None:
            return None
        queue = QUEUE_OF_DEPTH[claim.depth]
        connection.execute(
            _ADD_JOB,
            {
                "id": new_id(),
                "audit_id": claim.audit_id,
                "queue": queue,
                "max_attempts": ended.max_attempts,
                "fetch_id": claim.job_id,
            },
        )
        return queue
