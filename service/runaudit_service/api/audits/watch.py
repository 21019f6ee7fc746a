"""Who waits for audits to change: one query every quarter of a second looks for all of them, whoever they are."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from runaudit_service.api.database import Database
from runaudit_service.store.models import TERMINAL_STATES, Audit

logger = logging.getLogger(__name__)

# What a waiting client may learn late. An audit takes seconds at least; the query costs about 1 ms.
LOOK_SECONDS: Final = 0.25


@dataclass(frozen=True)
class Look:
    """What was seen of an audit: its version and whether it has ended; no version if it is gone."""

    version: int | None
    ended: bool


class Watcher:
    """Looks while someone waits, and sleeps otherwise. A waiting request holds no connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watched: Counter[uuid.UUID] = Counter()
        self._looked = asyncio.Condition()
        self._looks: dict[uuid.UUID, Look] = {}
        self._task: asyncio.Task[None] | None = None
        self.stopped = False
        """the service shuts down: nobody shall wait any more"""

    @contextmanager
    def watching(self, audit_id: uuid.UUID) -> Iterator[None]:
        """Keep an eye on an audit meanwhile."""
        self._watched[audit_id] += 1
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._look_while_watched())
            yield
        finally:
            self._watched[audit_id] -= 1
            if not self._watched[audit_id]:
                del self._watched[audit_id]
                self._looks.pop(audit_id, None)

    async def wait_until_ended(self, audit_id: uuid.UUID, seconds: float) -> None:
        """Return when the audit ends or is deleted, when `seconds` are over, or when the service stops."""
        with self.watching(audit_id):
            await self._wait(audit_id, lambda look: look.ended, seconds)

    async def wait_for_change(self, audit_id: uuid.UUID, version: int, seconds: float) -> bool:
        """Whether the audit came to another version than this, or was deleted, within `seconds`.

        False as well when the service stops. Only inside `watching`.
        """
        return await self._wait(audit_id, lambda look: look.version != version, seconds)

    async def stop(self) -> None:
        """Let everyone go who waits, and wait for nothing any more: the service shuts down."""
        async with self._looked:
            self.stopped = True
            self._looked.notify_all()

    async def _wait(self, audit_id: uuid.UUID, wanted: Callable[[Look], bool], seconds: float) -> bool:
        def seen() -> bool:
            look = self._looks.get(audit_id)
            return look is not None and wanted(look)

        try:
            async with asyncio.timeout(seconds), self._looked:
                await self._looked.wait_for(lambda: self.stopped or seen())
        except TimeoutError:
            pass
        return seen()

    async def _look_while_watched(self) -> None:
        while self._watched and not self.stopped:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                looks = await self._look(list(self._watched))
            except (SQLAlchemyError, OSError) as error:
                # The clients go on waiting; the answer at the end of their time will tell them of the database.
                logger.warning("can't look for changed audits: %s", error)
                continue
            changed = {audit_id: look for audit_id, look in looks.items() if self._looks.get(audit_id) != look}
            if changed:
                async with self._looked:
                    self._looks |= {audit_id: look for audit_id, look in changed.items() if audit_id in self._watched}
                    self._looked.notify_all()

    async def _look(self, audit_ids: list[uuid.UUID]) -> dict[uuid.UUID, Look]:
        query = select(Audit.id, Audit.version, Audit.state).where(Audit.id.in_(audit_ids))
        # One query for the audits of all tenants; whoever waits was shown the audit before.
        async with self._database.overview() as session:
            rows = (await session.execute(query)).all()
        seen = {audit_id: Look(version, state in TERMINAL_STATES) for audit_id, version, state in rows}
        return {audit_id: seen.get(audit_id, Look(None, ended=True)) for audit_id in audit_ids}
