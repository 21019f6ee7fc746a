"""The right of one request to write to an upload, by a lease in its row that it renews as long as it lives.

Of two requests one gets it, on whichever replica they are; the other is told so (409). Where an API is killed its
lease runs out, and the upload can go on. A request that lost its hold can note nothing any more, and the file that it
wrote to was its own: what others wrote stays as it is.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from runaudit_service.api.database import Database
from runaudit_service.api.uploads.errors import UploadBusyError, UploadNotFoundError, UploadOffsetError
from runaudit_service.api.uploads.repository import LEASE, UploadRepository
from runaudit_service.store.models import new_id
from runaudit_service.store.staging import Piece
from runaudit_service.store.upload_rows import Upload

logger = logging.getLogger(__name__)

RENEWALS: Final = 3
"""in the time of a lease, so that some may fail"""


class Hold:
    """A held upload. `upload` is what its row says, and follows what this request notes in it."""

    def __init__(self, database: Database, tenant_id: uuid.UUID, upload: Upload, holder: uuid.UUID) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self.upload = upload
        self.holder = holder

    async def record(self, piece: Piece, kept_seconds: float) -> None:
        """Note that a piece of this request is durable. Raises UploadBusyError if the hold was lost."""
        if piece.bytes == 0:
            return
        async with self._database.transaction() as session:
            held = await UploadRepository(session, self._tenant_id).record(self.upload.id, piece, kept_seconds)
        if not held:
            raise UploadBusyError
        self.upload.received = piece.start + piece.bytes

    async def renew(self) -> None:
        """Move the end of the hold on until cancelled, or until it is lost."""
        held = True
        while held:
            await asyncio.sleep(LEASE.total_seconds() / RENEWALS)
            try:
                async with self._database.transaction() as session:
                    held = await UploadRepository(session, self._tenant_id).renew(self.upload.id, self.holder)
            except (DBAPIError, PoolTimeoutError) as error:
                logger.warning("the hold on an upload can't be renewed: %s", error)

    async def release(self) -> None:
        """Let others write; nothing happens if the hold was lost or the upload is gone."""
        try:
            async with self._database.transaction() as session:
                await UploadRepository(session, self._tenant_id).release(self.upload.id, self.holder)
        except (DBAPIError, PoolTimeoutError) as error:
            logger.warning("the hold on an upload runs out by itself, it can't be released: %s", error)


@asynccontextmanager
async def held(database: Database, tenant_id: uuid.UUID, upload_id: uuid.UUID, offset: int) -> AsyncIterator[Hold]:
    """Hold an upload that is at `offset` for the time of a request.

    Raises UploadNotFoundError, UploadOffsetError (it is at another offset, or complete) and UploadBusyError.
    """
    holder = new_id()
    async with database.transaction() as session:
        repository = UploadRepository(session, tenant_id)
        upload = await repository.claim(upload_id, offset, holder)
        if upload is None:
            raise _refusal(await repository.get(upload_id), upload_id, offset)
    hold = Hold(database, tenant_id, upload, holder)
    renewing = asyncio.create_task(hold.renew())
    try:
        yield hold
    finally:
        renewing.cancel()
        # A renewal that is on its way must not bring the hold back.
        await asyncio.shield(_end(hold, renewing))


async def _end(hold: Hold, renewing: asyncio.Task[None]) -> None:
    await asyncio.wait([renewing])
    await hold.release()


def _refusal(upload: Upload | None, upload_id: uuid.UUID, offset: int) -> Exception:
    if upload is None:
        return UploadNotFoundError(f"There is no upload {upload_id}.")
    if upload.digest is None and upload.received == offset:
        return UploadBusyError(upload)
    return UploadOffsetError(upload)
