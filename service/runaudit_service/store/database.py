"""Connections to PostgreSQL by one driver, psycopg 3: async engines for the API, plain ones for workers."""

from __future__ import annotations

from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

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


def async_engine(database_url: str, *, pool_size: int = 10, role: str = "") -> AsyncEngine:
    """An engine for asyncio; connections that died are replaced without an error.

    Its connections work as `role`, which they can't leave by RESET ROLE: it is a setting of the connection itself.
    """
    return create_async_engine(
        sqlalchemy_url(database_url),
        pool_size=pool_size,
        max_overflow=10,
        pool_pre_ping=True,
        connect_args=_IMPATIENCE | ({"options": f"-c role={role}"} if role else {}),
    )


def sync_engine(database_url: str, *, pool_size: int = 5) -> Engine:
    """An engine for threads."""
    return create_engine(
        sqlalchemy_url(database_url),
        pool_size=pool_size,
        max_overflow=5,
        pool_pre_ping=True,
        connect_args=_IMPATIENCE,
    )
