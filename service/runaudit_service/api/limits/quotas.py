"""What a tenant may have at a time: audits that wait, and bytes in the store.

Both are counted in the transaction that would add to them. Requests of one moment do not see each other, so that a
tenant may go over by as much as it asks for at once; making them wait for each other would cost every tenant more than
that.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.artifacts.repository import ArtifactRepository
from runaudit_service.api.direct import driver_of, row_of
from runaudit_service.api.errors import ApiError
from runaudit_service.api.limits.book import Limits
from runaudit_service.api.uploads.repository import UploadRepository

QUEUE_RETRY_SECONDS: Final = 60
"""an audit takes from seconds to minutes"""


# Not counted to the end: how far over it is does not matter.
_ONE_WAITS_TOO_MANY: Final = """
    SELECT FROM audits WHERE tenant_id = %(tenant_id)s AND state IN ('queued', 'fetching') OFFSET %(most)s LIMIT 1
"""


class QueuedAuditsQuotaError(ApiError):
    """As many audits wait as the tenant may have waiting."""

    code = "queued_audits_quota"
    status = 429
    title = "Too many audits wait already"
    headers = {"Retry-After": str(QUEUE_RETRY_SECONDS)}


class StorageQuotaError(ApiError):
    """The tenant's artifacts would take more room than it may use (RFC 4331 answers a full quota with 507 too)."""

    code = "storage_quota"
    status = 507
    title = "The tenant's room for artifacts is used up"


async def require_place_in_queue(session: AsyncSession, tenant_id: uuid.UUID, limits: Limits) -> None:
    """After an audit was added: raises QueuedAuditsQuotaError if more wait now than may."""
    most = limits.max_queued_audits
    if not most:
        return
    over = await row_of(await driver_of(session), _ONE_WAITS_TOO_MANY, {"tenant_id": tenant_id, "most": most})
    if over is not None:
        raise QueuedAuditsQuotaError(f"{most} audits of this tenant wait already, which is as many as may wait.")


@asynccontextmanager
async def storage_kept(session: AsyncSession, tenant_id: uuid.UUID, limits: Limits) -> AsyncIterator[None]:
    """Around what may add artifacts or uploads: raises StorageQuotaError if they then take more than they may.

    What adds nothing passes, also where a quota was made smaller than what is there.
    """
    most = limits.max_stored_bytes
    before = await _used_bytes(session, tenant_id) if most else 0
    yield
    used = await _used_bytes(session, tenant_id) if most else 0
    if used > max(most, before):
        raise StorageQuotaError(
            f"This tenant may store {most} bytes. {before} are used, and this would add {used - before}. "
            "Delete audits that are no longer needed; their artifacts go some time after them."
        )


async def _used_bytes(session: AsyncSession, tenant_id: uuid.UUID) -> int:
    """Of artifacts, and of uploads as long as they are to be."""
    stored = await ArtifactRepository(session, tenant_id).stored_bytes()
    return stored + await UploadRepository(session, tenant_id).announced_bytes()
