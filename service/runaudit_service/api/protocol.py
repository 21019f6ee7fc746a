"""HTTP of a connection, with an end to what may come in before and beside a body.

uvicorn takes headers of any size, for any time, from whoever connects, before the application hears of a request. What
is limited here no key protects: the time until a request's head is whole, and the bytes that belong to no body (head,
chunk sizes and extensions, trailers).
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES: Final = 64 * 1024
"""of a request beside its body; what proxies let through is 8 to 32 KiB"""
BYTES_PER_BODY_BYTE: Final = 16
"""how much more there may be for each byte of the body: one sent byte by byte in chunks has 5 and more"""
TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes connections that send too much or nothing whole."""

    head_seconds = 30.0
    """from the first byte of a head, or from the connection on, until it is whole"""
    _waiting: asyncio.TimerHandle | None = None
    _received = 0
    _of_body = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if self._received - self._of_body > MOST_BYTES + BYTES_PER_BODY_BYTE * self._of_body:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._waiting is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._end_wait()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._of_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._received = self._of_body = 0
        super().on_message_complete()

    def _await_head(self) -> None:
        self._waiting = self.loop.call_later(self.head_seconds, self.transport.close)

    def _end_wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def patient_protocol(head_seconds: float) -> type[PatientProtocol]:
    """The protocol that gives a head so long."""
    return type("PatientProtocol", (PatientProtocol,), {"head_seconds": head_seconds})
