"""The `callback_url` of a single audit: told of its events as an endpoint is, signed with the project's secret."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.store import signing
from runaudit_service.store.models import TERMINAL_EVENTS, TERMINAL_STATES, Audit, Event, Project
from runaudit_service.store.webhooks import WebhookCallback

_WRITE: Final = text("SELECT write_webhook_deliveries(:event, :url)")


async def call_back(session: AsyncSession, audit: Audit, url: str) -> None:
    """Have `url` told of the audit's events from now on; of one that has ended already, how it ended.

    The lock lets the audit either end before this, or see this.
    """
    state = await session.scalar(select(Audit.state).where(Audit.id == audit.id).with_for_update())
    unsigned = update(Project).where(Project.id == audit.project_id, Project.signing_secret.is_(None))
    await session.execute(unsigned.values(signing_secret=signing.new_secret()))
    await session.execute(insert(WebhookCallback).values(audit_id=audit.id, url=url).on_conflict_do_nothing())
    if state in TERMINAL_STATES:
        ended = select(Event.id).where(Event.audit_id == audit.id, Event.type.in_(TERMINAL_EVENTS))
        for event in (await session.scalars(ended)).all():
            await session.execute(_WRITE, {"event": event, "url": url})
