"""HTTP of a connection, with an end to what may come in before and beside a body.

uvicorn takes headers of any size, for any time, from whoever connects, before the application hears of a request. What
is limited here no key protects: the time until a request's head is whole, the bytes that belong to no body (head,
chunk sizes and extensions, trailers), and the time that what follows an answer takes: uvicorn's own limit for idle
connections ends with the first byte, be it of a body that was answered unread, or a line end before a head. Limited,
too, is the time that an answer waits for a client that does not read it.
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
    """from the connection or the answer before, until a head is whole; and in which MOST_BYTES have to go either way of
    what is left of a body that was answered unread, or of an answer"""
    _waiting: asyncio.TimerHandle | None = None
    _received = 0
    _of_body = 0
    _of_body_then = 0
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        self._await_no_reader()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        self._await_no_reader()
        super().resume_writing()

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
        if self._waiting is not None:
            self._end_wait()
            self._await_head()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None and self._waiting is None:
            # Nothing else is to be answered.
            self._await_head()

    def _await_head(self) -> None:
        self._of_body_then = self._of_body
        self._waiting = self.loop.call_later(self.head_seconds, self._give_up)

    def _give_up(self) -> None:
        if self._of_body - self._of_body_then >= MOST_BYTES:
            # Of a body that was answered unread: whoever sends it hears of the answer at its end.
            self._await_head()
        else:
            self.transport.close()
            # What was answered may still wait for its reader.
            self._await_reader()

    def _await_reader(self) -> None:
        self._await_no_reader()
        left = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(self.head_seconds, self._give_reader_up, left)

    def _give_reader_up(self, left_then: int) -> None:
        if left_then - self.transport.get_write_buffer_size() >= MOST_BYTES:
            self._await_reader()
        else:
            self.transport.abort()

    def _await_no_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _end_wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def patient_protocol(head_seconds: float) -> type[PatientProtocol]:
    """The protocol that gives a head so long."""
    return type("PatientProtocol", (PatientProtocol,), {"head_seconds": head_seconds})
