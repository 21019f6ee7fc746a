"""The rows of webhooks, for one tenant: no query here can see another tenant's."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, func, or_, select, text, tuple_, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.pagination import MAX_PAGE_SIZE, Position
from runaudit_service.api.webhooks.schemas import DeliveryFilter
from runaudit_service.store.deliveries import SKIP_WAITING
from runaudit_service.store.models import Event, Project, Tenant
from runaudit_service.store.webhooks import CHANNEL, WebhookAttempt, WebhookDelivery, WebhookEndpoint

SHOWN_ATTEMPTS: Final = 20
# What a delivery becomes that shall be made again, from the beginning of the schedule.
_AGAIN: Final[dict[str, Any]] = {"state": "pending", "step": 0, "next_attempt_at": func.now(), "ended_at": None}


class WebhookRepository:
    """Endpoints and their deliveries, as one tenant sees them."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        self._session = session
        self._tenant_id = tenant_id

    async def lock(self) -> None:
        """Let only one transaction at a time add endpoints of this tenant."""
        await self._session.execute(select(Tenant.id).where(Tenant.id == self._tenant_id).with_for_update())

    async def all(self) -> Sequence[tuple[WebhookEndpoint, str | None]]:
        """With the names of their projects, oldest first."""
        query = self._endpoints().order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)
        return [(endpoint, project) for endpoint, project in await self._session.execute(query)]

    async def get(self, webhook_id: uuid.UUID, *, lock: bool = False) -> tuple[WebhookEndpoint, str | None] | None:
        """The endpoint with the name of its project, or None if this tenant has none of that id."""
        query = self._endpoints().where(WebhookEndpoint.id == webhook_id)
        if lock:
            query = query.with_for_update(of=WebhookEndpoint)
        row = (await self._session.execute(query)).one_or_none()
        return (row[0], row[1]) if row is not None else None

    async def project(self, name: str) -> Project | None:
        """This tenant's project of a name."""
        query = select(Project).where(Project.tenant_id == self._tenant_id, Project.name == name)
        return (await self._session.scalars(query)).one_or_none()

    async def add(self, endpoint: WebhookEndpoint) -> None:
        """Store a new endpoint."""
        endpoint.tenant_id = self._tenant_id
        self._session.add(endpoint)
        await self._session.flush()
        await self._session.refresh(endpoint)

    async def delete(self, endpoint: WebhookEndpoint) -> None:
        """Remove it, with its deliveries."""
        await self._session.delete(endpoint)
        await self._session.flush()

    async def skip_waiting(self, webhook_id: uuid.UUID) -> None:
        """Have nothing sent any more of what waits for it."""
        await self._session.execute(SKIP_WAITING, {"ids": [webhook_id]})

    async def add_delivery(self, delivery: WebhookDelivery) -> None:
        """Store a delivery that no event brings, and wake the senders."""
        delivery.tenant_id = self._tenant_id
        self._session.add(delivery)
        await self._session.flush()
        await self._session.refresh(delivery)
        await self._wake()

    async def delivery(self, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> WebhookDelivery | None:
        """A delivery of the endpoint, locked."""
        query = select(WebhookDelivery).where(*self._of(webhook_id), WebhookDelivery.id == delivery_id)
        return (await self._session.scalars(query.with_for_update())).one_or_none()

    async def deliveries(
        self, webhook_id: uuid.UUID, wanted: DeliveryFilter, after: Position | None, size: int
    ) -> Sequence[WebhookDelivery]:
        """Up to `size` deliveries of the endpoint, newest first, beginning after a position."""
        query = select(WebhookDelivery).where(*self._of(webhook_id))
        if wanted.state:
            query = query.where(WebhookDelivery.state.in_(wanted.state))
        if wanted.type:
            query = query.where(WebhookDelivery.type.in_(wanted.type))
        if wanted.created_after is not None:
            query = query.where(WebhookDelivery.created_at > wanted.created_after)
        if wanted.created_before is not None:
            query = query.where(WebhookDelivery.created_at < wanted.created_before)
        if after is not None:
            key = tuple_(WebhookDelivery.created_at, WebhookDelivery.id)
            query = query.where(key < (after.created_at, after.id))
        newest_first = query.order_by(WebhookDelivery.created_at.desc(), WebhookDelivery.id.desc())
        return (await self._session.scalars(newest_first.limit(size))).all()

    async def callback_deliveries(self, audit_id: uuid.UUID) -> Sequence[WebhookDelivery]:
        """What the audit's callbacks were told, newest first, as many as a page holds at most."""
        newest_first = (WebhookDelivery.created_at.desc(), WebhookDelivery.id.desc())
        query = select(WebhookDelivery).where(*self._of_callbacks(audit_id)).order_by(*newest_first)
        return (await self._session.scalars(query.limit(MAX_PAGE_SIZE))).all()

    async def callback_delivery(self, audit_id: uuid.UUID, delivery_id: uuid.UUID) -> WebhookDelivery | None:
        """A delivery of one of the audit's callbacks, locked."""
        query = select(WebhookDelivery).where(*self._of_callbacks(audit_id), WebhookDelivery.id == delivery_id)
        return (await self._session.scalars(query.with_for_update())).one_or_none()

    async def attempts(self, delivery_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[WebhookAttempt]]:
        """The newest SHOWN_ATTEMPTS of each delivery, oldest first."""
        place = func.row_number().over(partition_by=WebhookAttempt.delivery_id, order_by=WebhookAttempt.id.desc())
        newest = (
            select(WebhookAttempt.id, place.label("place"))
            .where(WebhookAttempt.tenant_id == self._tenant_id, WebhookAttempt.delivery_id.in_(delivery_ids))
            .subquery()
        )
        query = (
            select(WebhookAttempt)
            .join(newest, and_(newest.c.id == WebhookAttempt.id, newest.c.place <= SHOWN_ATTEMPTS))
            .order_by(WebhookAttempt.id)
        )
        found: dict[uuid.UUID, list[WebhookAttempt]] = defaultdict(list)
        for attempt in await self._session.scalars(query):
            found[attempt.delivery_id].append(attempt)
        return found

    async def send_again(self, delivery: WebhookDelivery) -> None:
        """Have it made again now, from the beginning of the schedule. Its message id and body stay."""
        for name, value in _AGAIN.items():
            setattr(delivery, name, value)
        await self._session.flush()
        await self._session.refresh(delivery)
        await self._wake()

    async def send_again_since(self, webhook_id: uuid.UUID, since: datetime) -> int:
        """The same of all that failed or was skipped, and was written at `since` or later; how many there were."""
        statement = (
            update(WebhookDelivery)
            .where(
                *self._of(webhook_id),
                or_(WebhookDelivery.state == "failed", WebhookDelivery.state == "skipped"),
                WebhookDelivery.created_at >= since,
            )
            .values(**_AGAIN)
        )
        result = await self._session.execute(statement)
        await self._wake()
        return result.rowcount if isinstance(result, CursorResult) else 0

    async def _wake(self) -> None:
        await self._session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})

    def _endpoints(self) -> Any:
        return (
            select(WebhookEndpoint, Project.name)
            .outerjoin(Project, Project.id == WebhookEndpoint.project_id)
            .where(WebhookEndpoint.tenant_id == self._tenant_id)
        )

    def _of_callbacks(self, audit_id: uuid.UUID) -> tuple[Any, ...]:
        """By the events of the audit, for which callbacks' deliveries have an index."""
        events = select(Event.id).where(Event.audit_id == audit_id, Event.tenant_id == self._tenant_id)
        return (
            WebhookDelivery.tenant_id == self._tenant_id,
            WebhookDelivery.endpoint_id.is_(None),
            WebhookDelivery.event_id.in_(events),
        )

    def _of(self, webhook_id: uuid.UUID) -> tuple[Any, ...]:
        return WebhookDelivery.tenant_id == self._tenant_id, WebhookDelivery.endpoint_id == webhook_id
