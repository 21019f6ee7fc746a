"""The rows of webhooks: endpoints, the callbacks of single audits, deliveries and the attempts to make them.

Nobody writes an event's deliveries by hand: a trigger on `events` does (migration 0006), when the transaction that
writes the event commits. So there is no event without its deliveries, and no delivery of what was rolled back.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from runaudit_service.store.models import Base, new_id

EventType = Literal["audit.queued", "audit.started", "audit.succeeded", "audit.failed", "audit.cancelled", "ping"]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
PING: Final[EventType] = "ping"
"""the one type that is no event of an audit: sent when someone asks for it"""
Format = Literal["standard", "slack", "teams"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
DeliveryState = Literal["pending", "sending", "succeeded", "failed", "skipped"]
"""`skipped`: the endpoint was disabled when its turn came, or when the event happened"""
DELIVERY_STATES: Final[tuple[DeliveryState, ...]] = get_args(DeliveryState)
CHANNEL: Final = "runaudit_deliveries"
"""of PostgreSQL's NOTIFY: heard by senders when deliveries have been committed"""

_OPEN: Final = "state IN ('pending', 'sending')"


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class WebhookEndpoint(Base):
    """Where a tenant wants to be told of its audits' events. The secrets sign, so they are kept as they are."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint(_one_of("format", FORMATS), name="format"),
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), index=True)
    project_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("projects.id"))
    url: Mapped[str]
    events: Mapped[list[str]]
    format: Mapped[str] = mapped_column(server_default="standard")
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_secret_expires_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    failing_since: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookCallback(Base):
    """A `callback_url` that was given with an audit; more than one where the same audit was asked for again."""

    __tablename__ = "webhook_callbacks"
    audit_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("audits.id", ondelete="CASCADE"), primary_key=True)
    url: Mapped[str] = mapped_column(primary_key=True)


class WebhookDelivery(Base):
    """One message for one receiver: an endpoint, or a callback (then `url` and `project_id`, whose secret signs it).

    `snapshot` is the audit as the event left it; the first attempt makes `body` of it, which every further one sends
    again. While the state is `sending`, `next_attempt_at` is the end of the lease. `target` names the receiver among
    all of them: what a sender shares its attention by. `step` counts attempts of the schedule, `attempts` all of them.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint(_one_of("state", DELIVERY_STATES), name="state"),
        CheckConstraint(f"({_OPEN}) = (next_attempt_at IS NOT NULL)", name="next_attempt"),
        CheckConstraint(f"({_OPEN}) = (ended_at IS NULL)", name="ended"),
        CheckConstraint("(endpoint_id IS NULL) = (url IS NOT NULL AND project_id IS NOT NULL)", name="receiver"),
        Index("ix_webhook_deliveries_due", "target", "next_attempt_at", postgresql_where=text(_OPEN)),
        Index("ix_webhook_deliveries_endpoint_id_created_at_id", "endpoint_id", "created_at", "id"),
        Index("ix_webhook_deliveries_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index(
            "uq_webhook_deliveries_event_id_endpoint_id",
            "event_id",
            "endpoint_id",
            unique=True,
            postgresql_where=text("endpoint_id IS NOT NULL"),
        ),
        Index(
            "uq_webhook_deliveries_event_id_url",
            "event_id",
            "url",
            unique=True,
            postgresql_where=text("endpoint_id IS NULL"),
        ),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    endpoint_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    project_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("projects.id"))
    # Neither refers to its row: what was sent is still told when the audit has been deleted.
    event_id: Mapped[int | None]
    audit_id: Mapped[uuid.UUID | None]
    message_id: Mapped[str]
    type: Mapped[str]
    url: Mapped[str | None]
    target: Mapped[str]
    occurred_at: Mapped[datetime]
    snapshot: Mapped[dict[str, Any] | None]
    body: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="pending")
    step: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """One attempt: the status that came back, or why none did, and the beginning of the answer."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (Index("ix_webhook_attempts_delivery_id_id", "delivery_id", "id"),)
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    delivery_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_deliveries.id", ondelete="CASCADE"))
    started_at: Mapped[datetime]
    seconds: Mapped[float]
    status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None]
    response: Mapped[str | None]
