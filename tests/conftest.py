"""Real servers for tests: one PostgreSQL and one Valkey a run, which die with the test process, even a killed one."""

from __future__ import annotations

import itertools
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from runaudit_service.embedded import postgres, valkey
from runaudit_service.embedded.part import Part, stop

if TYPE_CHECKING:
    from tests.bucket_server import BucketServer

_names = itertools.count(1)


def pytest_configure() -> None:
    """Gives interrupts their usual meaning: a shell starts what it puts in the background with them ignored, and every
    process that a test starts would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def wait_until(condition: Callable[[], bool], *, seconds: float = 60, what: str = "it") -> None:
    """Polls `condition` until it is true.

    Raises:
        TimeoutError: it did not become true.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


def _started(part: Part, ready: Callable[[], bool]) -> subprocess.Popen[bytes]:
    process = part.start()
    try:
        wait_until(lambda: ready() or process.poll() is not None, what=f"{part.name} being ready")
        if process.poll() is not None:
            raise RuntimeError(f"{part.name} ended: {part.log.read_text(errors='replace')}")
    except BaseException:
        stop(process, part)
        raise
    return process


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Postgres]:
    """A running PostgreSQL server without a database of ours."""
    folder = tmp_path_factory.mktemp("postgres")
    server = postgres.prepare(folder)
    # A test database need not survive a power cut.
    part = server.part(folder / "log", options=("fsync=off", "synchronous_commit=off", "full_page_writes=off"))
    process = _started(part, server.ready)
    yield server
    stop(process, part)
    server.remove_socket_dir()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: postgres.Postgres) -> str:
    """The name of a migrated database to copy: copying takes milliseconds, migrating does not."""
    from runaudit_service.store.migrate import upgrade  # noqa: PLC0415  # tests of pure code need no database packages

    postgres_server.create_database("migrated")
    upgrade(postgres_server.url("migrated"))
    return "migrated"


def _new_database(server: postgres.Postgres, template: str) -> str:
    name = f"test_{next(_names)}"
    server.create_database(name, template=template)
    return server.url(name)


@pytest.fixture(scope="module")
def postgres_url(postgres_server: postgres.Postgres, migrated_template: str) -> str:
    """A fresh migrated database, shared by the tests of one module."""
    return _new_database(postgres_server, migrated_template)


@pytest.fixture
def fresh_postgres_url(postgres_server: postgres.Postgres, migrated_template: str) -> str:
    """A fresh migrated database of this test's own."""
    return _new_database(postgres_server, migrated_template)


@pytest.fixture
def empty_postgres_url(postgres_server: postgres.Postgres) -> str:
    """A database without any table, for tests of migrations."""
    return _new_database(postgres_server, "template1")


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Valkey's URL."""
    folder = tmp_path_factory.mktemp("valkey")
    server = valkey.prepare(folder)
    part = server.part(folder / "log")
    process = _started(part, server.ready)
    yield server.url
    stop(process, part)


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    """A running S3-compatible server; a test takes a prefix of its own."""
    from tests.bucket_server import BucketServer  # noqa: PLC0415  # few tests need it

    server = BucketServer(tmp_path_factory.mktemp("buckets") / "root")
    server.start()
    yield server
    server.stop()
