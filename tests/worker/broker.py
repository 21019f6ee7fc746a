"""A broker of a test's own, that can be stopped, killed, frozen and started again on the same port."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from runaudit_service.embedded import valkey
from runaudit_service.embedded.part import stop
from tests.conftest import wait_until


class Broker:
    """A Valkey server that is down until it is started."""

    def __init__(self, folder: Path) -> None:
        self._server = valkey.prepare(folder)
        self._part = self._server.part(folder / "log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        self._process = self._part.start()
        wait_until(self._server.ready, what="the broker being ready")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            stop(self._process, self._part)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """The kernel still takes connections for it, but nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
