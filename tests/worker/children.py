"""The child processes of a worker, seen from outside: found, frozen, killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.conftest import wait_until


def children(process_id: int) -> list[int]:
    """The processes that a process started, in whichever of its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{process_id}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except FileNotFoundError:
            continue
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
    wait_until(lambda: any(_is_walled_in(child) for child in children(process_id)), what="an audit child")
    (child,) = children(process_id)
    os.kill(child, signal.SIGSTOP)
    return child


def _is_walled_in(process_id: int) -> bool:
    try:
        return "NoNewPrivs:\t1" in Path(f"/proc/{process_id}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
