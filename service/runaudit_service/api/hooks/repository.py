"""The rows of hooks: whom a message is for, whether it was seen before, and who waits for the verdict."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.hooks.schemas import ModelVersion
from runaudit_service.store.hook_rows import HookDelivery, ModelVersionVerdict
from runaudit_service.store.keys import DEFAULT_NAME
from runaudit_service.store.models import Project, Tenant

REMEMBERED: Final = timedelta(days=1)
"""far longer than a signature is taken: what is older can't come again"""


@dataclass(frozen=True)
class Receiver:
    """The project that a message is for, and the secrets that may have signed it."""

    project_id: uuid.UUID
    tenant_id: uuid.UUID
    name: str
    secrets: tuple[str, ...]
    is_default: bool


async def receiver(session: AsyncSession, project_id: uuid.UUID | None) -> Receiver | None:
    """The project of this id, or the project `default` of the tenant `default`. `session` sees all tenants."""
    query = select(Project, Tenant.name).join(Tenant, Tenant.id == Project.tenant_id)
    if project_id is None:
        query = query.where(Project.name == DEFAULT_NAME, Tenant.name == DEFAULT_NAME)
    else:
        query = query.where(Project.id == project_id)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    project, tenant = row
    return Receiver(project.id, project.tenant_id, project.name, _secrets(project), tenant == DEFAULT_NAME)


def _secrets(project: Project) -> tuple[str, ...]:
    ends = project.previous_signing_secret_expires_at
    previous = project.previous_signing_secret if ends is not None and ends > datetime.now(UTC) else None
    return tuple(secret for secret in (project.signing_secret, previous) if secret)


class HookRepository:
    """Deliveries and waiting versions of one project."""

    def __init__(self, session: AsyncSession, receiver: Receiver) -> None:
        self._session = session
        self._receiver = receiver

    async def is_first(self, delivery_id: str) -> bool:
        """Write down that this message came; False if it did before. A twin in flight is waited for."""
        row = {
            "project_id": self._receiver.project_id,
            "tenant_id": self._receiver.tenant_id,
            "delivery_id": delivery_id,
        }
        statement = insert(HookDelivery).values(**row).on_conflict_do_nothing().returning(HookDelivery.delivery_id)
        first = await self._session.scalar(statement) is not None
        forgotten = HookDelivery.received_at < datetime.now(UTC) - REMEMBERED
        await self._session.execute(
            delete(HookDelivery).where(HookDelivery.project_id == self._receiver.project_id, forgotten)
        )
        return first

    async def audit_of(self, delivery_id: str) -> uuid.UUID | None:
        """The audit that the message led to, if it did and the audit is still there."""
        query = select(HookDelivery.audit_id).where(self._same(delivery_id))
        return await self._session.scalar(query)

    async def led_to(self, delivery_id: str, audit_id: uuid.UUID) -> None:
        """Write down which audit the message led to."""
        await self._session.execute(update(HookDelivery).where(self._same(delivery_id)).values(audit_id=audit_id))

    async def await_verdict(self, audit_id: uuid.UUID, version: ModelVersion) -> None:
        """Have the version told of the verdict once the audit has ended."""
        row = ModelVersionVerdict(
            tenant_id=self._receiver.tenant_id, audit_id=audit_id, model=version.name, model_version=version.version
        )
        self._session.add(row)
        await self._session.flush()

    def _same(self, delivery_id: str) -> ColumnElement[bool]:
        return and_(HookDelivery.project_id == self._receiver.project_id, HookDelivery.delivery_id == delivery_id)
