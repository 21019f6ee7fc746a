"""Fixtures of the tests of webhooks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from runaudit_service.store.database import sync_engine
from tests.worker.webhooks.receiver import Receiver, receiving


@pytest.fixture
def engine(fresh_postgres_url: str) -> Iterator[Engine]:
    made = sync_engine(fresh_postgres_url, pool_size=8)
    yield made
    made.dispose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made
