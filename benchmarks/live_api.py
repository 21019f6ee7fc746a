"""The API as a process of its own on the embedded PostgreSQL and Valkey, for benchmarks; gone at the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.embedded_broker import embedded_broker
from benchmarks.embedded_database import embedded_database
from runaudit_service.store.prepare import prepare

START_SECONDS = 120
DATABASE = "runaudit"


@dataclass(frozen=True)
class LiveApi:
    url: str
    key: str
    process: subprocess.Popen[bytes]
    database_url: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def memory(self) -> int:
        """Resident bytes now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")


@contextmanager
def running_api(settings: Mapping[str, str] | None = None) -> Iterator[LiveApi]:
    """The API, ready, with a first key. `settings` are further RUNAUDIT_ variables, without the prefix."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runaudit-benchmark-")))
        server = stack.enter_context(embedded_database())
        server.create_database(DATABASE)
        key = prepare(server.url(DATABASE))
        assert key is not None
        port = free_port()
        chosen = {
            "DATABASE_URL": server.url(DATABASE),
            "BROKER_URL": stack.enter_context(embedded_broker()),
            "DATA_DIR": str(folder / "data"),
            "PORT": str(port),
            # Counted as always, and never reached.
            "REQUESTS_PER_MINUTE": "100000000",
            **(settings or {}),
        }
        environment = os.environ | {f"RUNAUDIT_{name}": value for name, value in chosen.items()}
        log = stack.enter_context((folder / "api.log").open("wb"))
        process = subprocess.Popen([sys.executable, "-m", "runaudit_service.api"], env=environment, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.send_signal, signal.SIGTERM)
        api = LiveApi(f"http://127.0.0.1:{port}", key, process, server.url(DATABASE))
        wait_until_answered(f"{api.url}/readyz", process)
        yield api


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_answered(url: str, process: subprocess.Popen[bytes], seconds: float = START_SECONDS) -> None:
    """Return when a GET is answered 200. Raises RuntimeError if the process ends, or takes longer."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(url, timeout=seconds).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} was not answered")
