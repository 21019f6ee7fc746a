"""What every blob store is, and the writer by which bytes come into any of them.

Bytes are gathered in a file of this host, the spool, and go to their place once they are whole: a blob is named by its
digest, which is known only then, and what is refused on the way (too large, another digest, an upload that breaks) has
never been where others look. A place on another host may be sent the same file again when it fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

from runaudit.errors import InputError, RunauditError
from runaudit_service.store.disk import full_disk_told, require_room

SHA256: Final = re.compile(r"[0-9a-f]{64}")
# Bytes gathered before they go to a thread for hashing and writing: large enough that the hand-over (about 0.1 ms)
# costs nothing beside it, small enough that an upload never holds more than two of these.
BUFFER_BYTES: Final = 1 << 20
HASHED_AT_ONCE: Final = 1 << 14
"""bytes that the event loop hashes by itself, in less time than handing them to a thread takes"""
NOTHING: Final = "0" * 64
"""a digest that no bytes have, as far as anyone knows"""
# A file that is still being written is touched far more often than this.
ABANDONED_SECONDS: Final = 24 * 3600


class ArtifactTooLargeError(InputError):
    """An artifact over RUNAUDIT_MAX_UPLOAD_BYTES."""

    code = "artifact_too_large"
    status = 413
    title = "The artifact is too large"


class BlobGoneError(InputError):
    """A blob that is named, and that the store does not have (any more)."""

    code = "artifact_missing"
    title = "The artifact is gone"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"The artifact {sha256} is no longer in the store. Hand it in again.")


class BlobStoreError(RunauditError):
    """The store is elsewhere, and can't be reached or refuses this service: the same may be done later.

    Its sentence names no host; the cause, which the log has, does.
    """

    code = "blob_store_unavailable"
    status = 503
    title = "The artifact store does not answer"


class BlobDamagedError(RunauditError):
    """The store has other bytes under a blob's name than those that were put there."""

    code = "artifact_damaged"
    title = "The artifact is damaged"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"The artifact {sha256} was damaged in the store. Hand it in again: that mends it.")


@dataclass(frozen=True)
class Blob:
    """Bytes in the store: their SHA-256 (64 lower-case hexadecimal digits) and their number."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Spooled:
    """Bytes on their way: a whole file of this host, open as `descriptor`, which is `blob`."""

    path: Path
    descriptor: int
    blob: Blob


class BlobStore(ABC):
    """Blobs by their digest. All methods may block, and may be called from several threads.

    `spool` is the folder of blobs that are being written; `reserve_bytes` of its disk stay free: writers raise
    StorageFullError before they take them.
    """

    look_again_seconds: ClassVar[float] = 0.0
    """how long whoever looks for many blobs time and again had better wait in between"""
    has_what_is_secured: ClassVar[bool] = False
    """whether a blob that was secured, and never placed, is here all the same: for `removal` to remove"""

    def __init__(self, spool: Path, reserve_bytes: int = 0) -> None:
        self.spool = spool
        self.reserve_bytes = reserve_bytes
        self.executor: Executor | None = None
        """where a server's event loop has to do what waits for the store; None: in its usual threads"""

    @abstractmethod
    def size(self, sha256: str) -> int | None:
        """The blob's bytes; None if it is not here. Raises ValueError if it is no SHA-256, and BlobStoreError."""

    @abstractmethod
    def remove(self, sha256: str) -> bool:
        """Delete the blob; whether it was there. Only `removal` knows when that may be.

        Raises OSError and BlobStoreError.
        """

    @abstractmethod
    def older_than(self, prefix: str, seconds: float) -> list[str]:
        """The digests that begin with two hexadecimal digits `prefix`, of blobs put here longer than `seconds` ago.

        Raises OSError and BlobStoreError.
        """

    @abstractmethod
    def opened(self, sha256: str, should_stop: Callable[[], bool]) -> AbstractContextManager[Path]:
        """The blob as a file of this host, absolute and without links, to be read only, as long as the context lasts.

        Raises BlobGoneError, BlobDamagedError, BlobStoreError, StorageFullError, and CancelledError as soon as
        `should_stop` says so.
        """

    @abstractmethod
    def keep_copies_only(self) -> None:
        """Delete this host's copies of blobs that are no longer in the store. Raises OSError and BlobStoreError."""

    @abstractmethod
    def secure(self, spooled: Spooled) -> None:
        """Have the bytes outlive this process, the writer and a power cut: what takes long of `place`.

        Raises StorageFullError and BlobStoreError.
        """

    @abstractmethod
    def place(self, spooled: Spooled) -> None:
        """Have the blob here, whatever was removed since it was secured; the same bytes may be here already.

        Raises StorageFullError and BlobStoreError; the blob is then not here.
        """

    def require_answer(self) -> None:
        """Ask before what would be in vain, or would keep others waiting: raises BlobStoreError."""
        self.size(NOTHING)

    async def reached(self) -> None:
        """`require_answer`, for an event loop."""
        await asyncio.get_running_loop().run_in_executor(self.executor, self.require_answer)

    @abstractmethod
    def check(self) -> None:
        """Try all that the service will do with the store. Raises OSError and BlobStoreError."""

    def holds(self, sha256: str) -> bool:
        """Whether the blob is here; errors as of `size`."""
        return self.size(sha256) is not None

    async def look(self, sha256: str) -> bool:
        """`holds`, for an event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, self.holds, sha256)

    def require_room(self, wanted_bytes: int) -> None:
        """Raises StorageFullError unless so many bytes find room beside the reserve."""
        require_room(self.spool, self.reserve_bytes, wanted_bytes)

    def writer(self, max_bytes: int) -> BlobWriter:
        """A writer of one new blob of at most `max_bytes`."""
        return BlobWriter(self, max_bytes)

    def remove_abandoned(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Delete what processes that were killed left half written on this host; the number of files deleted.

        Raises OSError.
        """
        if not self.spool.is_dir():
            return 0
        limit, removed = time.time() - older_than_seconds, 0
        for path in self.spool.iterdir():
            # Others may be whole meanwhile, and gone to their place.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    path.unlink()
                    removed += 1
        return removed


