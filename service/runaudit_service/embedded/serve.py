"""`runaudit serve`: brings the service up in order, keeps it up, and takes it down."""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx
import psycopg
import redis

from runaudit_service.embedded import folder, parts, postgres, valkey
from runaudit_service.embedded.part import Part
from runaudit_service.embedded.private import write_private
from runaudit_service.embedded.supervisor import POLL_SECONDS, PartFailedError, Supervisor
from runaudit_service.store.database import libpq_url
from runaudit_service.store.front_login import LoginUnfitError
from runaudit_service.store.prepare import prepare
from runaudit_service.store.settings import Settings

READY_SECONDS = 60.0
"""how long a part may take until it is ready; PostgreSQL after a crash takes longest"""


class ServeError(Exception):
    """The service can't be started; the message says why and what to do."""


class _StopRequestedError(Exception):
    """SIGINT or SIGTERM came while the service was starting."""


@dataclass(frozen=True)
class Options:
    """What `runaudit serve` was asked for. Port 0 takes any free one."""

    data_dir: Path
    host: str
    port: int
    workers: int
    concurrency: int


def say(line: str) -> None:
    """One plain line for the person who started the service; going on matters more than being read."""
    with suppress(OSError, ValueError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class Service:
    """One run of the service, from start to end. Create it in the main thread, for it handles signals."""

    def __init__(self, options: Options, settings: Settings) -> None:
        self._options = options
        self._settings = settings
        self._supervisor = Supervisor(say)
        self._after_all = ExitStack()
        self._stop_requests = 0

    def run(self) -> None:
        """Serves until SIGINT, SIGTERM or SIGHUP, and leaves no process behind.

        Raises:
            ServeError: it could not be started.
            folder.FolderInUseError: another one serves from the same folder.
            folder.FolderUnusableError: the folder can be none.
        """
        data_dir = self._options.data_dir.resolve()
        with folder.exclusive(data_dir):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._on_signal)
            folder.forget_credentials(data_dir)
            try:
                self._start(data_dir)
                while not self._stop_requests:
                    self._supervisor.watch()
                    time.sleep(POLL_SECONDS)
            except _StopRequestedError:
                pass
            except (TimeoutError, PartFailedError) as error:
                raise ServeError(f"{error} (logs are in {folder.logs_of(data_dir)})") from error
            finally:
                folder.forget_credentials(data_dir)
                self._supervisor.stop_all()
                self._after_all.close()

    def _start(self, data_dir: Path) -> None:
        begun = time.monotonic()
        logs = folder.logs_of(data_dir)
        port = self._port()
        if self._settings.database_url:
            database_url = self._settings.database_url
            api_database_url = self._settings.api_database_url
        else:
            server = self._start_postgres(data_dir / "postgres", logs)
            database_url, api_database_url = server.url(), server.front_url()
        broker_url = self._settings.broker_url or self._start_valkey(data_dir / "valkey", logs)
        self._wait(lambda: _database_answers(database_url), "the database")
        self._wait(lambda: _broker_answers(broker_url), "the broker")
        try:
            new_key = prepare(database_url, api_database_url)
        except LoginUnfitError as error:
            raise ServeError(str(error)) from error
        if new_key is not None:
            folder.keep_key(data_dir, new_key)

        places = parts.Places(
            data_dir,
            database_url,
            broker_url,
            self._options.host,
            port,
            api_database_url or database_url,
            self._settings.metrics_port,
        )
        self._supervisor.start(parts.reaper(places, logs))
        self._supervisor.start(parts.sender(places, logs))
        self._supervisor.start(parts.fetcher(places, logs, grace_seconds=self._settings.grace_seconds))
        self._supervisor.start(*self._workers(places, logs))
        self._supervisor.start(parts.api(places, logs))
        self._wait(lambda: _api_ready(places.url), "the API")

        path = folder.publish_credentials(data_dir, places.url, folder.kept_key(data_dir))
        say(f"Runaudit is ready at {places.url} after {time.monotonic() - begun:.1f} s")
        if new_key is not None:
            say(f"API key (shown this once, kept in {path}): {new_key}")
        say("Ctrl-C stops it")

    def _workers(self, places: parts.Places, logs: Path) -> list[Part]:
        return [
            parts.worker(
                number,
                places,
                logs,
                concurrency=self._options.concurrency,
                grace_seconds=self._settings.grace_seconds,
            )
            for number in range(1, self._options.workers + 1)
        ]

    def _start_postgres(self, place: Path, logs: Path) -> postgres.Postgres:
        try:
            server = postgres.prepare(place)
        except (LookupError, OSError, RuntimeError) as error:
            raise ServeError(str(error)) from error
        self._after_all.callback(server.remove_socket_dir)
        self._supervisor.start(server.part(logs / "postgres.log"))
        self._wait(server.ready, "PostgreSQL")
        server.create_database()
        # For operators on this machine (store/tenants.py).
        write_private(place / "url", server.url() + "\n")
        return server

    def _start_valkey(self, place: Path, logs: Path) -> str:
        try:
            server = valkey.prepare(place)
        except OSError as error:
            raise ServeError(str(error)) from error
        self._supervisor.start(server.part(logs / "valkey.log"))
        self._wait(server.ready, "Valkey")
        return server.url

    def _port(self) -> int:
        """The port to listen on, which is free now."""
        host, port = self._options.host, self._options.port
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            with socket.socket(family) as probe:
                # As the API's own socket: a port whose last connections still linger is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                return int(probe.getsockname()[1])
        except OSError as error:
            raise ServeError(
                f"can't listen on {host}:{port}: {error.strerror}. Choose another --port (0: any)."
            ) from error

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        self._supervisor.wait(lambda: self._stop_requests > 0 or ready(), seconds=READY_SECONDS, what=what)
        if self._stop_requests:
            raise _StopRequestedError

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_requests += 1
        if self._stop_requests == 1:
            say(f"stopping; audits that run have {self._settings.grace_seconds:.0f} s to end (Ctrl-C again: none)")
        else:
            self._supervisor.hurry()


def _database_answers(database_url: str) -> bool:
    try:
        with psycopg.connect(libpq_url(database_url), connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def _broker_answers(broker_url: str) -> bool:
    try:
        with redis.Redis.from_url(broker_url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _api_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
