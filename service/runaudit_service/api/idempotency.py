"""Idempotency-Key: a request that is sent again with the same key is answered again, and done once.

Same key and payload: the first answer, with `Idempotency-Replayed: true`. Other payload: 422. First one still in
flight: 409. Kept for 24 hours, per API key and operation; answers of requests that failed are not kept, so those can
be corrected and sent again (research/service.md A3).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from fastapi import Header
from fastapi.responses import Response
from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.auth import Caller
from runaudit_service.api.database import Database
from runaudit_service.api.errors import ConflictError, InvalidRequestError
from runaudit_service.store.models import IdempotencyKey

HEADER: Final = "Idempotency-Key"
KEPT: Final = timedelta(hours=24)
# How long an upload may take before a second one with the same key is let in; matters only after a crash.
IN_FLIGHT: Final = timedelta(hours=1)
_FORM: Final = re.compile(
    r'"(?P<quoted>[\x20\x21\x23-\x5b\x5d-\x7e]{1,255})"|(?P<bare>[\x21\x23-\x5b\x5d-\x7e]{1,255})'
)

IdempotencyHeader = Annotated[
    str | None,
    Header(
        alias=HEADER,
        description="A name for this request, at most 255 characters, quoted or bare. Sent again with the same body "
        "within 24 hours, the request is answered as before and not done twice.",
    ),
]


@dataclass(frozen=True)
class Answer:
    """What a retry gets."""

    status: int
    headers: Mapping[str, str]
    body: str


class Claim:
    """This request's hold on its key. Without a key it does nothing, and everything is done."""

    def __init__(self, row: IdempotencyKey | None, earlier: IdempotencyKey | None) -> None:
        self._row = row
        self._earlier = earlier
        self.kept = False

    def replay(self, payload: str) -> Response | None:
        """The earlier answer to the same payload (a fingerprint); None if this request is the first with its key.

        Raises InvalidRequestError if the earlier payload was another.
        """
        earlier = self._earlier
        if earlier is None or earlier.status is None:
            return None
        if earlier.fingerprint != payload:
            raise InvalidRequestError(
                "This Idempotency-Key was used with another request.",
                code="idempotency_key_reused",
                place=f"header:{HEADER}",
            )
        return Response(
            earlier.body,
            earlier.status,
            headers={**earlier.headers, "Idempotency-Replayed": "true"},
            media_type="application/json",
        )

    async def keep(self, session: AsyncSession, payload: str, answer: Answer) -> None:
        """Store the answer in the transaction that did the work: both are there, or neither."""
        if self._row is None:
            return
        values = {
            "fingerprint": payload,
            "status": answer.status,
            "headers": dict(answer.headers),
            "body": answer.body,
            "expires_at": func.now() + KEPT,
        }
        await session.execute(update(IdempotencyKey).where(_same(self._row)).values(**values))
        self.kept = True


@asynccontextmanager
async def claimed(database: Database, caller: Caller, operation: str, header: str | None) -> AsyncIterator[Claim]:
    """Hold a key for the time of a request; let go of it if the request keeps no answer.

    Raises InvalidRequestError (no key has this form) and ConflictError (the first request is still in flight).
    """
    if header is None:
        yield Claim(None, None)
        return
    row = IdempotencyKey(api_key_id=caller.key_id, operation=operation, key=_key(header))
    claim = await _claim(database, row)
    try:
        yield claim
    finally:
        if not claim.kept:
            await asyncio.shield(_let_go(database, row))


async def _claim(database: Database, row: IdempotencyKey) -> Claim:
    statement = insert(IdempotencyKey).values(
        api_key_id=row.api_key_id, operation=row.operation, key=row.key, expires_at=func.now() + IN_FLIGHT
    )
    async with database.transaction() as session:
        expired = and_(IdempotencyKey.api_key_id == row.api_key_id, IdempotencyKey.expires_at < func.now())
        await session.execute(delete(IdempotencyKey).where(expired))
        mine = await session.scalar(statement.on_conflict_do_nothing().returning(IdempotencyKey.key))
        earlier = None if mine else await session.scalar(select(IdempotencyKey).where(_same(row)))
    if mine:
        return Claim(row, None)
    if earlier is None or earlier.status is None:
        raise ConflictError(
            "The first request with this Idempotency-Key has not been answered yet.", code="idempotency_key_in_flight"
        )
    return Claim(None, earlier)


async def _let_go(database: Database, row: IdempotencyKey) -> None:
    async with database.transaction() as session:
        await session.execute(delete(IdempotencyKey).where(_same(row), IdempotencyKey.status.is_(None)))


def _same(row: IdempotencyKey) -> ColumnElement[bool]:
    return and_(
        IdempotencyKey.api_key_id == row.api_key_id,
        IdempotencyKey.operation == row.operation,
        IdempotencyKey.key == row.key,
    )


def _key(header: str) -> str:
    form = _FORM.fullmatch(header.strip())
    if form is None:
        raise InvalidRequestError(
            "An Idempotency-Key has 1 to 255 visible ASCII characters.",
            code="idempotency_key_invalid",
            place=f"header:{HEADER}",
        )
    return form["quoted"] or form["bare"]
