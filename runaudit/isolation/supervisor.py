"""Start a child process for one stage, follow its progress, and end it at its deadline or on request."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from pydantic import ValidationError

from runaudit.errors import CancelledError, ChildError, ChildTimeoutError, load_input_error, load_machine_error
from runaudit.isolation.job import INPUT_ERROR, MACHINE_ERROR, ChildName, JobFolder, Progress
from runaudit.isolation.memory import kernel_kills, why_killed
from runaudit.isolation.process import Child, Process, StartChild, start_child

_POLL_SECONDS = 0.1
_LINE_BYTES = 4096
_LOG_TAIL_BYTES = 2000

OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


def _progress_of(line: bytes) -> Progress | None:
    try:
        return Progress.model_validate_json(line)
    except ValidationError:
        return None


class _Lines:
    """The progress that arrives on a pipe, line by line; what is not progress is dropped."""

    def __init__(self, reading: int) -> None:
        self._reading = reading
        self._rest = b""
        self.open = True

    def arrived(self) -> Iterator[Progress]:
        """What the pipe holds now. `open` turns false once its other end is closed."""
        while self.open:
            try:
                chunk = os.read(self._reading, 1 << 16)
            except BlockingIOError:
                return
            self.open = bool(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._rest = self._rest[-_LINE_BYTES:]
            yield from filter(None, map(_progress_of, lines))


def _follow(process: Process, reading: int, deadline: float, on_progress: OnProgress, should_stop: ShouldStop) -> None:
    """Pass progress on until the child ends. Raises ChildTimeoutError or CancelledError while it still runs."""
    lines = _Lines(reading)
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        running = True
        while running:
            if time.monotonic() > deadline:
                raise ChildTimeoutError("The audit took longer than it may. A smaller data set or more time helps.")
            if should_stop():
                raise CancelledError("The audit was cancelled.")
            if lines.open:
                selector.select(_POLL_SECONDS)
                running = process.poll() is None
            else:
                # The pipe closes as the child ends: that is waited for without a pause.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
                    running = False
            for progress in lines.arrived():
                on_progress(progress)


def _log_tail(folder: JobFolder) -> str:
    with folder.log.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - _LOG_TAIL_BYTES))
        return log.read().decode(errors="replace").strip()


def run_child(
    stage: ChildName,
    folder: JobFolder,
    *,
    seconds: float,
    on_progress: OnProgress,
    should_stop: ShouldStop,
    start: StartChild = start_child,
    started: Child | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Run one stage of the job in a fresh process and wait for its end.

    `start` starts it, unless `started` is a child of this stage and folder that waits already. `meanwhile` is called
    once, as soon as the process has its job: short work of the parent that needs no result of it.

    Raises: an InputError that the child left in problem.json; ChildTimeoutError after `seconds`; CancelledError as soon
    as `should_stop` says so; ChildMemoryError if memory ran out; ChildError if it died in any other way. No child
    outlives this call.
    """
    kills_before = kernel_kills()
    child = started or start(stage, folder)
    try:
        child.go()
        if meanwhile is not None:
            meanwhile()
        _follow(child.process, child.reading, time.monotonic() + seconds, on_progress, should_stop)
        code = child.process.wait()
    finally:
        child.end()
    if code == 0:
        return
    if code == INPUT_ERROR:
        raise load_input_error(json.loads(folder.problem.read_bytes()))
    if code == MACHINE_ERROR:
        raise load_machine_error(json.loads(folder.problem.read_bytes()))
    if code == -signal.SIGKILL:
        raise why_killed(stage, kills_before, kernel_kills())
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    tail = _log_tail(folder)
    last_line = tail.splitlines()[-1] if tail else "it printed nothing"
    raise ChildError(f"The {stage} process ended with {how}: {last_line}")
