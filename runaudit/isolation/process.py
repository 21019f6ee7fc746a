"""Starting and ending a child process: its environment, its pipes, its own session. Light, so that it can be early.

A child loads its modules and then waits on its standard input for the word that its job is there, so that it can be
started while its parent still makes ready. If the parent goes away instead, the input ends, and the child with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from runaudit.isolation.folder import ChildName, JobFolder

GO: Final = b"go\n"
"""what a child waits for"""

# What a child may know of its parent's environment: where programs and libraries lie, which GPU it may use, and how
# many threads. Never a URL, a key or a home.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "OMP_NUM_THREADS")
_PASSED_ON_PREFIXES = ("NVIDIA_", "OPENBLAS_")


def bare_environment(stage: ChildName) -> dict[str, str]:
    """The environment of a stage, but for what differs between two children."""
    kept = {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    fixed = {
        # ultralytics writes settings and looks for updates, packages and fonts unless told otherwise.
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SAFE_LOAD": "1",
        # cuBLAS repeats its results only with a fixed workspace.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        # Plugins of pydantic are code of others, and looking for them takes longer than reading a run.
        "PYDANTIC_DISABLE_PLUGINS": "__all__",
    }
    # Ingest and data read files; threads would only take address space from its limit.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} if stage != "evaluate" else {}
    return kept | fixed | threads


def child_environment(stage: ChildName, folder: JobFolder) -> dict[str, str]:
    """The whole environment of a child."""
    home = str(folder.home)
    return bare_environment(stage) | {"HOME": home, "TMPDIR": home, "YOLO_CONFIG_DIR": home}


class Process(Protocol):
    """What a parent asks of a child's process."""

    def poll(self) -> int | None:
        """The exit code, as Popen has it, or None while the process runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""


class Child(Protocol):
    """A started child and the reading end of its progress pipe."""

    @property
    def process(self) -> Process: ...
    @property
    def reading(self) -> int: ...

    def go(self) -> None:
        """Tell the child that its job is there."""

    def end(self) -> None:
        """Have the child dead, however it was doing; may be called again."""


StartChild = Callable[[ChildName, JobFolder], Child]
"""how the process of a stage is started"""


@dataclass(frozen=True)
class SpawnedChild:
    """A child that is a program of its own, of this process."""

    process: subprocess.Popen[bytes]
    reading: int

    def go(self) -> None:
        """Tell the child that its job is there. One that has died meanwhile tells so by its exit code."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError), self.process.stdin as word:
                word.write(GO)

    def end(self) -> None:
        """Have the child dead, however it was doing; may be called again."""
        with suppress(OSError):
            os.close(self.reading)
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start_child(stage: ChildName, folder: JobFolder) -> SpawnedChild:
    """Start the process of a stage; `folder` need not hold the job yet. The caller calls `end`."""
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
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return SpawnedChild(process, reading)
