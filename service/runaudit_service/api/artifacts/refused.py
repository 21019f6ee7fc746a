"""Artifacts of requests that are refused after their bytes were sent to a store elsewhere: none of them stays there.

A tenant would else store what it may not, for as long as what has no title is kept; and a request that names no project
would cost it nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError

from runaudit_service.api.resources import Resources
from runaudit_service.store.blobs import BlobStoreError
from runaudit_service.store.removal import HAVE_ALONE, IS_TITLED

logger = logging.getLogger(__name__)


@asynccontextmanager
async def taken_back(shared: Resources) -> AsyncIterator[list[str]]:
    """Yields a list for the digests that are being secured; where anything is raised, those without a title go."""
    secured: list[str] = []
    try:
        yield secured
    except BaseException:
        if shared.blobs.has_what_is_secured and secured:
            # Shielded: also of a client that hung up.
            await asyncio.shield(_remove(shared, secured))
        raise


async def _remove(shared: Resources, digests: Sequence[str]) -> None:
    loop = asyncio.get_running_loop()
    try:
        for sha256 in digests:
            # As `removal` does it: alone with the blob, and with the titles of all tenants in sight.
            async with shared.database.overview() as session:
                alone = await session.scalar(HAVE_ALONE, {"sha256": sha256})
                if alone and not await session.scalar(IS_TITLED, {"sha256": sha256}):
                    await loop.run_in_executor(shared.blobs.executor, shared.blobs.remove, sha256)
    except (SQLAlchemyError, BlobStoreError, OSError) as error:
        logger.warning("a refused artifact stays until the reaper comes: %s", error.__cause__ or error)
