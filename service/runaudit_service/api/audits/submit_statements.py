"""The statements of submitting, for the driver itself (api/direct.py): pipelines submit all day long, so that it should
cost two ways to the database, what is asked first and what is written, and not one for each thing.
"""

from __future__ import annotations

from typing import Final

from runaudit_service.api.limits.quotas import ONE_WAITS_TOO_MANY
from runaudit_service.store.removal import HOLD_BLOBS

__all__ = ["ADD", "ADD_ARTIFACTS", "ADD_ROWS", "EARLIER", "FIND_ARTIFACTS", "HOLD_BLOBS", "LOCK_FINGERPRINT", "PROJECT"]

# First what is asked, in this order: only a statement that begins after the blobs are held sees what removals left.

PROJECT: Final = f"""
    SELECT id, default_policy, now(), %(most_waiting)s > 0 AND EXISTS ({ONE_WAITS_TOO_MANY})
    FROM projects WHERE tenant_id = %(tenant_id)s AND name = %(project)s
"""  # noqa: S608 - a constant
"""`now()` is when the transaction began, which is when the audit will be created"""
FIND_ARTIFACTS: Final = """
    SELECT sha256, id, bytes FROM artifacts WHERE tenant_id = %(tenant_id)s AND sha256 = ANY(%(named)s)
"""
ADD_ARTIFACTS: Final = """
    INSERT INTO artifacts AS known (id, tenant_id, sha256, bytes, file_name)
    SELECT sent.id, %(tenant_id)s, sent.sha256, sent.bytes, sent.file_name
    FROM unnest(%(ids)s::uuid[], %(sent)s::text[], %(bytes)s::bigint[], %(file_names)s::text[])
        AS sent (id, sha256, bytes, file_name)
    ON CONFLICT (tenant_id, sha256) DO UPDATE SET file_name = coalesce(known.file_name, excluded.file_name)
    RETURNING sha256, id, bytes
"""
"""no digest twice"""

# Then, unless it is wanted again anyway, whether it is there; again in this order.

LOCK_FINGERPRINT: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%(project_and_fingerprint)s, 0))"
EARLIER: Final = """
    SELECT id FROM audits
    WHERE tenant_id = %(tenant_id)s AND project_id = %(project_id)s AND fingerprint = %(fingerprint)s
      AND state NOT IN ('failed', 'cancelled') AND cancel_requested_at IS NULL
    ORDER BY created_at DESC, id DESC LIMIT 1
"""

# At last what is written: the audit by itself, for row-level security shows the other rows to whoever sees their audit
# already.

ADD: Final = """
    INSERT INTO audits (
        id, tenant_id, project_id, run_name, state, progress_stage, depth, policy, baseline, labels, environment,
        callback_url, auditor_version, fingerprint, rerun_of, created_at, version, attempt, progress_done,
        progress_total
    ) VALUES (
        %(id)s, %(tenant_id)s, %(project_id)s, %(run_name)s, %(state)s, %(progress_stage)s, %(depth)s, %(policy)s,
        %(baseline)s, %(labels)s, %(environment)s, %(callback_url)s, %(auditor_version)s, %(fingerprint)s,
        %(rerun_of)s, %(created_at)s, %(version)s, %(attempt)s, %(progress_done)s, %(progress_total)s
    )
"""
ADD_ROWS: Final = """
    WITH inputs AS (
        INSERT INTO audit_artifacts (audit_id, role, artifact_id, path, url)
        SELECT %(audit_id)s, given.*
        FROM jsonb_to_recordset(%(inputs)s) AS given (role text, artifact_id uuid, path text, url text)
    ), work AS (
        INSERT INTO jobs (id, audit_id, kind, queue, max_attempts, request_id, traceparent)
        VALUES (
            %(job_id)s, %(audit_id)s, %(kind)s, %(queue)s, %(max_attempts)s, %(request_id)s, %(traceparent)s
        )
    )
    INSERT INTO events (tenant_id, audit_id, type, data) VALUES (
        %(tenant_id)s, %(audit_id)s, 'audit.queued', jsonb_build_object('state', %(state)s::text, 'attempt', 0)
    )
"""
