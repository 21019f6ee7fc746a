"""The stream of an audit's events."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from runaudit_service.api.audits.endpoints import AuditId
from runaudit_service.api.audits.events import EventStream, StreamPlaces
from runaudit_service.api.audits.ids import no_audit
from runaudit_service.api.audits.repository import AuditRepository
from runaudit_service.api.auth import Reader
from runaudit_service.api.errors import InvalidRequestError, responses
from runaudit_service.api.resources import Shared

EVENT_STREAM: Final = "text/event-stream"
# nginx and its kin hold answers back until they are whole or large, unless they are told not to.
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

router = APIRouter(prefix="/v1/audits", tags=["audits"])

_EXAMPLE: Final = (
    "retry: 2000\n\n"
    "id: 41\nevent: audit.queued\n"
    'data: {"type": "audit.queued", "timestamp": "2026-11-24T08:15:00.000000Z", "data": {"id": "...", ...}}\n\n'
    "event: audit.progress\n"
    'data: {"type": "audit.progress", "timestamp": "2026-11-24T08:15:04.000000Z", "data": {...}}\n\n'
)
_STREAM: Final[dict[int, dict[str, Any]]] = {
    200: {
        "description": "Events as they happen. What changed the state has an `id`; `audit.progress` has none",
        "content": {EVENT_STREAM: {"schema": {"type": "string"}, "example": _EXAMPLE}},
    },
    204: {"description": "The audit has ended, and you have its last event: don't come back"},
}


@router.get(
    "/{audit_id}/events",
    operation_id="follow_audit",
    summary="What happens to an audit, as it happens",
    response_class=Response,
    responses=responses(401, 403, 404, 422, 503, answers=_STREAM),
)
async def follow_audit(
    caller: Reader,
    audit_id: AuditId,
    shared: Shared,
    last_event_id: Annotated[
        str | None, Header(description="the id of the last event that you have; only later ones are sent")
    ] = None,
) -> Response:
    """Server-sent events: those that were, then those to come. The stream ends after the event that ends the audit.

    Each event's data is what a webhook would get: `type`, `timestamp`, and the audit as it was then. Come back with
    `Last-Event-ID` when the connection is lost; streams also end by themselves after a quarter of an hour.
    """
    last_id = _number(last_event_id)
    async with shared.database.reading() as session:
        if await AuditRepository(session, caller.tenant_id).version(audit_id) is None:
            raise no_audit(audit_id)
    stream = EventStream(
        shared.database, shared.watcher, caller.tenant_id, audit_id, shared.settings.event_heartbeat_seconds
    )
    if not await stream.has_more(last_id):
        return Response(status_code=204, headers=_HEADERS)
    return _Counted(stream.frames(last_id), shared.streams, caller.key_id)


class _Counted(StreamingResponse):
    """A stream that holds a place of its key from before its first byte until it has ended, however it ends."""

    def __init__(self, frames: AsyncIterator[str], places: StreamPlaces, key_id: uuid.UUID) -> None:
        super().__init__(frames, media_type=EVENT_STREAM, headers=_HEADERS)
        self._places = places
        self._key_id = key_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._places.taken(self._key_id):
            await super().__call__(scope, receive, send)


def _number(last_event_id: str | None) -> int:
    if last_event_id is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,18}", last_event_id):
        raise InvalidRequestError(
            "Last-Event-ID is the id of an event of this stream, a number.",
            code="last_event_id_invalid",
            place="header:Last-Event-ID",
        )
    return int(last_event_id)
