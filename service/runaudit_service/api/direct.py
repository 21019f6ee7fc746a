"""Single statements straight on the driver, for what pipelines ask all day long: whose key this is, and one audit.

A statement is its own transaction and one way to the database. A session of SQLAlchemy costs three more for the same
(it asks whether the connection lives, begins, and rolls back) and several times the processor time of the whole call.
Everything else goes through `Database`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString, cast

from psycopg import AsyncConnection, OperationalError
from psycopg.pq import TransactionStatus
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.store.tenancy import TENANT_SETTING

Row = tuple[Any, ...]
Statement = tuple[LiteralString, Mapping[str, Any]]
"""with its parameters"""

CONNECTIONS: Final = 8
"""at most, of a process: they wait for the database only, and one event loop keeps no more of them busy"""


def seen_by(tenant_id: LiteralString, select: LiteralString) -> LiteralString:
    """A FROM item `seen`: the one row of `select`, or one of NULLs, as the tenant sees it.

    `tenant_id` is an expression of SQL for it; `select` may call it `acting.tenant_id`, and ends with its WHERE.
    Row-level security holds as in a transaction of `Database`: the tenant is set by `acting`, of which `seen` needs a
    value, and whose volatile function keeps the planner from merging or moving either. Were `seen` looked at first, no
    tenant would be set, and it would be empty.
    """
    return (
        f"LATERAL (SELECT NULLIF(set_config('{TENANT_SETTING}', ({tenant_id})::text, true), '')::uuid AS tenant_id) "
        f"AS acting LEFT JOIN LATERAL ({select} OFFSET 0) AS seen ON true"
    )


def driver_of(session: AsyncSession) -> AsyncConnection[Any]:
    """The driver's connection of a session of `Database`, for statements of its transaction that are made all day long.

    They cost a fraction of what a session makes of them. What they change the session's objects do not know of.
    """
    connection = session.sync_session.connection().connection.driver_connection
    return cast("AsyncConnection[Any]", connection)


async def rows_of_each(connection: AsyncConnection[Any], statements: Sequence[Statement]) -> list[list[Row]]:
    """The rows of each of several statements, on a connection of `driver_of`, for one way to the database.

    They are made one after the other, each sees what those before it did, and none is made after one that fails.
    """
    if not statements:
        return []
    async with connection.pipeline():
        made = [await connection.execute(statement, parameters) for statement, parameters in statements]
    # Here all of them have been answered.
    return [await one.fetchall() if one.description else [] for one in made]


class DirectStatements:
    """A few connections in autocommit, made when they are needed and kept."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._idle: list[AsyncConnection[Any]] = []
        self._places = asyncio.Semaphore(CONNECTIONS)

    async def row(self, statement: LiteralString, parameters: Mapping[str, Any]) -> Row | None:
        """The one row of a statement that does no harm when it is made twice; None if there is none.

        A connection that turns out to have died is replaced, and the statement made again. Raises psycopg's
        OperationalError if the database is away.
        """
        async with self._places:
            while self._idle:
                try:
                    return await self._ask(self._idle.pop(), statement, parameters)
                except OperationalError as error:
                    # With a state, the server refused the statement; without, the connection was dead.
                    if error.sqlstate is not None and error.sqlstate[:2] != "57":
                        raise
            fresh = await AsyncConnection.connect(self._conninfo, autocommit=True, prepare_threshold=0)
            return await self._ask(fresh, statement, parameters)

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            await self._idle.pop().close()

    async def _ask(
        self, connection: AsyncConnection[Any], statement: LiteralString, parameters: Mapping[str, Any]
    ) -> Row | None:
        try:
            return await (await connection.execute(statement, parameters)).fetchone()
        finally:
            # One that was left in the middle of something (its request was cancelled) is not used again.
            if connection.pgconn.transaction_status == TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                await connection.close()
