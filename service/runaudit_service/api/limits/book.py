"""The limits of tenants: the settings', where a tenant has no row of its own. Read again after a while."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from runaudit_service.api.database import Database
from runaudit_service.store.limit_rows import TenantLimits
from runaudit_service.store.settings import Settings

REMEMBERED_SECONDS: Final = 30.0
"""how long a change of a row may take to be felt: requests need no query of their own for it"""


@dataclass(frozen=True)
class Limits:
    """What a tenant may do. 0 is no limit."""

    requests_per_minute: int
    max_queued_audits: int
    max_stored_bytes: int


class LimitBook:
    """Remembers the limits of the tenants that call."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._defaults = Limits(settings.requests_per_minute, settings.max_queued_audits, settings.max_stored_bytes)
        self._known: dict[uuid.UUID, tuple[float, Limits]] = {}

    async def of(self, tenant_id: uuid.UUID) -> Limits:
        """The limits of the tenant for which this request acts."""
        now = time.monotonic()
        known = self._known.get(tenant_id)
        if known is not None and now < known[0]:
            return known[1]
        async with self._database.reading() as session:
            row = await session.scalar(select(TenantLimits).where(TenantLimits.tenant_id == tenant_id))
        limits = self._defaults if row is None else self._with(row)
        self._known[tenant_id] = (now + REMEMBERED_SECONDS, limits)
        return limits

    def _with(self, row: TenantLimits) -> Limits:
        def chosen(own: int | None, default: int) -> int:
            return default if own is None else own

        return Limits(
            chosen(row.requests_per_minute, self._defaults.requests_per_minute),
            chosen(row.max_queued_audits, self._defaults.max_queued_audits),
            chosen(row.max_stored_bytes, self._defaults.max_stored_bytes),
        )
