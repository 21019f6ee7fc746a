"""Liveness, readiness and /metrics: the calls that need no key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from runaudit_service.api.errors import NotReadyError, responses
from runaudit_service.api.resources import Resources, Shared
from runaudit_service.store import migrate

# A part that takes longer than this to say hello is not ready to serve.
PATIENCE_SECONDS: Final = 2.0

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"


class _PartError(Exception):
    """One part's reason, a sentence that names no host and no password."""


@router.get("/healthz", operation_id="get_liveness", summary="Whether this process answers")
async def liveness() -> Alive:
    """Looks at nothing else: restart the process if this fails."""
    return Alive()


@router.get(
    "/readyz", operation_id="get_readiness", summary="Whether the service can do its work", responses=responses(503)
)
async def readiness(shared: Shared) -> Ready:
    """Database, broker, and migrations at head. With the broker down, audits are still taken in and run later."""
    parts: dict[str, Callable[[Resources], Awaitable[None]]] = {
        "database": _database,
        "broker": _broker,
        "migrations": _migrations,
    }
    outcomes = await asyncio.gather(*(_reason(check, shared) for check in parts.values()))
    failed = {part: reason for part, reason in zip(parts, outcomes, strict=True) if reason is not None}
    if failed:
        raise NotReadyError(failed)
    return Ready()


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses=responses(503, answers={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}}),
)
async def metrics(shared: Shared) -> Response:
    """Queue depth and age, audits by state and verdict, and this process' requests."""
    store = await shared.store_metrics.read(shared.database)
    return Response(
        generate_latest(store) + generate_latest(shared.http_metrics.registry), media_type=CONTENT_TYPE_LATEST
    )


async def _reason(check: Callable[[Resources], Awaitable[None]], shared: Resources) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check(shared)
    except TimeoutError:
        return f"no answer within {PATIENCE_SECONDS:g} s"
    except _PartError as error:
        return str(error)
    except (SQLAlchemyError, RedisError, OSError, ValueError) as error:
        return f"not reachable ({type(error).__name__})"
    return None


async def _database(shared: Resources) -> None:
    async with shared.database.reading() as session:
        await session.execute(text("SELECT 1"))


async def _broker(shared: Resources) -> None:
    if not shared.settings.broker_url:
        raise _PartError("RUNAUDIT_BROKER_URL is not set")
    async with Redis.from_url(
        shared.settings.broker_url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
    ) as client:
        await client.ping()


async def _migrations(shared: Resources) -> None:
    async with shared.database.engine.connect() as connection:
        current = await connection.run_sync(migrate.current_revision)
    if current != migrate.head_revision():
        raise _PartError(f"at {current or 'nothing'}, and this version needs {migrate.head_revision()}")
