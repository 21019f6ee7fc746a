"""Start a child process for one stage, follow its progress, and end it at its deadline or on request."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pydantic import ValidationError

from runaudit.errors import CancelledError, ChildError, ChildTimeoutError, load_input_error
from runaudit.isolation.job import INPUT_ERROR, MACHINE_ERROR, ChildName, JobFolder, Progress

# What a child may know of its parent's environment: where programs and libraries lie, which GPU it may use, and how
# many threads. Never a URL, a key or a home.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "OMP_NUM_THREADS")
_PASSED_ON_PREFIXES = ("NVIDIA_", "OPENBLAS_")
_POLL_SECONDS = 0.1
_LINE_BYTES = 4096
_LOG_TAIL_BYTES = 2000

OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


def child_environment(stage: ChildName, folder: JobFolder) -> dict[str, str]:
    """The whole environment of a child."""
    kept = {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    home = str(folder.home)
    fixed = {
        "HOME": home,
        "TMPDIR": home,
        # ultralytics writes settings and looks for updates, packages and fonts unless told otherwise.
        "YOLO_CONFIG_DIR": home,
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SAFE_LOAD": "1",
        # cuBLAS repeats its results only with a fixed workspace.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        # Plugins of pydantic are code of others, and looking for them takes longer than reading a run.
        "PYDANTIC_DISABLE_PLUGINS": "__all__",
    }
    # Ingest reads files; threads would only take address space from its limit.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} if stage == "ingest" else {}
    return kept | fixed | threads


@contextmanager
def _running(stage: ChildName, folder: JobFolder) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A started child and the reading end of its progress pipe; it is dead when the context ends, however it ends."""
    folder.home.mkdir(exist_ok=True)
    reading, writing = os.pipe()
    arguments = [stage, str(folder.root), str(os.getpid()), str(writing)]
    os.set_blocking(reading, False)
    try:
        with folder.log.open("ab") as log:
            process = subprocess.Popen(
                # -I: neither the working folder nor the environment add to what can be imported.
                [sys.executable, "-I", "-m", "runaudit.isolation.child", *arguments],
                cwd=folder.home,
                env=child_environment(stage, folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
    finally:
        os.close(writing)
    try:
        yield process, reading
    finally:
        os.close(reading)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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


def _follow(
    process: subprocess.Popen[bytes], reading: int, deadline: float, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
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
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Run one stage of the job in a fresh process and wait for its end.

    `meanwhile` is called once, as soon as the process is started: short work of the parent that needs no result of it.

    Raises: an InputError that the child left in problem.json; ChildTimeoutError after `seconds`; CancelledError as soon
    as `should_stop` says so; ChildError if it died in any other way. No child outlives this call.
    """
    with _running(stage, folder) as (process, reading):
        if meanwhile is not None:
            meanwhile()
        _follow(process, reading, time.monotonic() + seconds, on_progress, should_stop)
        code = process.wait()
    if code == 0:
        return
    if code == INPUT_ERROR:
        raise load_input_error(json.loads(folder.problem.read_bytes()))
    if code == MACHINE_ERROR:
        problem = json.loads(folder.problem.read_bytes())
        raise ChildError(problem["detail"], code=problem["code"])
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    tail = _log_tail(folder)
    last_line = tail.splitlines()[-1] if tail else "it printed nothing"
    raise ChildError(f"The {stage} process ended with {how}: {last_line}")
