"""The rows of limits: what one tenant may do, where that differs from the settings."""

from __future__ import annotations

import uuid

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from runaudit_service.store.models import Base


class TenantLimits(Base):
    """A tenant's own limits. NULL: what the setting of that name says; 0: none."""

    __tablename__ = "tenant_limits"
    __table_args__ = (
        CheckConstraint("requests_per_minute >= 0", name="requests_per_minute"),
        CheckConstraint("max_queued_audits >= 0", name="max_queued_audits"),
        CheckConstraint("max_stored_bytes >= 0", name="max_stored_bytes"),
    )
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True)
    requests_per_minute: Mapped[int | None]
    max_queued_audits: Mapped[int | None]
    max_stored_bytes: Mapped[int | None]
