"""Rows of webhooks that tests begin with, and what became of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from runaudit_service.store import signing
from runaudit_service.store.models import Project, Tenant, new_id
from runaudit_service.store.webhooks import (
    PING,
    WebhookAttempt,
    WebhookCallback,
    WebhookDelivery,
    WebhookEndpoint,
)

ALL_EVENTS = ["audit.queued", "audit.started", "audit.succeeded", "audit.failed", "audit.cancelled"]


def tenant_of(engine: Engine, name: str = "default") -> UUID:
    """A tenant of this name with a project `default`, made if it is not there."""
    with Session(engine) as session:
        tenant = session.scalars(select(Tenant).where(Tenant.name == name)).one_or_none()
        if tenant is None:
            tenant = Tenant(id=new_id(), name=name)
            session.add(tenant)
            session.flush()
            session.add(Project(tenant_id=tenant.id, name="default"))
        session.commit()
        return tenant.id


def endpoint(engine: Engine, url: str, **columns: Any) -> WebhookEndpoint:
    """Writes an endpoint of the default tenant for all events."""
    values: dict[str, Any] = {"events": ALL_EVENTS, "secret": signing.new_secret(), "tenant_id": tenant_of(engine)}
    with Session(engine, expire_on_commit=False) as session:
        made = WebhookEndpoint(url=url, **(values | columns))
        session.add(made)
        session.commit()
        return made


def endpoint_now(engine: Engine, made: WebhookEndpoint) -> WebhookEndpoint:
    """The endpoint as it is now."""
    with Session(engine, expire_on_commit=False) as session:
        return session.get_one(WebhookEndpoint, made.id)


def callback(engine: Engine, audit_id: UUID, url: str) -> None:
    """Writes a callback of an audit, and a secret of its project."""
    with Session(engine) as session:
        session.add(WebhookCallback(audit_id=audit_id, url=url))
        unsigned = update(Project).where(Project.signing_secret.is_(None))
        session.execute(unsigned.values(signing_secret=signing.new_secret()))
        session.commit()


def message(engine: Engine, made: WebhookEndpoint, number: int = 1) -> list[UUID]:
    """Writes deliveries that wait for an endpoint, without an audit."""
    with Session(engine, expire_on_commit=False) as session:
        rows = [
            WebhookDelivery(
                id=new_id(),
                tenant_id=made.tenant_id,
                endpoint_id=made.id,
                message_id=f"msg_{new_id().hex}",
                type="audit.succeeded",
                target=str(made.id),
                occurred_at=text("now()"),
                next_attempt_at=text("now()"),
                body='{"type":"audit.succeeded"}',
            )
            for _ in range(number)
        ]
        session.add_all(rows)
        session.execute(text("SELECT pg_notify('runaudit_deliveries', '')"))
        session.commit()
        return [row.id for row in rows]


def ping(engine: Engine, made: WebhookEndpoint) -> UUID:
    """Writes a ping."""
    with Session(engine) as session:
        row = WebhookDelivery(
            id=new_id(),
            tenant_id=made.tenant_id,
            endpoint_id=made.id,
            message_id=f"msg_{new_id().hex}",
            type=PING,
            target=str(made.id),
            occurred_at=text("now()"),
            next_attempt_at=text("now()"),
            snapshot={"webhook_id": str(made.id)},
        )
        session.add(row)
        session.commit()
        return row.id


def deliveries(engine: Engine, made: WebhookEndpoint | None = None) -> list[WebhookDelivery]:
    """All deliveries in the order of their events, or those of one endpoint."""
    query = select(WebhookDelivery).order_by(WebhookDelivery.occurred_at, WebhookDelivery.created_at)
    if made is not None:
        query = query.where(WebhookDelivery.endpoint_id == made.id)
    with Session(engine, expire_on_commit=False) as session:
        return list(session.scalars(query))


def delivery_now(engine: Engine, delivery_id: UUID) -> WebhookDelivery:
    """The delivery as it is now."""
    with Session(engine, expire_on_commit=False) as session:
        return session.get_one(WebhookDelivery, delivery_id)


def attempts(engine: Engine, delivery_id: UUID) -> list[WebhookAttempt]:
    """The attempts of a delivery, oldest first."""
    query = select(WebhookAttempt).where(WebhookAttempt.delivery_id == delivery_id).order_by(WebhookAttempt.id)
    with Session(engine, expire_on_commit=False) as session:
        return list(session.scalars(query))


def let_time_pass(engine: Engine, by: timedelta) -> None:
    """Makes everything that waits, and every endpoint's failing, earlier by so long: as if that time had passed."""
    with engine.begin() as connection:
        values = {"by": by}
        connection.execute(
            text("UPDATE webhook_deliveries SET next_attempt_at = next_attempt_at - CAST(:by AS interval)"), values
        )
        connection.execute(
            text("UPDATE webhook_endpoints SET failing_since = failing_since - CAST(:by AS interval)"), values
        )
        connection.execute(text("SELECT pg_notify('runaudit_deliveries', '')"))
