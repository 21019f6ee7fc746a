"""Sends an artifact by pieces: when the connection breaks, it goes on where the service has all bytes before."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import IO, Final

import httpx

from runaudit.client.errors import ProblemError, ServiceUnreachableError
from runaudit.client.models import read_object
from runaudit.client.retry import problem_code, retry_after
from runaudit.client.transport import Transport, problem_of

CHUNK_BYTES: Final = 1 << 20
BUSY: Final = "upload_busy"
BUSY_SECONDS: Final = 120.0
"""how long another request may be writing: the service cuts one that fell silent after 30 s, by default"""
BUSY_PAUSE_SECONDS: Final = 2.0
RESUMED: Final = frozenset({408, 409, 429, 500, 502, 503, 504})
"""answers to bytes that the next try may not get: what has arrived is asked for, and sending goes on there"""


def has_artifact(transport: Transport, sha256: str) -> bool:
    """Whether the service has this artifact already, and will have it in a moment too."""
    return transport.head(f"/v1/artifacts/{sha256}") is not None


def digest_of(stream: IO[bytes]) -> str:
    """The SHA-256 of a file from its start, hexadecimal."""
    stream.seek(0)
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def send_resumable(transport: Transport, stream: IO[bytes], length: int, sha256: str) -> str:
    """Send a file of `length` bytes; the id of the upload, which is complete then.

    Tries count anew whenever bytes arrived since the last one, so that a poor connection needs time, not luck. Raises
    ProblemError and ServiceUnreachableError as all calls do.
    """
    # Asked for twice, it is begun twice, and one of them is deleted by the service after a while.
    answer = transport.post("/v1/uploads", json={"length": length, "sha256": sha256}, repeatable=True)
    upload_id = str(read_object(answer.content)["id"])
    _Upload(transport, stream, length, f"/v1/uploads/{upload_id}").send()
    return upload_id


class _Upload:
    def __init__(self, transport: Transport, stream: IO[bytes], length: int, path: str) -> None:
        self._transport = transport
        self._stream = stream
        self._length = length
        self._path = path
        self._offset = 0
        self._complete = False

    def send(self) -> None:
        attempt = 0
        busy_until = time.monotonic() + BUSY_SECONDS
        while not self._complete:
            before = self._offset
            response, failure = self._patch()
            if response is not None and response.status_code < 300:
                self._read_state(response)
                continue
            if response is not None and response.status_code not in RESUMED:
                raise problem_of(response)
            busy = response is not None and problem_code(response) == BUSY
            pause = self._pause(attempt + 1, response, busy=busy and time.monotonic() < busy_until)
            if pause is None:
                if response is not None:
                    raise problem_of(response)
                raise ServiceUnreachableError(
                    f"the connection broke {attempt + 1} times in a row: {failure}"
                ) from failure
            time.sleep(pause)
            self._ask()
            if self._offset > before:
                attempt, busy_until = 0, time.monotonic() + BUSY_SECONDS
            elif not busy:
                attempt += 1

    def _pause(self, attempt: int, response: httpx.Response | None, *, busy: bool) -> float | None:
        """Seconds until the next try; None to give up."""
        if busy:
            return BUSY_PAUSE_SECONDS
        delay = self._transport.retry.delay(attempt, None)
        asked = retry_after(response) if response is not None else None
        return delay if delay is None or asked is None else max(delay, min(asked, self._transport.retry.longest_asked))

    def _patch(self) -> tuple[httpx.Response | None, httpx.TransportError | None]:
        headers = {
            "Upload-Offset": str(self._offset),
            "Content-Length": str(self._length - self._offset),
            "Content-Type": "application/octet-stream",
        }
        return self._transport.attempt("PATCH", self._path, headers=headers, content=self._rest())

    def _rest(self) -> Iterator[bytes]:
        left = self._length - self._offset
        self._stream.seek(self._offset)
        while left and (chunk := self._stream.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk

    def _ask(self) -> None:
        """How far the upload has come. Raises ProblemError if it is gone."""
        response = self._transport.head(self._path)
        if response is None:
            detail = "The service has deleted this upload: its time was over, or its bytes were not those announced."
            raise ProblemError({"code": "upload_not_found", "detail": detail, "status": 404}, 404)
        self._read_state(response)

    def _read_state(self, response: httpx.Response) -> None:
        try:
            self._offset = int(response.headers["Upload-Offset"])
        except (KeyError, ValueError):
            raise ProblemError({"detail": "the answer says nothing of the upload's offset"}, 502) from None
        self._complete = response.headers.get("Upload-Complete") == "?1"
