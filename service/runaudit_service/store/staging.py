"""Where the bytes of resumable uploads wait until all are there: a folder an upload, a file a request that wrote some.

The folder has to be on a file system that all API replicas share. The calls block; call them in a thread.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runaudit_service.store.disk import full_disk_told, require_room, sync_folder


@dataclass(frozen=True)
class Piece:
    """Durable bytes of an upload: `bytes` of them, from `start` on, written by the request `holder`."""

    start: int
    bytes: int
    holder: uuid.UUID


class Staging:
    """The folder of all uploads. `reserve_bytes` of its disk stay free."""

    def __init__(self, root: Path, reserve_bytes: int = 0) -> None:
        self.root = root
        self.reserve_bytes = reserve_bytes

    def folder(self, upload_id: uuid.UUID) -> Path:
        """Where the files of an upload lie."""
        return self.root / upload_id.hex

    def path(self, upload_id: uuid.UUID, start: int, holder: uuid.UUID) -> Path:
        """The file of the request `holder` that began at byte `start`."""
        return self.folder(upload_id) / f"{start:016x}-{holder.hex}"

    def require_room(self, wanted_bytes: int) -> None:
        """Raises StorageFullError unless so many bytes find room beside the reserve."""
        require_room(self.root, self.reserve_bytes, wanted_bytes)

    def writer(self, upload_id: uuid.UUID, start: int, holder: uuid.UUID) -> PieceWriter:
        """A writer of a new piece. Raises StorageFullError and OSError."""
        return PieceWriter(self.path(upload_id, start, holder), self.reserve_bytes)

    def read(self, upload_id: uuid.UUID, pieces: Iterable[Piece], chunk_bytes: int) -> Iterator[bytes]:
        """The bytes of the pieces, one after the other. Raises OSError, also for a file that is too short."""
        for piece in pieces:
            left = piece.bytes
            with self.path(upload_id, piece.start, piece.holder).open("rb") as stream:
                while left:
                    chunk = stream.read(min(chunk_bytes, left))
                    if not chunk:
                        raise OSError(f"{stream.name} lacks {left} bytes")
                    left -= len(chunk)
                    yield chunk

    def has(self, upload_id: uuid.UUID) -> bool:
        """Whether this host has what arrived of an upload."""
        return self.folder(upload_id).is_dir()

    def remove(self, upload_id: uuid.UUID) -> None:
        """Delete all of an upload. Raises OSError."""
        folder = self.folder(upload_id)
        if folder.is_dir():
            shutil.rmtree(folder)

    def older_than(self, seconds: float) -> list[uuid.UUID]:
        """The uploads whose folder was last changed longer ago, by folder: their rows may be gone."""
        if not self.root.is_dir():
            return []
        limit = time.time() - seconds
        return [uuid.UUID(hex=path.name) for path in self.root.iterdir() if _is_upload(path, limit)]

    def remove_untouched(self, seconds: float) -> int:
        """Delete uploads of which nothing was written for so long; how many.

        For a host whose disk the reaper does not share. `seconds` have to be more than an upload is kept by its row.
        """
        limit = time.time() - seconds
        untouched = [one for one in self.older_than(seconds) if _newest(self.folder(one)) < limit]
        for upload_id in untouched:
            self.remove(upload_id)
        return len(untouched)


def _is_upload(path: Path, limit: float) -> bool:
    try:
        return uuid.UUID(hex=path.name).hex == path.name and path.is_dir() and path.stat().st_mtime < limit
    except (ValueError, FileNotFoundError):
        return False


def _newest(folder: Path) -> float:
    return max((file.stat().st_mtime for file in folder.iterdir()), default=0.0)


class PieceWriter:
    """Takes the bytes of one request. `bytes` of them are written; `synced` of them survive a power cut."""

    def __init__(self, path: Path, reserve_bytes: int) -> None:
        self.path = path
        self.bytes = 0
        self.synced = 0
        self._reserve_bytes = reserve_bytes
        self._digest = hashlib.sha256()
        with full_disk_told():
            new = not path.parent.is_dir()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            if new:
                sync_folder(path.parent.parent)

    def write(self, data: bytes) -> None:
        """Append. Raises StorageFullError; `bytes` then counts what went before."""
        require_room(self.path.parent, self._reserve_bytes, len(data))
        view = memoryview(data)
        with full_disk_told():
            while view:
                view = view[os.write(self._descriptor, view) :]
        self._digest.update(data)
        self.bytes += len(data)

    def sync(self) -> int:
        """Make what was written survive a power cut; the number of bytes that do. Raises StorageFullError."""
        if self.synced < self.bytes:
            written = self.bytes
            with full_disk_told():
                os.fsync(self._descriptor)
                if self.synced == 0:
                    sync_folder(self.path.parent)
            self.synced = written
        return self.synced

    def digest(self) -> str:
        """The SHA-256 of what was written, hexadecimal."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file; one without a byte is deleted."""
        os.close(self._descriptor)
        if self.bytes == 0:
            self.path.unlink(missing_ok=True)
