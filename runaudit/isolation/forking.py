"""A worker's side of its fork server: starting and replacing it, and children that are forked from it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from runaudit.isolation.folder import ChildName, JobFolder
from runaudit.isolation.fork_order import CODE, Order
from runaudit.isolation.process import Child, bare_environment, child_environment, start_child

LIFETIME_SECONDS: Final = 3600.0
"""how long children are forked from one server. All of them have their code at the same addresses: what a hostile file
found out about those in one audit is of no use an hour later"""
_END_SECONDS: Final = 10.0
"""in which a server has killed a child when told to; else it is killed itself, and its children end with it"""
_PROGRAM: Final = ("-m", "runaudit.isolation.fork_server")


def can_fork() -> bool:
    """Whether this system has what a fork server needs (Linux 5.3 has; tried out, since not all that look so do)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class ForkedProcess:
    """The process of a forked child, known by its line to the server."""

    def __init__(self, line: socket.socket, server: subprocess.Popen[bytes]) -> None:
        self._line = line
        self._server = server
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, as Popen has it, or None while the child runs."""
        return self._heard(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once the child has ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        code = self._heard(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked child", timeout or 0)
        return code

    def _heard(self, timeout: float | None) -> int | None:
        if self._code is None:
            poll = select.poll()
            poll.register(self._line, select.POLLIN)
            if poll.poll(None if timeout is None else timeout * 1000):
                # A server that died took its children with it, by the kernel's SIGKILL.
                said = self._line.recv(CODE.size)
                self._code = CODE.unpack(said)[0] if len(said) == CODE.size else -signal.SIGKILL
        return self._code

    def kill(self) -> None:
        """Have the child's session ended, and hear that it has; may be called again."""
        if self._line.fileno() < 0:
            return
        self._line.shutdown(socket.SHUT_WR)
        try:
            self.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self.wait()
        self._line.close()


@dataclass(frozen=True)
class ForkedChild:
    """A child of the fork server."""

    process: ForkedProcess
    reading: int

    def go(self) -> None:
        """It has begun already: it is forked when its job is there."""

    def end(self) -> None:
        """Have the child dead, however it was doing; may be called again."""
        with suppress(OSError):
            os.close(self.reading)
        self.process.kill()


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen[bytes]
    control: socket.socket
    begun: float

    def close(self) -> None:
        """It ends with the last of its children."""
        self.control.close()


class Forking:
    """Starts reading children by forking them; safe to share between threads.

    A server that died is replaced by the next child, and one that is old, too. `program` is what the interpreter runs.
    """

    def __init__(self, program: Sequence[str] = _PROGRAM) -> None:
        self._program = list(program)
        self._lock = threading.Lock()
        # The kernel ends a server with the thread that started it: one that lasts as long as this does, and not the
        # thread of a pool that happened to want a child when the last server was old.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="fork-server")
        self._server: _Server | None = None
        self._old: list[_Server] = []

    def begin(self) -> None:
        """Have a server ready, so that the first child need not wait for it."""
        with self._lock:
            self._current()

    def start_child(self, stage: ChildName, folder: JobFolder) -> Child:
        """The process of a stage, whose job is in `folder`. The caller calls `end`.

        An evaluate child is a program of its own: it loads torch and uses a GPU, and a copy must do neither.
        """
        if stage == "evaluate":
            return start_child(stage, folder)
        folder.home.mkdir(exist_ok=True)
        order = Order(stage=stage, folder=str(folder.root), environment=child_environment(stage, folder))
        message = order.model_dump_json().encode()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, folder.log.open("ab") as log:
                server = self._send(message, [writing, log.fileno(), theirs.fileno()])
        except BaseException:
            os.close(reading)
            ours.close()
            raise
        finally:
            os.close(writing)
        return ForkedChild(ForkedProcess(ours, server.process), reading)

    def close(self) -> None:
        """Forks no more. Servers end with the last of their children."""
        with self._lock:
            for server in (*self._old, self._server):
                if server is not None:
                    server.close()
                    server.process.wait()
            self._old, self._server = [], None
        self._starter.shutdown()

    def _send(self, message: bytes, descriptors: list[int]) -> _Server:
        with self._lock:
            server = self._current()
            try:
                socket.send_fds(server.control, [message], descriptors)
            except OSError:
                server.process.kill()
                server.process.wait()
                server = self._current()
                socket.send_fds(server.control, [message], descriptors)
            return server

    def _current(self) -> _Server:
        """The server that forks now; called with the lock held."""
        server = self._server
        self._old = [old for old in self._old if old.process.poll() is None]
        if server is not None and server.process.poll() is None:
            if time.monotonic() - server.begun < LIFETIME_SECONDS:
                return server
            self._old.append(server)
        if server is not None:
            server.close()
        self._server = self._starter.submit(self._started).result()
        return self._server

    def _started(self) -> _Server:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                # -I: neither the working folder nor the environment add to what can be imported.
                [sys.executable, "-I", *self._program, str(theirs.fileno()), str(os.getpid())],
                cwd="/",
                env=bare_environment("ingest"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return _Server(process, ours, time.monotonic())
