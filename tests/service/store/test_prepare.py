"""The step before all others: a new database gets its schema and one first key, an old one is left as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
from sqlalchemy import make_url

from runaudit_service.embedded.postgres import Postgres
from runaudit_service.store.database import sync_engine
from runaudit_service.store.keys import lookup_of
from runaudit_service.store.migrate import at_head
from runaudit_service.store.prepare import prepare


def test_a_new_database_gets_its_schema_and_one_key(empty_postgres_url: str) -> None:
    key = prepare(empty_postgres_url)
    assert key is not None
    assert lookup_of(key) is not None
    engine = sync_engine(empty_postgres_url, pool_size=1)
    try:
        assert at_head(engine)
    finally:
        engine.dispose()
    assert prepare(empty_postgres_url) is None


def _run(database_url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runaudit_service.store.prepare"],
        env={**os.environ, "RUNAUDIT_DATABASE_URL": database_url, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_as_a_command_it_says_the_key_once(empty_postgres_url: str) -> None:
    first, second = _run(empty_postgres_url), _run(empty_postgres_url)
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith("API key (shown this once): ra_")
    assert second.stdout == ""


def test_without_a_database_it_says_what_to_set() -> None:
    done = _run("")
    assert done.returncode == 2
    assert "RUNAUDIT_DATABASE_URL" in done.stderr


def test_the_apis_login_is_made_with_the_schema_or_told_why_not(
    postgres_server: Postgres, empty_postgres_url: str
) -> None:
    front = postgres_server.front_url(str(make_url(empty_postgres_url).database))
    prepare(empty_postgres_url, front)
    psycopg.connect(front).close()
    refused = _run(empty_postgres_url, RUNAUDIT_API_DATABASE_URL=empty_postgres_url)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "row-level security" in refused.stderr
