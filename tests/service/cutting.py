"""A TCP proxy that cuts connections in the middle: the poor line between a client and a live API."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 1 << 16


@dataclass
class Line:
    """`url` leads to the API; `cut_after` holds how many bytes each connection may send, and no more once it is empty.

    `sent` is what went through so far.
    """

    url: str
    cut_after: list[int]
    sent: int = 0
    cuts: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def poor_line(target: str, *, cut_after: list[int]) -> Iterator[Line]:
    """A proxy to the API at `target`. Only connections that send more than they may are cut, and counted."""
    host, port = target.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    line = Line(f"http://127.0.0.1:{listener.getsockname()[1]}", cut_after)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            threading.Thread(target=pass_on, args=(server, client), daemon=True).start()
            through = 0
            with suppress(OSError):
                while data := client.recv(CHUNK_BYTES):
                    server.sendall(data)
                    through += len(data)
                    with line.lock:
                        line.sent += len(data)
                        if line.cut_after and through > line.cut_after[0]:
                            line.cut_after.pop(0)
                            line.cuts += 1
                            break
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def pass_on(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(CHUNK_BYTES):
                client.sendall(data)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield line
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
