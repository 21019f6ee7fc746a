"""Locks between the processes of one machine that share a folder: `flock` on files that may be removed meanwhile."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from runaudit.errors import CancelledError

_PAUSE_SECONDS: Final = 0.2
"""between two looks whether another process has given up the lock that this one waits for"""


@contextmanager
def locked(path: Path, kind: int, should_stop: Callable[[], bool] | None = None) -> Iterator[int | None]:
    """The lock file's descriptor with the lock held; None if LOCK_NB was asked for and another process holds it.

    With `should_stop` it is asked for while waiting. Raises CancelledError as soon as it says so.
    """
    waits = should_stop is not None
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind | (fcntl.LOCK_NB if waits else 0))
            # Who removes what is locked removes its lock file too: a lock on a file that is gone keeps nobody out.
            if _is_at(descriptor, path):
                break
        except BlockingIOError:
            if not waits:
                os.close(descriptor)
                yield None
                return
            time.sleep(_PAUSE_SECONDS)
        os.close(descriptor)
        if should_stop is not None and should_stop():
            raise CancelledError("The audit was cancelled.")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
