"""The rows of API keys, for one tenant."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.store.models import ApiKey, Tenant


class KeyRepository:
    """API keys as one tenant sees them."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        self._session = session
        self._tenant_id = tenant_id

    async def lock(self) -> None:
        """Let only one transaction at a time change this tenant's keys."""
        await self._session.execute(select(Tenant.id).where(Tenant.id == self._tenant_id).with_for_update())

    async def all(self) -> Sequence[ApiKey]:
        """Oldest first, revoked ones too."""
        query = select(ApiKey).where(ApiKey.tenant_id == self._tenant_id).order_by(ApiKey.created_at, ApiKey.id)
        return (await self._session.scalars(query)).all()

    async def add(self, key: ApiKey) -> ApiKey:
        """Store a new key."""
        key.tenant_id = self._tenant_id
        self._session.add(key)
        await self._session.flush()
        await self._session.refresh(key)
        return key
