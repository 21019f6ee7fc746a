"""Blobs in a folder: of this host, or of a file system that all hosts share."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runaudit_service.store.blobs.base import SHA256, BlobGoneError, BlobStore, Spooled, require_digest
from runaudit_service.store.disk import full_disk_told, sync_folder


class FolderBlobs(BlobStore):
    """Blobs below `root`: `ab/abcd...` for finished ones, `incoming/` for those being written."""

    def __init__(self, root: Path, reserve_bytes: int = 0) -> None:
        super().__init__(root / "incoming", reserve_bytes)
        self.root = root

    def path(self, sha256: str) -> Path:
        """Where the blob of this digest lies, or would lie. Raises ValueError if it is no SHA-256."""
        require_digest(sha256)
        return self.root / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        path = self.path(sha256)
        return path.stat().st_size if path.is_file() else None

    async def look(self, sha256: str) -> bool:
        # In the loop itself: a stat takes less than handing it to a thread.
        return self.holds(sha256)

    async def reached(self) -> None:
        """It always is."""

    def remove(self, sha256: str) -> bool:
        try:
            self.path(sha256).unlink()
        except FileNotFoundError:
            return False
        return True

    def older_than(self, prefix: str, seconds: float) -> list[str]:
        limit = time.time() - seconds
        folder = self.root / prefix
        found = [path for path in folder.iterdir() if SHA256.fullmatch(path.name)] if folder.is_dir() else []
        return [path.name for path in found if path.stat().st_mtime <= limit]

    @contextmanager
    def opened(self, sha256: str, should_stop: Callable[[], bool]) -> Iterator[Path]:
        path = self.path(sha256).resolve()
        if not path.is_file():
            raise BlobGoneError(sha256)
        yield path

    def keep_copies_only(self) -> None:
        """There are none."""

    def secure(self, spooled: Spooled) -> None:
        with full_disk_told():
            os.fsync(spooled.descriptor)

    def place(self, spooled: Spooled) -> None:
        self.secure(spooled)
        target = self.path(spooled.blob.sha256)
        with full_disk_told():
            try:
                spooled.path.replace(target)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                # The folder itself is new in its own.
                sync_folder(self.root)
                spooled.path.replace(target)
            sync_folder(target.parent)

    def check(self) -> None:
        """Whether it may be written, without making it: a folder that is not there yet is made by the first blob."""
        nearest = next(folder for folder in (self.spool, *self.spool.parents) if folder.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "can't be written", str(nearest))
