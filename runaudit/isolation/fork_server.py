"""The process that a worker's reading children are forked from: it has their modules loaded, and nothing else.

Loading them costs forty times the CPU time that reading the curves of a run does (0.35 s and 0.008 s, of which a run of
12 epochs is read). This process loads them once. It is started as a child is, without credentials or connections, reads
nothing that was handed in, and has one thread; each child is a copy of it as it was then, so that no child sees what
another one read, and raises the same walls before it looks at its input. What children of one server do share is where
their code lies in memory, which is why a server is replaced after a while (`forking.LIFETIME_SECONDS`).

Started as `python -I -m runaudit.isolation.fork_server CONTROL_FD PARENT`. Each datagram on the control socket is an
Order with three descriptors: the pipe for progress, the log, and the child's line. On its line goes the exit code, as
Popen has it, once the child has ended; when the other end of the line is closed, the child's whole session is killed.
The server ends with its last child after the control socket was closed, and so all of them end with the worker.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from runaudit.isolation import child, sandbox
from runaudit.isolation.folder import ChildName, JobFolder
from runaudit.isolation.fork_order import CODE, ORDER_BYTES, Order
from runaudit.runs.base import Facts

_PROGRESS: Final = 3
"""the child's descriptor for progress; beside it, a child has the three standard ones and no other"""

_LOADED: Final = (
    "runaudit.isolation.data_stage",
    "runaudit.isolation.ingest",
    "runaudit.isolation.verify_data",
    "runaudit.evaluation.image_verification",
    "runaudit.evaluation.labels",
    "runaudit.runs.archive",
    "runaudit.runs.checkpoint",
    "runaudit.runs.class_folders",
    "runaudit.runs.class_tree",
    "runaudit.runs.data_yaml",
    "runaudit.runs.dataset",
    "runaudit.runs.event_curves",
    "runaudit.runs.console_log",
    "runaudit.runs.label_arrays",
    "runaudit.runs.log_environment",
    "runaudit.runs.same_images",
)

Work = Callable[[ChildName, JobFolder, int], int]
"""stage, job folder and descriptor for progress; returns the exit code"""


@dataclass(frozen=True)
class _Forked:
    """A child, until its line is closed: only then its process id may go to another."""

    process_id: int
    pidfd: int
    line: socket.socket


class ForkServer:
    """Forks children until the control socket is closed and the last of them has ended."""

    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control = control
        self._work = work
        self._selector = selectors.DefaultSelector()
        self._children = 0

    def serve(self) -> None:
        """The loop of this process."""
        self._selector.register(self._control, selectors.EVENT_READ, self._take_order)
        while self._selector.get_map():
            for key, _ in self._selector.select():
                # What was done for another one of this look may have closed it, and its number may be a new child's.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()

    def _take_order(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self._control, ORDER_BYTES, 3)
        if not message:
            self._selector.unregister(self._control)
            return
        order = Order.model_validate_json(message)
        server = os.getpid()
        process_id = os.fork()
        if process_id == 0:
            _be_child(order, descriptors, server, self._work)
        progress, log, line = descriptors
        os.close(progress)
        os.close(log)
        child = _Forked(process_id, os.pidfd_open(process_id), socket.socket(fileno=line))
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._tell_end(child))
        self._selector.register(child.line, selectors.EVENT_READ, lambda: self._kill(child))

    def _tell_end(self, child: _Forked) -> None:
        """The child has ended. It stays a zombie, so that its id, and that of its session, remain its own."""
        self._selector.unregister(child.pidfd)
        ended = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOWAIT)
        if ended is None:
            raise RuntimeError("a child that ended has no exit code")
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        with suppress(OSError):
            child.line.send(CODE.pack(code))

    def _kill(self, child: _Forked) -> None:
        """The line was closed: whatever runs in the child's session is ended, and the child forgotten."""
        # It may not have come to make its session yet.
        os.kill(child.process_id, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(child.process_id, signal.SIGKILL)
        if child.pidfd in self._selector.get_map():
            self._tell_end(child)
        os.waitpid(child.process_id, 0)
        self._selector.unregister(child.line)
        child.line.close()
        os.close(child.pidfd)


def _be_child(order: Order, descriptors: list[int], server: int, work: Work) -> NoReturn:
    """What a child does, from the fork to its end."""
    code = 1
    try:
        sandbox.die_with_parent(server)
        os.setsid()
        progress, log, _ = descriptors
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(progress, _PROGRESS)
        # The server's sockets, and the lines of its other children.
        for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if descriptor > _PROGRESS:
                with suppress(OSError):
                    os.close(descriptor)
        os.environ.clear()
        os.environ.update(order.environment)
        folder = JobFolder(Path(order.folder))
        os.chdir(folder.home)
        code = work(order.stage, folder, _PROGRESS)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        # The child's last word, as in a process of its own.
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        # Not the server's clean-up, and not its loop.
        os._exit(code)


def _build(base: type[Facts]) -> None:
    """Build the models, which would else be built in each child that uses them."""
    for model in base.__subclasses__():
        model.model_rebuild()
        _build(model)


def run(arguments: list[str], work: Work) -> int:
    """Serve on the socket that the arguments name, with all that is loaded by now."""
    control, parent = (int(argument) for argument in arguments)
    sandbox.die_with_parent(parent)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        # A fork copies the one thread, and what locks the others hold for good.
        raise RuntimeError(f"the fork server has {threads} threads")
    # What is there now stays: collections in the children need not touch it, and so not copy it.
    gc.collect()
    gc.freeze()
    ForkServer(socket.socket(fileno=control), work).serve()
    return 0


def main() -> int:
    """Load what ingest and data children need, also what few of them do, and serve."""
    for name in _LOADED:
        importlib.import_module(name)
    _build(Facts)
    return run(sys.argv[1:], child.do_stage)


if __name__ == "__main__":
    sys.exit(main())
