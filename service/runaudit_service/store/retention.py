"""Deletes audits that ended longer ago than their project keeps them; `removal` takes their artifacts after them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, text

BATCH: Final = 200
"""audits that one transaction deletes; bounds how long it holds their rows"""

# No audit ends before it was created, so that the index of its project finds the old ones from the oldest on.
_EXPIRED: Final = text(
    """
    SELECT expired.id FROM projects, LATERAL (
        SELECT id, created_at FROM audits
        WHERE audits.project_id = projects.id
          AND audits.created_at < now() - make_interval(days => projects.retention_days)
          AND audits.ended_at < now() - make_interval(days => projects.retention_days)
        ORDER BY audits.created_at, audits.id LIMIT :batch
    ) AS expired
    WHERE projects.retention_days IS NOT NULL
    ORDER BY expired.created_at LIMIT :batch
    """
)

# One that a request holds at this moment is left for the next time.
_LOCK: Final = text("SELECT id FROM audits WHERE id = ANY(:ids) ORDER BY id FOR UPDATE SKIP LOCKED")

# In the order of their ids, as no other statement locks several titles at once.
_RELEASE: Final = text(
    """
    UPDATE artifacts SET released_at = now() WHERE id IN (
        SELECT artifacts.id FROM artifacts JOIN audit_artifacts AS uses ON uses.artifact_id = artifacts.id
        WHERE uses.audit_id = ANY(:ids) ORDER BY artifacts.id FOR UPDATE OF artifacts
    )
    """
)
_DELETE: Final = text("DELETE FROM audits WHERE id = ANY(:ids)")


def delete_expired(engine: Engine) -> int:
    """Delete up to BATCH audits past their retention, with report, events and jobs; returns how many."""
    with engine.begin() as connection:
        expired = connection.execute(_EXPIRED, {"batch": BATCH}).scalars().all()
        ids = connection.execute(_LOCK, {"ids": list(expired)}).scalars().all()
        if ids:
            connection.execute(_RELEASE, {"ids": list(ids)})
            connection.execute(_DELETE, {"ids": list(ids)})
    return len(ids)
