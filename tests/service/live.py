"""The API as a process of its own on a loopback port: `python -m runaudit_service.api`."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy.orm import Session

from runaudit_service.store.database import sync_engine
from runaudit_service.store.keys import ensure_default


@dataclass(frozen=True)
class Live:
    """A running API."""

    url: str
    key: str
    process: subprocess.Popen[bytes]
    data_dir: Path
    log: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def peak_memory(self) -> int:
        """The largest resident size so far, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def artifacts(self) -> list[Path]:
        """Every file of the blob store, whole or not."""
        return [path for path in (self.data_dir / "blobs").rglob("*") if path.is_file()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def live(
    database_url: str,
    broker_url: str,
    folder: Path,
    *,
    key: str | None = None,
    largest_file: int | None = None,
    **settings: str,
) -> Iterator[Live]:
    """Start the API, wait until it is ready, end it. `largest_file` is the process' limit of a file, in bytes.

    `key` is the first key of a database that has had an API before; others get one.
    """
    key = key or _first_key(database_url)
    port = free_port()
    environment = {
        **os.environ,
        "RUNAUDIT_DATABASE_URL": database_url,
        "RUNAUDIT_BROKER_URL": broker_url,
        "RUNAUDIT_DATA_DIR": str(folder / "data"),
        "RUNAUDIT_PORT": str(port),
        **settings,
    }

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    log = folder / "api.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "runaudit_service.api"],
            env=environment,
            stdout=output,
            stderr=output,
            preexec_fn=limit,  # noqa: PLW1509 - nothing else runs in this test process
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, log)
        yield Live(url, key, process, folder / "data", log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _first_key(database_url: str) -> str:
    engine = sync_engine(database_url)
    with Session(engine) as session:
        key = ensure_default(session)
        session.commit()
    engine.dispose()
    assert key is not None, "the database has a key already"
    return key


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the API did not become ready: {log.read_text()}")
