"""Fixtures of the worker's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from runaudit_service.store.database import sync_engine
from tests.worker.workplace import Workplace


@pytest.fixture
def workplace(fresh_postgres_url: str, valkey_url: str, tmp_path: Path) -> Iterator[Workplace]:
    """A database of its own, and the broker without any bell in it."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    engine = sync_engine(fresh_postgres_url)
    yield Workplace(engine, fresh_postgres_url, valkey_url, tmp_path)
    engine.dispose()
