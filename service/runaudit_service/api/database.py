"""The one place that opens and commits transactions; services only flush.

Each transaction works for one tenant, that of the request (`act_for`), and PostgreSQL shows it the rows of that tenant
only (store/tenancy.py). Without a tenant it sees nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from runaudit_service.api.direct import driver_of
from runaudit_service.store.tenancy import OVERVIEW_ROLE, TENANT_SETTING

_tenant: Final[ContextVar[uuid.UUID | None]] = ContextVar("tenant", default=None)
_SET_TENANT: Final = f"SELECT set_config('{TENANT_SETTING}', %s, true)"
_SEE_ALL: Final = f"SET LOCAL ROLE {OVERVIEW_ROLE}"


def act_for(tenant_id: uuid.UUID | None) -> None:
    """From here on the transactions of this request (this asyncio task) are this tenant's; None: nobody's."""
    _tenant.set(tenant_id)


class Database:
    """Sessions on the engine. A connection is held inside the `async with` only, so keep uploads and waits outside."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that commits at the end, or rolls back if anything is raised."""
        async with self._sessions.begin() as session:
            await _enter(session)
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session for looking only; what it might change is rolled back."""
        async with self._sessions() as session:
            await _enter(session)
            yield session

    @asynccontextmanager
    async def overview(self) -> AsyncIterator[AsyncSession]:
        """A session for looking at the rows of all tenants, where that is the question: watching, counting, finding
        out whom a signed hook is for. It can write nothing."""
        async with self._sessions() as session:
            await (await session.connection()).exec_driver_sql(_SEE_ALL)
            yield session


async def _enter(session: AsyncSession) -> None:
    # Whoever asks the driver itself (api/direct.py) finds a connection, too.
    await session.connection()
    tenant_id = _tenant.get()
    if tenant_id is not None:
        connection = driver_of(session)
        # The driver's BEGIN goes the same way.
        async with connection.pipeline():
            await connection.execute(_SET_TENANT, (str(tenant_id),))
