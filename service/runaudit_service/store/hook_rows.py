"""The rows of inbound hooks: which deliveries have been seen, and which model versions want to be told of a verdict."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from runaudit_service.store.models import Base, new_id

VERDICT_STATES: Final = ("waiting", "succeeded", "failed")


class HookDelivery(Base):
    """A signed message that was taken: sent again, it is answered with the same audit and does nothing."""

    __tablename__ = "hook_deliveries"
    __table_args__ = (Index("ix_hook_deliveries_received_at", "received_at"),)
    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    audit_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("audits.id", ondelete="SET NULL"), index=True)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ModelVersionVerdict(Base):
    """A version of a registered model that gets an audit's verdict as tags, once the audit has ended.

    While it waits, `next_attempt_at` is when it is due, or the end of the lease of the worker that is at it.
    """

    __tablename__ = "model_version_verdicts"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'succeeded', 'failed')", name="state"),
        CheckConstraint("(state = 'waiting') = (next_attempt_at IS NOT NULL)", name="next_attempt"),
        Index("ix_model_version_verdicts_due", "next_attempt_at", postgresql_where=text("state = 'waiting'")),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    audit_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("audits.id", ondelete="CASCADE"), index=True)
    model: Mapped[str]
    model_version: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
