"""Connections to PostgreSQL by one driver, psycopg 3: async engines for the API, plain ones for workers."""

from __future__ import annotations

import select
import time
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

TRUSTED_SECONDS: Final = 1.0
"""after a use, a connection is taken to be alive unless it is heard to have ended: a host that vanished says nothing"""
_USED_AT: Final = "used at"

# A server that vanished without a word must not hold a heartbeat or a request for the hours of TCP's own patience.
# Seconds, but for tcp_user_timeout, which is in milliseconds; sockets on the same machine ignore all but the first.
_IMPATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def sqlalchemy_url(database_url: str) -> URL:
    """`postgresql://` or `postgres://`, as people write it, with the driver that both engines use."""
    return make_url(database_url).set(drivername="postgresql+psycopg")


def libpq_url(database_url: str) -> str:
    """The same for libpq and plain psycopg: only the driver is taken off. A URL that SQLAlchemy writes won't do, for it
    leaves spaces of a password as they are."""
    return "postgresql://" + database_url.partition("://")[2]


def driver_conninfo(database_url: str, role: str) -> str:
    """What psycopg itself connects by, for a connection that works as `role`."""
    return make_conninfo(libpq_url(database_url), options=f"-c role={role}", **_IMPATIENCE)


def async_engine(database_url: str, *, pool_size: int = 20, role: str = "") -> AsyncEngine:
    """An engine for asyncio; connections that died are replaced without an error.

    Its connections work as `role`, which they can't leave by RESET ROLE: it is a setting of the connection itself.
    """
    engine = create_async_engine(
        sqlalchemy_url(database_url),
        pool_size=pool_size,
        # One over the pool's size would be made for a request and closed after it: that costs PostgreSQL more than the
        # request itself, and the driver what it has prepared.
        max_overflow=0,
        connect_args=_IMPATIENCE | ({"options": f"-c role={role}"} if role else {}),
    )
    _replace_the_dead(engine.sync_engine)
    return engine


def _replace_the_dead(engine: Engine) -> None:
    """What `pool_pre_ping` does, without a way to the server for each use of a connection that is in use all the time:
    one that was used a moment ago is asked only if something came from the server meanwhile, be it its farewell."""

    @event.listens_for(engine, "checkin")
    def note(_: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info[_USED_AT] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        used_at = record.info.get(_USED_AT)
        if used_at is None or (time.monotonic() - used_at < TRUSTED_SECONDS and not _has_news(connection)):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            if not engine.dialect.is_disconnect(error, connection, None):
                raise
            # The pool makes another.
            raise DisconnectionError from error


def _has_news(connection: Any) -> bool:
    """Whether the server said something unasked. An answer to what was asked has been read by now."""
    driver: AsyncConnection[Any] = connection.driver_connection
    if driver.closed:
        return True
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def sync_engine(database_url: str, *, pool_size: int = 5) -> Engine:
    """An engine for threads."""
    return create_engine(
        sqlalchemy_url(database_url),
        pool_size=pool_size,
        max_overflow=5,
        pool_pre_ping=True,
        connect_args=_IMPATIENCE,
    )
