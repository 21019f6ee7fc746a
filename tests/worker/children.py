"""The child processes of a worker, seen from outside: found, frozen, killed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.conftest import wait_until


def children(process_id: int) -> list[int]:
    """The audit children of a worker: those that it started, and those that its fork server forked."""
    found = []
    for child in started_by(process_id):
        found += started_by(child) if is_fork_server(child) else [child]
    return found


def fork_server(process_id: int) -> int:
    """The fork server of a worker. One that was started this moment has no command line yet."""

    def found() -> list[int]:
        return [child for child in started_by(process_id) if is_fork_server(child)]

    wait_until(lambda: len(found()) == 1, what="one fork server")
    return found()[0]


def is_fork_server(process_id: int) -> bool:
    """Whether it is one, or a child that one forked."""
    try:
        return b"runaudit.isolation.fork_server" in Path(f"/proc/{process_id}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def started_by(process_id: int) -> list[int]:
    """The processes that a process started, in whichever of its threads."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process_id}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def alive(process_id: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def freeze_child(process_id: int) -> int:
    """Waits for an audit child of a worker and stops it in the middle: the audit then lasts as long as wanted.

    In the middle: behind its walls, not while Python starts.
    """
    wait_until(lambda: any(is_walled_in(child) for child in children(process_id)), what="an audit child")
    (child,) = children(process_id)
    os.kill(child, signal.SIGSTOP)
    return child


def is_walled_in(process_id: int) -> bool:
    """Whether a child is behind its walls: reads what was handed in."""
    try:
        return "NoNewPrivs:\t1" in Path(f"/proc/{process_id}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
