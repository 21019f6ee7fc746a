"""Long polls: many requests wait for audits to end, one query every quarter of a second looks for all of them."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from runaudit_service.api.database import Database
from runaudit_service.store.models import TERMINAL_STATES, Audit

logger = logging.getLogger(__name__)

# What a waiting client may learn late. An audit takes seconds at least; the query costs about 1 ms.
LOOK_SECONDS: Final = 0.25


class Watcher:
    """Looks while someone waits, and sleeps otherwise. A waiting request holds no connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: Counter[uuid.UUID] = Counter()
        self._looked = asyncio.Condition()
        self._ended: set[uuid.UUID] = set()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    async def wait_until_ended(self, audit_id: uuid.UUID, seconds: float) -> None:
        """Return when the audit ends or is deleted, when `seconds` are over, or when the service stops."""
        self._waiting[audit_id] += 1
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._look_while_waited_for())
            async with asyncio.timeout(seconds), self._looked:
                await self._looked.wait_for(lambda: self._stopped or audit_id in self._ended)
        except TimeoutError:
            pass
        finally:
            self._waiting[audit_id] -= 1
            if not self._waiting[audit_id]:
                del self._waiting[audit_id]
                self._ended.discard(audit_id)

    async def stop(self) -> None:
        """Let everyone go who waits, and wait for nothing any more: the service shuts down."""
        async with self._looked:
            self._stopped = True
            self._looked.notify_all()

    async def _look_while_waited_for(self) -> None:
        while self._waiting and not self._stopped:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                ended = await self._those_that_ended(list(self._waiting))
            except (SQLAlchemyError, OSError) as error:
                # The clients go on waiting; the answer at the end of their time will tell them of the database.
                logger.warning("can't look for ended audits: %s", error)
                continue
            if ended:
                async with self._looked:
                    self._ended |= ended & self._waiting.keys()
                    self._looked.notify_all()

    async def _those_that_ended(self, audit_ids: list[uuid.UUID]) -> set[uuid.UUID]:
        live = select(Audit.id).where(Audit.id.in_(audit_ids), Audit.state.not_in(TERMINAL_STATES))
        # One query for the audits of all tenants; whoever waits was shown the audit before.
        async with self._database.overview() as session:
            return set(audit_ids) - set(await session.scalars(live))
