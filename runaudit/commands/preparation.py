"""What `check` does before anything else: mind signals, and start the child that will read the run.

The child takes as long to load its modules as the command line takes to load its own; so they do it side by side.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from runaudit.isolation.folder import JobFolder
from runaudit.isolation.process import Child, start_child


@dataclass
class Stop:
    """The signal that asked for an end, if one did."""

    number: int | None = None

    def asked(self) -> bool:
        return self.number is not None


@dataclass
class Preparation:
    """A job folder of its own, an ingest child that waits for the job in it, and the signals that have come."""

    folder: Path
    child: Child
    stop: Stop = field(default_factory=Stop)


@contextmanager
def prepared() -> Iterator[Preparation]:
    """A preparation; when it ends, the child is dead and the folder gone."""
    with stop_on_signal() as stop, tempfile.TemporaryDirectory(prefix="runaudit-") as folder:
        child = start_child("ingest", JobFolder(Path(folder)))
        try:
            yield Preparation(Path(folder), child, stop)
        finally:
            child.end()


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Notes SIGINT and SIGTERM, so that the audit ends its children in order.

    A second signal of the same kind takes its default way.
    """
    stop = Stop()

    def note(number: int, _: FrameType | None) -> None:
        stop.number = number
        signal.signal(number, before[number])

    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
