"""What a tenant may have at a time: audits that wait, and bytes in the store.

Both are counted in the transaction that would add to them. Those that store more where a tenant's room is limited wait
for each other (`store.room`). Those that queue audits do not, since every tenant has that limit: requests of one moment
do not see each other, and a tenant may go over by as many as it sends at once.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.errors import ApiError
from runaudit_service.api.limits.book import Limits
from runaudit_service.store.room import HOLD_ROOM, USED_BYTES, no_room

QUEUE_RETRY_SECONDS: Final = 60
"""an audit takes from seconds to minutes"""


ONE_WAITS_TOO_MANY: Final = """
    SELECT FROM audits WHERE tenant_id = %(tenant_id)s AND state IN ('queued', 'fetching')
    OFFSET greatest(%(most_waiting)s - 1, 0) LIMIT 1
"""
"""whether as many wait as may (not 0), so that one more would be too many: not counted to the end, for how far over it
is does not matter"""


class QueuedAuditsQuotaError(ApiError):
    """As many audits wait as the tenant may have waiting."""

    code = "queued_audits_quota"
    status = 429
    title = "Too many audits wait already"
    headers = {"Retry-After": str(QUEUE_RETRY_SECONDS)}

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} audits of this tenant wait already, which is as many as may wait.")


@asynccontextmanager
async def storage_kept(session: AsyncSession, tenant_id: uuid.UUID, limits: Limits) -> AsyncIterator[None]:
    """Around what may add artifacts or uploads: raises StorageQuotaError if they then take more than they may.

    What adds nothing passes, also where a quota was made smaller than what is there.
    """
    most, tenant = limits.max_stored_bytes, {"tenant_id": tenant_id}
    if not most:
        yield
        return
    await session.execute(HOLD_ROOM, tenant)
    before = int(await session.scalar(USED_BYTES, tenant) or 0)
    yield
    used = int(await session.scalar(USED_BYTES, tenant) or 0)
    if used > max(most, before):
        raise no_room(most, before, used - before)
