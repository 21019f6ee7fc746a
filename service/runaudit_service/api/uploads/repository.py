"""The rows of resumable uploads, for one tenant."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.store.staging import Piece
from runaudit_service.store.upload_rows import Upload, UploadPart

LEASE: Final = timedelta(seconds=30)
"""how long a request that is heard of no more keeps others from writing"""


class UploadRepository:
    """Uploads as one tenant sees them; past their time they are not there."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        self._session = session
        self._tenant_id = tenant_id

    async def add(self, length: int, sha256: str | None, kept_seconds: float) -> Upload:
        """A new upload of `length` bytes."""
        upload = Upload(
            tenant_id=self._tenant_id, length=length, sha256=sha256, expires_at=func.now() + _seconds(kept_seconds)
        )
        self._session.add(upload)
        await self._session.flush()
        await self._session.refresh(upload)
        return upload

    async def get(self, upload_id: uuid.UUID) -> Upload | None:
        """The upload as it stands."""
        return cast("Upload | None", await self._session.scalar(select(Upload).where(*self._known(upload_id))))

    async def claim(self, upload_id: uuid.UUID, offset: int, holder: uuid.UUID) -> Upload | None:
        """The upload, held from now on for LEASE; None if it is not at this offset, complete, or held by another."""
        free = or_(Upload.holder.is_(None), Upload.held_until < func.now())
        statement = (
            update(Upload)
            .where(*self._known(upload_id), Upload.received == offset, Upload.digest.is_(None), free)
            .values(holder=holder, held_until=func.now() + LEASE)
            .returning(Upload)
        )
        return cast("Upload | None", await self._session.scalar(statement))

    async def renew(self, upload_id: uuid.UUID, holder: uuid.UUID) -> bool:
        """Move the end of a hold on; whether it was still there. One that ran out is good until another is given."""
        return await self._write(upload_id, holder, held_until=func.now() + LEASE)

    async def record(self, upload_id: uuid.UUID, piece: Piece, kept_seconds: float) -> bool:
        """Note that a piece is durable, this far; whether its request still holds the upload. Else nothing is noted."""
        received = piece.start + piece.bytes
        values = {"received": received, "expires_at": func.now() + _seconds(kept_seconds)}
        if not await self._write(upload_id, piece.holder, held_until=func.now() + LEASE, **values):
            return False
        statement = insert(UploadPart).values(
            upload_id=upload_id, start=piece.start, bytes=piece.bytes, holder=piece.holder
        )
        statement = statement.on_conflict_do_update(
            index_elements=[UploadPart.upload_id, UploadPart.start], set_={"bytes": piece.bytes}
        )
        await self._session.execute(statement)
        return True

    async def pieces(self, upload_id: uuid.UUID) -> list[Piece]:
        """What is durable, from the first byte on."""
        query = select(UploadPart).where(UploadPart.upload_id == upload_id).order_by(UploadPart.start)
        rows: Sequence[UploadPart] = (await self._session.scalars(query)).all()
        return [Piece(row.start, row.bytes, row.holder) for row in rows]

    async def release(self, upload_id: uuid.UUID, holder: uuid.UUID) -> None:
        """Let others write, if this request still holds the upload."""
        await self._write(upload_id, holder, holder=None, held_until=None)

    async def complete(self, upload_id: uuid.UUID, holder: uuid.UUID, digest: str) -> bool:
        """Note what the bytes have become; whether this request still held the upload. Else nothing is noted."""
        if not await self._write(upload_id, holder, holder=None, held_until=None, digest=digest):
            return False
        await self._session.execute(delete(UploadPart).where(UploadPart.upload_id == upload_id))
        return True

    async def delete(self, upload_id: uuid.UUID, holder: uuid.UUID) -> None:
        """Forget an upload that this request holds."""
        await self._session.execute(delete(Upload).where(*self._held(upload_id, holder)))

    async def _write(self, upload_id: uuid.UUID, held_by: uuid.UUID, /, **values: Any) -> bool:
        statement = update(Upload).where(*self._held(upload_id, held_by)).values(**values).returning(Upload.id)
        written = await self._session.scalar(statement, execution_options={"synchronize_session": False})
        return written is not None

    def _held(self, upload_id: uuid.UUID, holder: uuid.UUID) -> tuple[ColumnElement[bool], ...]:
        return (Upload.id == upload_id, Upload.tenant_id == self._tenant_id, Upload.holder == holder)

    def _known(self, upload_id: uuid.UUID) -> tuple[ColumnElement[bool], ...]:
        """An upload whose time is over and which nobody writes to counts as gone: the reaper may remove it now."""
        alive = or_(Upload.expires_at > func.now(), Upload.held_until > func.now())
        return (Upload.id == upload_id, Upload.tenant_id == self._tenant_id, alive)


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
