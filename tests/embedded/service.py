"""`runaudit serve` as a process, for tests of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import wait_until

READY_SECONDS = 60.0


@dataclass
class Served:
    """A running service."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    output: Path

    @property
    def credentials(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.data_dir / "credentials.json").read_text())
        return loaded

    def said(self) -> str:
        return self.output.read_text()

    def processes(self) -> dict[str, int]:
        """The part's process ids, by what their command lines name."""
        names = {
            "postgres": "bin/postgres",
            "valkey": "valkey-server",
            "api": "runaudit_service.api",
            "reaper": "runaudit_worker.reaper",
            "sender": "runaudit_worker.sender",
            "worker": "runaudit_worker\0--queues\0cpu",
            "egress": "runaudit_worker\0--queues\0egress",
        }
        lines = {process: command_line(process) for process in descendants(self.process.pid)}
        return {
            name: process
            for name, part in names.items()
            for process, line in sorted(lines.items(), reverse=True)
            if part in line and parent_of(process) == self.process.pid
        }

    def interrupt(self, seconds: float = 40) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds)


def command_line(process_id: int) -> str:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def parent_of(process_id: int) -> int:
    try:
        return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def descendants(process_id: int) -> set[int]:
    """All processes that descend from one, whatever their sessions."""
    parents = {int(entry.name): parent_of(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found, before = {process_id}, -1
    while len(found) != before:
        before = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {process_id}


@contextmanager
def serving(
    data_dir: Path, *arguments: str, wait: bool = True, environment: dict[str, str] | None = None
) -> Iterator[Served]:
    """A service in `data_dir` on a free port; interrupted at the end unless it ended before."""
    output = data_dir.with_name(data_dir.name + ".out")
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "runaudit_service.embedded", "--data-dir", str(data_dir), "--port", "0", *arguments],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    served = Served(process, data_dir, output)
    try:
        if wait:
            # Not credentials.json: a killed service leaves it, until the next one starts.
            wait_until(
                lambda: "Runaudit is ready" in served.said() or process.poll() is not None,
                seconds=READY_SECONDS,
                what="serving",
            )
            assert process.poll() is None, served.said()
        yield served
    finally:
        if process.poll() is None:
            served.interrupt()
