"""A PostgreSQL server of its own for a benchmark: the embedded one, with its ordinary settings, gone at the end."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runaudit_service.embedded import postgres
from runaudit_service.embedded.part import stop

START_SECONDS = 60


@contextmanager
def embedded_database(*, options: tuple[str, ...] = ()) -> Iterator[postgres.Postgres]:
    """A running server with nothing in it. `options` are further settings, `name=value`."""
    folder = Path(tempfile.mkdtemp(prefix="runaudit-benchmark-"))
    # The server may run under another account, which has to get at its data.
    folder.chmod(0o755)
    server = postgres.prepare(folder)
    part = server.part(folder / "log", options=options)
    process = part.start()
    try:
        end = time.monotonic() + START_SECONDS
        while not server.ready():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text(errors='replace')}")
            time.sleep(0.05)
        yield server
    finally:
        stop(process, part)
        server.remove_socket_dir()
        shutil.rmtree(folder, ignore_errors=True)
