"""Servers of the outside for tests: real sockets, real TLS, and answers as honest or as hostile as wanted."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme

Connection = ssl.SSLSocket | socket.socket
Answerer = Callable[[Connection, str], None]
"""is given a connection and the head of the request that came in"""


@dataclass
class Outside:
    """A server on 127.0.0.1 and what it was asked: the heads of its requests."""

    port: int
    scheme: str
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    def url(self, target: str = "/", host: str = "localhost") -> str:
        return f"{self.scheme}://{host}:{self.port}{target}"

    @property
    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [head.split(" ")[1] for head in self.heads]


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own, as a file, and a server's side of TLS with a certificate of it."""

    pem: Path
    tls: ssl.SSLContext

    @classmethod
    def make(cls, folder: Path, *names: str) -> Authority:
        """The server's certificate is good for `names`."""
        authority = trustme.CA()
        pem = folder / "authority.pem"
        authority.cert_pem.write_to_path(pem)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(tls)
        return cls(pem, tls)


@contextmanager
def outside(answer: Answerer, tls: ssl.SSLContext | None = None) -> Iterator[Outside]:
    """Serve until the context ends; each connection has one request and a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Outside(listener.getsockname()[1], "https" if tls else "http")
    open_ones: list[socket.socket] = []

    def serve(plain: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            connection = tls.wrap_socket(plain, server_side=True) if tls else plain
            open_ones.append(connection)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    received = connection.recv(65536)
                    if not received:
                        return
                    head += received
                head, _, body = head.partition(b"\r\n\r\n")
                server.heads.append(head.decode("latin-1"))
                length = re.search(r"content-length: (\d+)", server.heads[-1].lower())
                # What is left unread when a connection is closed resets it.
                while length is not None and len(body) < int(length[1]):
                    body += connection.recv(65536)
                answer(connection, server.heads[-1])

    def accept() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                server.connections += 1
                open_ones.append(plain)
                threading.Thread(target=serve, args=(plain,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_ones:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def reply(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answerer:
    """Always this answer, with its true length unless `headers` say another."""
    given = {"Content-Length": str(len(body))} | dict(headers or {})
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in given.items() if value)]
    wire = "\r\n".join([*lines, "", ""]).encode() + body
    return lambda connection, _head: connection.sendall(wire)


def redirect(location: str, status: int = 302) -> Answerer:
    """Somewhere else."""
    return reply(status, headers={"Location": location})


def chosen(answers: Mapping[str, Answerer]) -> Answerer:
    """An answer by the path that is asked for; 404 for others."""

    def answer(connection: Connection, head: str) -> None:
        path = head.split(" ")[1].partition("?")[0]
        answers.get(path, reply(404))(connection, head)

    return answer


def in_turn(*answers: Answerer) -> Answerer:
    """One answer after the other; the last one for ever."""
    left = list(answers)

    def answer(connection: Connection, head: str) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection, head)

    return answer
