"""Idempotency-Key: a request that is sent again with the same key is answered again, and done once.

Same key and payload: the first answer, with `Idempotency-Replayed: true`. Other payload: 422. First one still in
flight: 409. Kept for 24 hours, per API key and operation; answers of requests that failed are not kept, so those can
be corrected and sent again (research/service.md A3).

A request in flight holds its key by a lease that it renews while it runs, an upload of hours as well. Where an API is
killed, its leases run out within LEASE, and retries are let in. A request that lost its hold to a retry (its machine
slept, say) can't keep an answer, and so does nothing: what it did is rolled back.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, LiteralString

from fastapi import Header
from fastapi.responses import Response
from psycopg.types.json import Jsonb
from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.auth import Caller
from runaudit_service.api.database import Database
from runaudit_service.api.direct import DirectStatements, Row, Statement, driver_of, rows_of_each
from runaudit_service.api.errors import InFlightError, InvalidRequestError
from runaudit_service.store.models import IdempotencyKey, new_id
from runaudit_service.store.tenancy import TENANT_SETTING

logger = logging.getLogger(__name__)

HEADER: Final = "Idempotency-Key"
KEPT: Final = timedelta(hours=24)
LEASE: Final = timedelta(seconds=20)
"""how long a request that is heard of no more keeps its key: less than the client goes on trying"""
RENEWALS: Final = 4
"""in the time of a lease, so that some may fail"""
FORGET_EACH: Final = 64
"""one request of so many, by the random end of its id, forgets what has expired"""
_FORM: Final = re.compile(
    r'"(?P<quoted>[\x20\x21\x23-\x5b\x5d-\x7e]{1,255})"|(?P<bare>[\x21\x23-\x5b\x5d-\x7e]{1,255})'
)

# Both for the driver itself (api/direct.py). The first takes a key that is free, or whose time is over; its row hangs
# on `acting`, so that row-level security looks at it once the tenant is set. Made twice, it gives the same hold.
_TAKE: Final[LiteralString] = f"""
    INSERT INTO idempotency_keys AS held (api_key_id, operation, key, holder, expires_at)
    SELECT %(api_key_id)s, %(operation)s::text, %(key)s::text, %(holder)s, now() + %(lease)s
    FROM (SELECT set_config('{TENANT_SETTING}', %(tenant_id)s::text, true) AS tenant_id) AS acting
    WHERE acting.tenant_id <> ''
    ON CONFLICT (api_key_id, operation, key) DO UPDATE
    SET holder = excluded.holder, expires_at = excluded.expires_at, created_at = now(),
        fingerprint = NULL, status = NULL, headers = '{{}}', body = NULL
    WHERE held.expires_at < now() OR held.holder = excluded.holder
    RETURNING key
