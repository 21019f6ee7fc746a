"""What every fetcher is: something that brings the bytes of one source into a sink."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

from runaudit_service.store.blobs import ArtifactTooLargeError, Blob, BlobStore

_Source_contra = TypeVar("_Source_contra", contravariant=True)


@dataclass(frozen=True)
class Terms:
    """What fetching one artifact may cost, and whether it is still wanted."""

    end: float
    """on the monotonic clock"""
    max_bytes: int
    should_stop: Callable[[], bool]

    @property
    def seconds(self) -> float:
        """What is left of the time; negative when it is over."""
        return self.end - time.monotonic()


class Sink(Protocol):
    """Where the bytes go, in order."""

    def expect(self, total: int) -> None:
        """How many bytes will come, as far as is known. Raises ArtifactTooLargeError."""

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises ArtifactTooLargeError and StorageFullError."""


class Fetcher(Protocol[_Source_contra]):
    """Fetches one kind of source."""

    def fetch(self, source: _Source_contra, sink: Sink, terms: Terms) -> None:
        """Bring all bytes of `source` into `sink`.

        Raises:
            UrlNotAllowedError: a URL on the way is none.
            EgressError: as the guarded transport has it; also `answer_refused`, `redirect_not_allowed`,
                `too_many_redirects` (refused), and `answer_failed` (may pass).
            ArtifactTooLargeError, StorageFullError: from the sink.
            CancelledError: `terms.should_stop` said so.
        """


class BlobSink:
    """A sink that is a new blob of the store, with `report` told how far it is. A context manager.

    The store's writer is asynchronous. A thread that fetches drives it by a loop of its own, which costs about 0.1 ms
    a megabyte: its bytes go to the disk a megabyte at a time.
    """

    def __init__(self, store: BlobStore, max_bytes: int, report: Callable[[int, int], None]) -> None:
        self._writer = store.writer(max_bytes)
        self._max_bytes = max_bytes
        self._report = report
        self._total = 0
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._runner.run(self._writer.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._writer.__aexit__(kind, error, trace))
        finally:
            self._runner.__exit__(kind, error, trace)

    def expect(self, total: int) -> None:
        if total > self._max_bytes:
            raise ArtifactTooLargeError(
                f"An artifact may have {self._max_bytes} bytes at most (RUNAUDIT_MAX_UPLOAD_BYTES); "
                f"this one has {total}."
            )
        self._total = total

    def write(self, data: bytes) -> None:
        self._runner.run(self._writer.write(data))
        self._report(self._writer.bytes, max(self._total, self._writer.bytes))

    def blob(self) -> Blob:
        """What was written so far."""
        return self._runner.run(self._writer.blob())

    def seal(self) -> Blob:
        """Make the bytes durable, not in their place yet. Raises StorageFullError and BlobStoreError."""
        return self._runner.run(self._writer.seal())

    def place(self) -> Blob:
        """Put the blob in its place. Raises StorageFullError and BlobStoreError."""
        return self._runner.run(self._writer.commit())
