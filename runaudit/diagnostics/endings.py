"""What ended a training, by the events of its log: memory, the device, a signal, an exception, or a person."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from runaudit.runs.facts import LogFacts, Note

Kind = Literal["memory", "device", "main_memory", "workers", "time", "signal", "exception"]

_BY_HAND: Final = ("KeyboardInterrupt", "SystemExit")
_WORDS: Final[tuple[tuple[Kind, tuple[str, ...]], ...]] = (
    ("memory", ("OutOfMemoryError", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED")),
    ("workers", ("DataLoader worker", "out of shared memory")),
    ("main_memory", ("DefaultCPUAllocator", "Cannot allocate memory", "oom-kill", "oom_kill", "MemoryError")),
    ("time", ("DUE TO TIME LIMIT",)),
)
_BY_CODE: Final[dict[str, Kind]] = {
    "out_of_memory": "memory",
    "cuda_error": "device",
    "process_ended": "signal",
    "exception": "exception",
}
_ORDER: Final[tuple[Kind, ...]] = ("memory", "main_memory", "workers", "device", "time", "signal", "exception")
"""The most telling first: a traceback and a signal follow from what stands before them."""


@dataclass(frozen=True)
class Ending:
    """`event` is the last one of its kind in the log."""

    kind: Kind
    event: Note


def ending_of(log: LogFacts) -> Ending | None:
    """What the log says ended the training; None if it names nothing, or a person who stopped it.

    `Killed` alone is what Linux prints for a process that it ended for want of main memory, but also of any other
    SIGKILL, so that it counts as a signal.
    """
    endings = [Ending(kind, event) for event in _lines(log) if (kind := _kind(event)) is not None]
    for kind in _ORDER:
        of_kind = [ending for ending in endings if ending.kind == kind]
        if of_kind:
            return of_kind[-1]
    return None


def stopped_by_hand(log: LogFacts) -> Note | None:
    """The event that shows that a person stopped the training."""
    return next((event for event in _lines(log) if _said(event, _BY_HAND)), None)


def events_with(log: LogFacts | None, code: str) -> tuple[list[Note], int]:
    """The events of a code that have a line of their own, and how many there were in all."""
    if log is None:
        return [], 0
    lines = [event for event in _lines(log) if event.code == code]
    summaries = [event for event in log.events if event.code == code and event not in lines]
    more = [re.match(r"(\d{1,9}) more", event.detail) for event in summaries]
    return lines, len(lines) + sum(int(match[1]) for match in more if match is not None)


def _lines(log: LogFacts) -> list[Note]:
    """Without the notes that only count further events of a kind; their place is the whole log."""
    return [event for event in log.events if event.place not in log.sources]


def _kind(event: Note) -> Kind | None:
    if event.code not in _BY_CODE or _said(event, _BY_HAND):
        return None
    return next((kind for kind, words in _WORDS if _said(event, words)), _BY_CODE[event.code])


def _said(event: Note, words: tuple[str, ...]) -> bool:
    return any(word in event.detail for word in words)
