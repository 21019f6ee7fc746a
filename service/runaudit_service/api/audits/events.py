"""Server-sent events of one audit: what happened, from the event table, then what happens, as it does.

What changes the state of an audit is an event with a number, kept, and sent again to whoever asks from before it.
Progress is not: it is told when it changes, without a number, so that the table does not grow with it, and
`Last-Event-ID` stays that of the last event that can be asked for again (WHATWG HTML, "Server-sent events").
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from runaudit_service.api.audits import representations
from runaudit_service.api.audits.repository import AuditRecord, AuditRepository
from runaudit_service.api.audits.watch import Watcher
from runaudit_service.api.database import Database
from runaudit_service.api.errors import ApiError
from runaudit_service.store.models import TERMINAL_EVENTS, TERMINAL_STATES, Event

logger = logging.getLogger(__name__)

RETRY_MILLISECONDS: Final = 2000
"""after which a client that lost the connection comes back"""
LONGEST_SECONDS: Final = 900.0
"""a stream ends after this, and its client comes back with its key: one that was revoked meanwhile is turned away"""
PROGRESS: Final = "audit.progress"


class TooManyStreamsError(ApiError):
    """A key may hold so many streams open in one process of the API."""

    code = "too_many_streams"
    status = 429
    title = "Too many streams are open"
    headers = {"Retry-After": "5"}


class StreamPlaces:
    """How many streams each key holds open here."""

    def __init__(self, per_key: int) -> None:
        self._per_key = per_key
        self._taken: Counter[uuid.UUID] = Counter()

    @contextmanager
    def taken(self, key_id: uuid.UUID) -> Iterator[None]:
        """Hold a place meanwhile. Raises TooManyStreamsError if there is none left.

        Looked for and taken at once: of many who ask at the same moment, no more are let in than there is room for.
        """
        if self._taken[key_id] >= self._per_key:
            raise TooManyStreamsError(
                f"This key holds {self._per_key} streams open already. Close one, or poll with If-None-Match."
            )
        self._taken[key_id] += 1
        try:
            yield
        finally:
            self._taken[key_id] -= 1
            if not self._taken[key_id]:
                del self._taken[key_id]


class EventStream:
    """The events of one audit to one client, as one tenant sees them. It holds no connection while it waits."""

    def __init__(
        self, database: Database, watcher: Watcher, tenant_id: uuid.UUID, audit_id: uuid.UUID, heartbeat_seconds: float
    ) -> None:
        self._database = database
        self._watcher = watcher
        self._tenant_id = tenant_id
        self._audit_id = audit_id
        self._heartbeat_seconds = heartbeat_seconds

    async def has_more(self, last_id: int) -> bool:
        """Whether anything is still to be told to a client that has the events up to `last_id`."""
        record, events = await self._read(last_id)
        return bool(events) or (record is not None and not representations.has_ended(record.audit))

    async def frames(self, last_id: int) -> AsyncIterator[str]:
        """The frames after event `last_id`, until the audit has ended, is deleted, or the stream is old."""
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        end = time.monotonic() + LONGEST_SECONDS
        try:
            with self._watcher.watching(self._audit_id):
                while True:
                    record, events = await self._read(last_id)
                    if record is None:
                        return
                    for event in events:
                        last_id = event.id
                        yield _frame(event.type, _body_at(record, event), event.created_at, number=event.id)
                    if representations.has_ended(record.audit):
                        return
                    yield _frame(PROGRESS, _body(record), datetime.now(UTC))
                    while not await self._changed(record):
                        if self._watcher.stopped or time.monotonic() > end:
                            return
                        yield ": still here\n\n"
        except (SQLAlchemyError, OSError) as error:
            # Nothing can be said of it in the middle of a stream; the client comes back, and is told then.
            logger.warning("a stream of events ends: %s", error)

    async def _changed(self, record: AuditRecord) -> bool:
        return await self._watcher.wait_for_change(self._audit_id, record.audit.version, self._heartbeat_seconds)

    async def _read(self, last_id: int) -> tuple[AuditRecord | None, list[Event]]:
        """The audit, and its events after `last_id` in order. The audit is never older than the events are."""
        query = (
            select(Event)
            .where(Event.audit_id == self._audit_id, Event.tenant_id == self._tenant_id, Event.id > last_id)
            .order_by(Event.id)
        )
        async with self._database.reading() as session:
            events = list(await session.scalars(query))
            record = await AuditRepository(session, self._tenant_id).get(self._audit_id)
            if record is not None and representations.has_ended(record.audit):
                # It may have ended between the two; what ended it was written with it.
                events = list(await session.scalars(query))
        return record, events


def _frame(kind: str, body: dict[str, Any], moment: datetime, *, number: int | None = None) -> str:
    """One event in the form of a webhook's (design.md). JSON text holds no line end, so that it is one `data` line."""
    message = {"type": kind, "timestamp": moment.astimezone(UTC).isoformat().replace("+00:00", "Z"), "data": body}
    lines = [] if number is None else [f"id: {number}"]
    return "\n".join([*lines, f"event: {kind}", f"data: {json.dumps(message, allow_nan=False)}", "", ""])


def _body(record: AuditRecord) -> dict[str, Any]:
    return representations.body_of(record).model_dump(mode="json")


def _body_at(record: AuditRecord, event: Event) -> dict[str, Any]:
    """The audit as it was at an event: of an earlier state, what came later is taken off again."""
    body = _body(record)
    state = event.data.get("state", record.audit.state)
    if event.type in TERMINAL_EVENTS or state == record.audit.state:
        return body
    told = {name: event.data.get(name) for name in ("verdict", "headline", "error")}
    progress = {"stage": state, "fraction": 0.0, "done": 0, "total": 0}
    body |= told | {"state": state, "attempt": event.data.get("attempt", 0), "ended_at": None, "progress": progress}
    if state not in ("running", *TERMINAL_STATES):
        body["started_at"] = None
    return body
