"""The blob store: artifacts as files named by their SHA-256, written once and shared by all who have the same bytes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from runaudit.errors import InputError
from runaudit_service.store.disk import StorageFullError, full_disk_told, require_room, sync_folder

__all__ = ["ArtifactTooLargeError", "Blob", "BlobStore", "BlobWriter", "StorageFullError"]

SHA256: Final = re.compile(r"[0-9a-f]{64}")
# Bytes gathered before they go to a thread for hashing and writing: large enough that the hand-over (about 0.1 ms)
# costs nothing beside it, small enough that an upload never holds more than two of these.
BUFFER_BYTES: Final = 1 << 20
# A file that is still being written is touched far more often than this.
ABANDONED_SECONDS: Final = 24 * 3600


class ArtifactTooLargeError(InputError):
    """An artifact over RUNAUDIT_MAX_UPLOAD_BYTES."""

    code = "artifact_too_large"
    status = 413
    title = "The artifact is too large"


@dataclass(frozen=True)
class Blob:
    """Bytes in the store: their SHA-256 (64 lower-case hexadecimal digits) and their number."""

    sha256: str
    bytes: int


class BlobStore:
    """Blobs below one local folder: `ab/abcd...` for finished ones, `incoming/` for those being written.

    `reserve_bytes` of its disk stay free: writers raise StorageFullError before they take them.
    """

    def __init__(self, root: Path, reserve_bytes: int = 0) -> None:
        self.root = root
        self.reserve_bytes = reserve_bytes
        self.incoming = root / "incoming"

    def path(self, sha256: str) -> Path:
        """Where the blob of this digest lies, or would lie. Raises ValueError if it is no SHA-256."""
        if SHA256.fullmatch(sha256) is None:
            raise ValueError("a SHA-256 has 64 lower-case hexadecimal digits")
        return self.root / sha256[:2] / sha256

    def holds(self, sha256: str) -> bool:
        """Whether the blob is here."""
        return self.path(sha256).is_file()

    def require_room(self, wanted_bytes: int) -> None:
        """Raises StorageFullError unless so many bytes find room beside the reserve."""
        require_room(self.root, self.reserve_bytes, wanted_bytes)

    def remove(self, sha256: str) -> bool:
        """Delete the blob; whether it was there. Only `removal` knows when that may be. Raises OSError."""
        try:
            self.path(sha256).unlink()
        except FileNotFoundError:
            return False
        return True

    def writer(self, max_bytes: int) -> BlobWriter:
        """A writer of one new blob of at most `max_bytes`."""
        return BlobWriter(self, max_bytes)

    def remove_abandoned(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Delete what writers that were killed left in `incoming/`; the number of files deleted."""
        if not self.incoming.is_dir():
            return 0
        limit = time.time() - older_than_seconds
        abandoned = [path for path in self.incoming.iterdir() if path.stat().st_mtime < limit]
        for path in abandoned:
            path.unlink(missing_ok=True)
        return len(abandoned)


class BlobWriter:
    """Takes one blob as it arrives, in constant memory, and puts it in its place when it is whole.

    An asynchronous context manager: what was not committed on the way out is deleted.
    """

    def __init__(self, store: BlobStore, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._path = store.incoming / uuid.uuid4().hex
        self._descriptor: int | None = None
        self._linked: str | None = None
        self.bytes = 0

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
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
        linked = await asyncio.to_thread(self._link, path)
        if linked:
            self._linked, self.bytes = blob.sha256, blob.bytes
        return linked

    async def digest(self) -> str:
        """The SHA-256 of what was written so far, hexadecimal."""
        if self._linked is not None:
            return self._linked
        await self._flush()
        return self._digest.hexdigest()

    async def seal(self) -> Blob:
        """Make the bytes durable, not in their place yet: what takes long of `commit`. Raises StorageFullError."""
        blob = Blob(await self.digest(), self.bytes)
        await asyncio.to_thread(self._sync)
        return blob

    async def commit(self) -> Blob:
        """Make the blob durable and put it in its place; the same bytes already there are replaced by themselves.

        Raises StorageFullError; the blob is then not there.
        """
        blob = Blob(await self.digest(), self.bytes)
        await asyncio.to_thread(self._place, blob)
        return blob

    async def _flush(self) -> None:
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            await asyncio.to_thread(self._append, data)

    def _open(self) -> None:
        with full_disk_told():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def _link(self, path: Path) -> bool:
        link = self._path.with_suffix(".link")
        try:
            link.hardlink_to(path)
        except OSError:
            return False
        link.replace(self._path)
        return True

    def _append(self, data: bytes) -> None:
        if self._descriptor is None:
            raise RuntimeError("written to after its end")
        self._digest.update(data)
        view = memoryview(data)
        require_room(self._path.parent, self._store.reserve_bytes, len(data))
        with full_disk_told():
            while view:
                view = view[os.write(self._descriptor, view) :]

    def _sync(self) -> None:
        if self._descriptor is None:
            raise RuntimeError("committed after its end")
        with full_disk_told():
            os.fsync(self._descriptor)

    def _place(self, blob: Blob) -> None:
        self._sync()
        target = self._store.path(blob.sha256)
        with full_disk_told():
            target.parent.mkdir(parents=True, exist_ok=True)
            self._path.replace(target)
            sync_folder(target.parent)

    def _discard(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._path.unlink(missing_ok=True)