"""  # noqa: S608 - a constant
_KEEP: Final = """
    INSERT INTO idempotency_keys AS held (
        api_key_id, operation, key, holder, fingerprint, status, headers, body, expires_at
    ) VALUES (
        %(api_key_id)s, %(operation)s, %(key)s, %(holder)s, %(fingerprint)s, %(status)s, %(headers)s, %(body)s,
        now() + %(kept)s
    )
    ON CONFLICT (api_key_id, operation, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, status = excluded.status, headers = excluded.headers,
        body = excluded.body, expires_at = excluded.expires_at
    WHERE held.holder = excluded.holder AND held.status IS NULL
    RETURNING key
"""

IdempotencyHeader = Annotated[
    str | None,
    Header(
        alias=HEADER,
        description="A name for this request, at most 255 characters, quoted or bare. Sent again with the same body "
        "within 24 hours, the request is answered as before and not done twice.",
    ),
]


@dataclass(frozen=True)
class _Hold:
    """A key, and the name of the request that holds it: the columns of IdempotencyKey."""

    api_key_id: uuid.UUID
    operation: str
    key: str
    holder: uuid.UUID


@dataclass(frozen=True)
class Answer:
    """What a retry gets."""

    status: int
    headers: Mapping[str, str]
    body: str


class Claim:
    """This request's hold on its key. Without a key it does nothing, and everything is done."""

    def __init__(self, row: _Hold | None, earlier: IdempotencyKey | None) -> None:
        self._row = row
        self._earlier = earlier
        self.first = earlier is None
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
        """Store the answer in the transaction that did the work: both are there, or neither.

        Raises InFlightError if the hold was lost to another request.
        """
        self.require_kept(await rows_of_each(driver_of(session), self.keeping(payload, answer)))

    def keeping(self, payload: str, answer: Answer) -> list[Statement]:
        """The statement of `keep`, for who makes it along with others: `require_kept` has to see its rows."""
        if self._row is None:
            return []
        answered = {
            "fingerprint": payload,
            "status": answer.status,
            "headers": Jsonb(dict(answer.headers)),
            "body": answer.body,
            "kept": KEPT,
        }
        return [(_KEEP, _named(self._row) | answered)]

    def require_kept(self, rows: Sequence[Sequence[Row]]) -> None:
        """After the statements of `keeping`: raises InFlightError if the hold was lost to another request."""
        if self._row is not None and not any(rows):
            raise InFlightError("Another request with this Idempotency-Key was let in while this one took its time.")
        self.kept = True


@asynccontextmanager
async def claimed(
    database: Database, direct: DirectStatements, caller: Caller, operation: str, header: str | None
) -> AsyncIterator[Claim]:
    """Hold a key for the time of a request; let go of it if the request keeps no answer.

    Raises InvalidRequestError (no key has this form) and InFlightError (the first request is still in flight).
    """
    if header is None:
        yield Claim(None, None)
        return
    row = _Hold(caller.key_id, operation, _key(header), new_id())
    claim = await _claim(database, direct, caller, row)
    if not claim.first:
        yield claim
        return
    renewing = asyncio.create_task(_renew(database, row))
    try:
        yield claim
    finally:
        renewing.cancel()
        if not claim.kept:
            await asyncio.shield(_let_go(database, row, renewing))


async def _claim(database: Database, direct: DirectStatements, caller: Caller, row: _Hold) -> Claim:
    if row.holder.int % FORGET_EACH == 0:
        await _forget_expired(database, caller)
    if await direct.row(_TAKE, _named(row) | {"tenant_id": caller.tenant_id, "lease": LEASE}) is not None:
        return Claim(row, None)
    async with database.reading() as session:
        earlier = await session.scalar(select(IdempotencyKey).where(_same(row)))
    if earlier is None or earlier.status is None:
        raise InFlightError("The first request with this Idempotency-Key has not been answered yet.")
    return Claim(None, earlier)


async def _forget_expired(database: Database, caller: Caller) -> None:
    over = and_(IdempotencyKey.api_key_id == caller.key_id, IdempotencyKey.expires_at < func.now())
    async with database.transaction() as session:
        await session.execute(delete(IdempotencyKey).where(over))


async def _renew(database: Database, row: _Hold) -> None:
    """Move the end of the hold on until cancelled, or until it is lost: `keep` then finds out."""
    held = True
    while held:
        await asyncio.sleep(LEASE.total_seconds() / RENEWALS)
        try:
            async with database.transaction() as session:
                held = await _write(session, row, expires_at=func.now() + LEASE)
        except (DBAPIError, PoolTimeoutError) as error:
            logger.warning("the hold on an idempotency key can't be renewed: %s", error)


async def _write(session: AsyncSession, row: _Hold, **values: Any) -> bool:
    """Set values of the key, if this request holds it or nobody does; whether it was so.

    A hold that ran out is still good while nobody else has taken the key.
    """
    hold = {"api_key_id": row.api_key_id, "operation": row.operation, "key": row.key, "holder": row.holder}
    statement = insert(IdempotencyKey).values(**hold, **values)
    statement = statement.on_conflict_do_update(
        index_elements=[IdempotencyKey.api_key_id, IdempotencyKey.operation, IdempotencyKey.key],
        set_=values,
        where=and_(IdempotencyKey.holder == row.holder, IdempotencyKey.status.is_(None)),
    )
    return await session.scalar(statement.returning(IdempotencyKey.key)) is not None


async def _let_go(database: Database, row: _Hold, renewing: asyncio.Task[None]) -> None:
    # A renewal that is on its way would bring the hold back.
    await asyncio.wait([renewing])
    mine = and_(_same(row), IdempotencyKey.holder == row.holder, IdempotencyKey.status.is_(None))
    async with database.transaction() as session:
        await session.execute(delete(IdempotencyKey).where(mine))


def _named(row: _Hold) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("api_key_id", "operation", "key", "holder")}


def _same(row: _Hold) -> ColumnElement[bool]:
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
