"""A Valkey server of its own for a benchmark: the embedded one, gone at the end."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runaudit_service.embedded import valkey
from runaudit_service.embedded.part import stop

START_SECONDS = 30


@contextmanager
def embedded_broker() -> Iterator[str]:
    """The URL of a running server with nothing in it."""
    folder = Path(tempfile.mkdtemp(prefix="runaudit-benchmark-"))
    server = valkey.prepare(folder)
    part = server.part(folder / "log")
    process = part.start()
    try:
        end = time.monotonic() + START_SECONDS
        while not server.ready():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Valkey did not start: {(folder / 'log').read_text(errors='replace')}")
            time.sleep(0.05)
        yield server.url
    finally:
        stop(process, part)
        shutil.rmtree(folder, ignore_errors=True)
