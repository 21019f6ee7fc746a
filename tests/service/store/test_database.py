"""Connections of the API's pool: one that died is replaced before it is used."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Engine, text

from runaudit_service.store import database
from runaudit_service.store.database import async_engine


@pytest.mark.parametrize("trusted", [60.0, 0.0], ids=["a moment ago", "long ago"])
def test_a_connection_that_ended_since_its_last_use_is_replaced(
    front_url: str, engine: Engine, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, trusted: float
) -> None:
    monkeypatch.setattr(database, "TRUSTED_SECONDS", trusted)

    async def before_and_after() -> tuple[int, int, int]:
        made = async_engine(front_url, pool_size=1)
        process = text("SELECT pg_backend_pid()")
        pids = []
        for ending in (False, True, False):
            async with made.connect() as connection:
                pids.append((await connection.execute(process)).scalar_one())
            if ending:
                with engine.connect() as other:
                    other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pids[-1]})
        await made.dispose()
        first, second, third = pids
        return first, second, third

    first, second, third = runner.run(before_and_after())
    assert first == second != third
