"""Bytes of a resumable upload, from the socket to the disk: constant memory, and what has arrived is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy.exc import DBAPIError

from runaudit.errors import RunauditError
from runaudit_service.api.uploads.errors import UploadTooLongError
from runaudit_service.api.uploads.holding import Hold
from runaudit_service.store.blobs import BUFFER_BYTES
from runaudit_service.store.staging import Piece, PieceWriter, Staging

logger = logging.getLogger(__name__)

CHECKPOINT_BYTES: Final = 64 << 20
"""what a killed API may cost at most; a sync and a row in so many bytes cost nothing beside them"""


async def receive(chunks: AsyncIterator[bytes], hold: Hold, staging: Staging, kept_seconds: float) -> PieceWriter:
    """Write all of `chunks` behind what the upload has, and note it in the row once it is durable.

    Returns the closed writer. If the connection breaks or falls silent, or the disk is full, what has arrived until
    then is kept, and the error raised. Raises UploadTooLongError, StorageFullError, BodyTimeoutError, ClientDisconnect,
    and UploadBusyError if the hold was lost.
    """
    receiver = _Receiver(hold, staging, kept_seconds)
    await receiver.open()
    try:
        try:
            async for chunk in chunks:
                await receiver.take(chunk)
        except UploadTooLongError:
            raise
        except BaseException:
            await asyncio.shield(receiver.save())
            raise
        await receiver.finish()
    finally:
        await asyncio.shield(asyncio.to_thread(receiver.writer.close))
    return receiver.writer


class _Receiver:
    def __init__(self, hold: Hold, staging: Staging, kept_seconds: float) -> None:
        self._hold = hold
        self._staging = staging
        self._kept_seconds = kept_seconds
        self._start = hold.upload.received
        self._buffer = bytearray()
        self._arrived = 0
        self.writer: PieceWriter

    async def open(self) -> None:
        self.writer = await asyncio.to_thread(
            self._staging.writer, self._hold.upload.id, self._start, self._hold.holder
        )

    async def take(self, chunk: bytes) -> None:
        self._arrived += len(chunk)
        if self._start + self._arrived > self._hold.upload.length:
            raise UploadTooLongError(self._hold.upload)
        self._buffer += chunk
        if len(self._buffer) >= BUFFER_BYTES:
            await self._flush()
            if self.writer.bytes - self.writer.synced >= CHECKPOINT_BYTES:
                await self._record()

    async def finish(self) -> None:
        await self._flush()
        await self._record()

    async def save(self) -> None:
        """`finish` on the way out with an error, which is the one that the client has to hear."""
        try:
            await self.finish()
        except (RunauditError, DBAPIError, OSError) as error:
            logger.warning("a part of upload %s is not kept: %s", self._hold.upload.id, error)

    async def _flush(self) -> None:
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            await asyncio.to_thread(self.writer.write, data)

    async def _record(self) -> None:
        synced = await asyncio.to_thread(self.writer.sync)
        await self._hold.record(Piece(self._start, synced, self._hold.holder), self._kept_seconds)
