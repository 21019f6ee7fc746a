"""The rows of resumable uploads: how far each has come, who may write now, and the files that its bytes lie in."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from runaudit_service.store.models import Base, new_id


class Upload(Base):
    """An artifact that comes in by pieces.

    `received` bytes from its start are durable, in the files of its parts. One request at a time may write, `holder`,
    until `held_until`, which it moves on as long as it lives. `sha256` is what the client said, `digest` what came,
    once all is there and has become an artifact.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        CheckConstraint("received >= 0 AND received <= length", name="received"),
        CheckConstraint("(holder IS NULL) = (held_until IS NULL)", name="held"),
        CheckConstraint("digest IS NULL OR (received = length AND holder IS NULL)", name="complete"),
        Index("ix_uploads_tenant_id", "tenant_id"),
        Index("ix_uploads_expires_at", "expires_at"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    length: Mapped[int]
    sha256: Mapped[str | None]
    received: Mapped[int] = mapped_column(server_default=text("0"))
    digest: Mapped[str | None]
    holder: Mapped[uuid.UUID | None]
    held_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class UploadPart(Base):
    """The bytes of one request: `bytes` of the upload from `start` on, in a file named by both and by `holder`.

    A file is written by one request only, so one that lost its hold and does not know it yet harms nobody. The file may
    be longer than `bytes`, where its API was killed.
    """

    __tablename__ = "upload_parts"
    __table_args__ = (CheckConstraint("bytes > 0", name="bytes"),)
    upload_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True)
    bytes: Mapped[int]
    holder: Mapped[uuid.UUID]
