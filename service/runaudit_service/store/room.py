"""A tenant's room for artifacts: what its artifacts and begun uploads take, counted by one transaction at a time.

Whoever adds to it where it is limited calls HOLD_ROOM first, before any row or blob is held, and counts (USED_BYTES)
after it has added: then no two transactions both take what is left. It is held to the end of the transaction.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from runaudit.errors import InputError

HOLD_ROOM: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('room ' || CAST(:tenant_id AS text), 0))")

# Of uploads that have not become artifacts yet: what they are to have.
USED_BYTES: Final = text(
    """
    SELECT (SELECT COALESCE(sum(bytes), 0) FROM artifacts WHERE tenant_id = :tenant_id)
        + (SELECT COALESCE(sum(length), 0) FROM uploads
            WHERE tenant_id = :tenant_id AND digest IS NULL AND expires_at > now())
    """
)


class StorageQuotaError(InputError):
    """The tenant's artifacts would take more room than it may use (RFC 4331 answers a full quota with 507 too)."""

    code = "storage_quota"
    status = 507
    title = "The tenant's room for artifacts is used up"


def no_room(most: int, used: int, added: int) -> StorageQuotaError:
    """The error for `added` bytes beside the `used` ones of a tenant that may store `most`."""
    return StorageQuotaError(
        f"This tenant may store {most} bytes. {used} are used, and this would add {added}. "
        "Delete audits that are no longer needed; their artifacts go some time after them."
    )
