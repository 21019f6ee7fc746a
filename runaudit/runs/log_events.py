"""What went wrong in a training, as its console log tells: each event a note with its place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from runaudit.runs.facts import Note
from runaudit.runs.log_text import LogContent, LogText, following

MAX_EVENTS = 100
MAX_OF_A_KIND = 10
_TRACEBACK = "Traceback (most recent call last)"
_TRACEBACK_LINES = 400
_QUOTED = 200

_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("batch_reduced", re.compile(r"Reducing to batch=\d+")),
    (
        "out_of_memory",
        re.compile(
            r"(?:CUDA|HIP|MPS|XPU|NPU)(?: backend)? out of memory|OutOfMemoryError|"
            r"DefaultCPUAllocator: (?:can't|not enough)|Cannot allocate memory|CUBLAS_STATUS_ALLOC_FAILED"
        ),
    ),
    (
        "cuda_error",
        re.compile(
            r"CUBLAS_STATUS_[A-Z_]+|CUDNN_STATUS_[A-Z_]+|cuDNN error|CUDA error|device-side assert", re.IGNORECASE
        ),
    ),
    ("nan_recovery", re.compile(r"(?:Loss|Fitness) NaN/Inf|NaN persisted|recovering from last\.pt")),
    ("nms_time_limit", re.compile(r"NMS time limit [\d.]+s exceeded")),
    ("no_labels", re.compile(r"No labels found|[Nn]o labels in |no labels found in")),
    (
        "process_ended",
        re.compile(
            r"^\s*(?:Killed|Terminated|Aborted|Bus error|Segmentation fault)\b|"
            r"\bline \d{1,6}: {1,8}\d{1,9} Killed\b|"
            r"KeyboardInterrupt|oom-kill|oom_kill|DUE TO TIME LIMIT|SIGKILL|SIGTERM|signal 9\b|received signal|"
            r"DataLoader worker .{0,80}exited unexpectedly"
        ),
    ),
)
EVENT_WORDS = (
    *(b"Reducing to batch", b"out of memory", b"OutOfMemoryError", b"DefaultCPUAllocator", b"Cannot allocate memory"),
    *(b"CUBLAS_STATUS", b"CUDNN_STATUS", b"cuDNN error", b"CUDA error", b"device-side assert", b"NaN/Inf"),
    *(b"NaN persisted", b"NMS time limit", b"o labels ", b"Killed", b"Terminated", b"Aborted", b"Bus error"),
    *(b"Segmentation fault", b"KeyboardInterrupt", b"oom-kill", b"oom_kill", b"DUE TO TIME LIMIT", b"SIGKILL"),
    *(b"SIGTERM", b"signal 9", b"received signal", b"exited unexpectedly", b"Traceback ("),
)


def events_of(log: LogContent, texts: Iterable[LogText]) -> list[Note]:
    """The events in `texts`, in the log's order. Of a kind that repeats, the first ten and a count."""
    counts: Counter[str] = Counter()
    events: list[Note] = []
    for text in texts:
        note = _exception(log, text) if _TRACEBACK in text.text else _event(log, text)
        if note is None or (events and (note.code, note.place) == (events[-1].code, events[-1].place)):
            continue
        counts[note.code] += 1
        if counts[note.code] <= MAX_OF_A_KIND and len(events) < MAX_EVENTS:
            events.append(note)
    shown = Counter(note.code for note in events)
    return events + [
        Note(code=code, detail=f"{number - shown[code]} more of these.", place=log.source)
        for code, number in counts.items()
        if number > shown[code]
    ]


def _event(log: LogContent, text: LogText) -> Note | None:
    for code, pattern in _PATTERNS:
        if found := pattern.search(text.text):
            quoted = text.text[max(0, found.start() - 20) :].strip()[:_QUOTED]
            return Note(code=code, detail=f"The log says: {quoted}", place=f"{log.source}:{text.line}")
    return None


def _exception(log: LogContent, text: LogText) -> Note | None:
    """The line that ends a traceback: the first one below it that is not indented."""
    indent = text.text[: text.text.index(_TRACEBACK)]
    for line in following(log, text, _TRACEBACK_LINES):
        body = line.text.removeprefix(indent)
        if body and not body[0].isspace():
            return Note(
                code="exception",
                detail=f"The training raised: {body[:_QUOTED]}",
                place=f"{log.source}:{line.line}",
            )
    detail = "A traceback begins here, and the log ends in it."
    return Note(code="exception", detail=detail, place=f"{log.source}:{text.line}")
