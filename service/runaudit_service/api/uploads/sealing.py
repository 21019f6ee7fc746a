"""From the pieces of an upload to an artifact: one blob, its digest checked, and the tenant's title to it."""

from __future__ import annotations

import asyncio
import logging
import uuid

from runaudit_service.api.artifacts.repository import ArtifactRepository
from runaudit_service.api.database import Database
from runaudit_service.api.uploads.errors import UploadBusyError, UploadDigestError
from runaudit_service.api.uploads.holding import Hold
from runaudit_service.api.uploads.repository import UploadRepository
from runaudit_service.store.blobs import BUFFER_BYTES, Blob, BlobStore, BlobWriter
from runaudit_service.store.staging import PieceWriter, Staging

logger = logging.getLogger(__name__)


async def seal(
    database: Database, tenant_id: uuid.UUID, hold: Hold, last: PieceWriter, *, blobs: BlobStore, staging: Staging
) -> None:
    """Make an artifact of an upload of which all bytes are there; `last` wrote the last of them.

    Bytes that came in one piece were hashed as they came, and their file becomes the blob; several pieces are read
    again and written one after the other, which needs room for the artifact twice for that long. The title is released
    from the start: if no audit ever uses it, it goes after a while.

    Raises UploadDigestError (the upload is deleted then), StorageFullError, BlobStoreError, and UploadBusyError if the
    hold was lost.
    """
    upload = hold.upload
    async with blobs.writer(upload.length) as writer:
        whole = last.bytes == upload.length
        if not (whole and await writer.link(last.path, Blob(last.digest(), last.bytes))):
            await _copy_pieces(database, tenant_id, staging, hold, writer)
        blob = await writer.blob()
        if upload.sha256 not in (None, blob.sha256):
            await _delete(database, tenant_id, staging, hold)
            raise UploadDigestError(upload.sha256 or "", blob.sha256)
        await writer.seal()
        async with database.transaction() as session:
            artifacts = ArtifactRepository(session, tenant_id)
            await artifacts.hold_blob(blob.sha256)
            if not await UploadRepository(session, tenant_id).complete(upload.id, hold.holder, blob.sha256):
                raise UploadBusyError
            await artifacts.add_released(blob)
            await writer.commit()
    upload.digest = blob.sha256
    await _remove_files(staging, upload.id)


async def _copy_pieces(
    database: Database, tenant_id: uuid.UUID, staging: Staging, hold: Hold, writer: BlobWriter
) -> None:
    async with database.reading() as session:
        pieces = await UploadRepository(session, tenant_id).pieces(hold.upload.id)
    chunks = staging.read(hold.upload.id, pieces, BUFFER_BYTES)
    while chunk := await asyncio.to_thread(next, chunks, b""):
        await writer.write(chunk)


async def _delete(database: Database, tenant_id: uuid.UUID, staging: Staging, hold: Hold) -> None:
    async with database.transaction() as session:
        await UploadRepository(session, tenant_id).delete(hold.upload.id, hold.holder)
    await _remove_files(staging, hold.upload.id)


async def _remove_files(staging: Staging, upload_id: uuid.UUID) -> None:
    """What can't be removed now goes by the reaper: with the row when its time is over, or as what no row names."""
    try:
        await asyncio.to_thread(staging.remove, upload_id)
    except OSError as error:
        logger.warning("the pieces of upload %s can't be removed yet: %s", upload_id, error)