class BlobWriter:
    """Takes one blob as it arrives, in constant memory, and puts it in its place when it is whole.

    An asynchronous context manager: what was not committed on the way out is deleted.
    """

    def __init__(self, store: BlobStore, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._path = store.spool / uuid.uuid4().hex
        self._descriptor: int | None = None
        self._linked: str | None = None
        self._begun = False
        self._ended = False
        self.bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        if self._begun:
            # Shielded: a client that hangs up cancels the request, and its half artifact must still go.
            await asyncio.shield(asyncio.to_thread(self._discard))

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises ArtifactTooLargeError and StorageFullError."""
        self.bytes += len(data)
        if self.bytes > self._max_bytes:
            raise ArtifactTooLargeError(
                f"An artifact may have {self._max_bytes} bytes at most (RUNAUDIT_MAX_UPLOAD_BYTES); this one has more."
            )
        self._buffer += data
        if len(self._buffer) >= BUFFER_BYTES:
            await self._flush()

    async def link(self, path: Path, blob: Blob) -> bool:
        """Take the durable file `path`, which is known to be `blob`, instead of any bytes; it keeps its old name too.

        False if the file system can't give a file two names, or `path` is on another one: then write its bytes.
        """
        self._begun = True
        linked = await asyncio.to_thread(self._link, path)
        if linked:
            self._linked, self.bytes = blob.sha256, blob.bytes
        return linked

    async def digest(self) -> str:
        """The SHA-256 of what was written so far, hexadecimal."""
        if self._linked is not None:
            return self._linked
        if len(self._buffer) > HASHED_AT_ONCE:
            await self._flush()
        digest = self._digest.copy()
        digest.update(self._buffer)
        return digest.hexdigest()

    async def blob(self) -> Blob:
        """What was written so far, which nobody else has seen yet."""
        return Blob(await self.digest(), self.bytes)

    async def seal(self) -> Blob:
        """Make the bytes durable, not in their place yet: what takes long of `commit`.

        Raises StorageFullError and BlobStoreError.
        """
        return await self._with_all(self._store.secure)

    async def commit(self) -> Blob:
        """Make the blob durable and put it in its place; the same bytes already there are replaced by themselves.

        Raises StorageFullError and BlobStoreError; the blob is then not there.
        """

        def place_and_let_go(spooled: Spooled) -> None:
            self._store.place(spooled)
            self._discard()

        blob = await self._with_all(place_and_let_go)
        self._begun, self._ended = False, True
        return blob

    async def _with_all(self, done: Callable[[Spooled], None]) -> Blob:
        """Do this with the file of all that was written; what is still in the buffer is written by the same thread."""
        if self._ended:
            raise RuntimeError("committed after its end")
        blob = await self.blob()
        data, self._buffer, self._begun = bytes(self._buffer), bytearray(), True

        def append_and_do() -> None:
            done(Spooled(self._path, self._append(data), blob))

        await asyncio.get_running_loop().run_in_executor(self._store.executor, append_and_do)
        return blob

    async def _flush(self) -> None:
        if self._ended:
            raise RuntimeError("written to after its end")
        if self._buffer:
            data, self._buffer, self._begun = bytes(self._buffer), bytearray(), True
            await asyncio.to_thread(self._append, data)

    def _open(self) -> int:
        """The descriptor of the file, which is made for the first bytes."""
        if self._descriptor is None:
            with full_disk_told():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        return self._descriptor

    def _link(self, path: Path) -> bool:
        self._open()
        link = self._path.with_suffix(".link")
        try:
            link.hardlink_to(path)
        except OSError:
            return False
        link.replace(self._path)
        return True

    def _append(self, data: bytes) -> int:
        """Write the next bytes; the descriptor of the file."""
        descriptor = self._open()
        if data:
            self._digest.update(data)
            view = memoryview(data)
            require_room(self._path.parent, self._store.reserve_bytes, len(data))
            with full_disk_told():
                while view:
                    view = view[os.write(descriptor, view) :]
        return descriptor

    def _discard(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._path.unlink(missing_ok=True)


def require_digest(sha256: str) -> None:
    """Raises ValueError unless it is a SHA-256: digests become names of files and objects."""
    if SHA256.fullmatch(sha256) is None:
        raise ValueError("a SHA-256 has 64 lower-case hexadecimal digits")
