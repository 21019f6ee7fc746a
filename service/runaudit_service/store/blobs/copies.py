"""Copies of blobs that are kept elsewhere, on a worker's disk: within a limit, the least recently used go first.

ROOT/copies/SHA256        a whole copy, its digest checked
ROOT/making/SHA256-*      one that is being fetched
ROOT/locks/SHA256[.making]  locks; a shared one as long as somebody uses the copy

Several processes of one machine may share the folder.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runaudit.file_locks import locked
from runaudit_service.store.disk import full_disk_told, require_room


class Copies:
    """Copies below `root`, of at most `limit_bytes` while nobody uses more; `reserve_bytes` of its disk stay free."""

    def __init__(self, root: Path, limit_bytes: int, reserve_bytes: int = 0) -> None:
        self._root = root.absolute()
        self._limit = limit_bytes
        self._reserve = reserve_bytes

    @contextmanager
    def use(self, sha256: str, fetch: Callable[[Path], None], should_stop: Callable[[], bool]) -> Iterator[Path]:
        """The copy's file, which stays as long as the context lasts. `fetch` fills a new file if there is none yet.

        Two that want the same copy fetch it once. Raises what `fetch` raises, StorageFullError, and CancelledError if
        `should_stop` says so while another fetches.
        """
        for name in ("copies", "making", "locks"):
            (self._root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        copy = self._copy(sha256)
        with locked(self._lock(sha256), fcntl.LOCK_SH) as lock:
            if lock is not None:
                os.utime(lock)
            if not copy.is_file():
                with locked(self._lock(f"{sha256}.making"), fcntl.LOCK_EX, should_stop):
                    if not copy.is_file():
                        self._make(copy, fetch)
            yield copy.resolve()
        self.shrink()

    def make_room(self, wanted_bytes: int) -> None:
        """Remove what is used least until so many bytes more are within the limit and fit on the disk, if they can.

        Raises StorageFullError if they do not fit beside the reserve.
        """
        self.shrink(max(0, self._limit - wanted_bytes))
        require_room(self._root, self._reserve, wanted_bytes)

    def shrink(self, limit_bytes: int | None = None) -> None:
        """Remove the copies that were not used for longest until the rest is within the limit, but none in use."""
        sizes: dict[str, int] = {}
        for path in self._all():
            # Another process may remove one at this moment.
            with suppress(FileNotFoundError):
                sizes[path.name] = path.stat().st_size
        excess = sum(sizes.values()) - (self._limit if limit_bytes is None else limit_bytes)
        for sha256 in sorted(sizes, key=self._last_used):
            if excess <= 0:
                return
            if self._remove(sha256):
                excess -= sizes[sha256]

    def keep_only(self, wanted: Callable[[str], bool]) -> None:
        """Remove the copies, but none in use, that are not `wanted` any more (by their digest)."""
        for path in self._all():
            if not wanted(path.name):
                self._remove(path.name)

    def remove_half_made(self) -> int:
        """Remove what killed processes left while they fetched; how many files."""
        removed = 0
        for left in list((self._root / "making").glob("*")):
            lock_path = self._lock(f"{left.name.partition('-')[0]}.making")
            with locked(lock_path, fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
                if lock is not None:
                    left.unlink(missing_ok=True)
                    lock_path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _make(self, copy: Path, fetch: Callable[[Path], None]) -> None:
        making = self._root / "making"
        # What a killed process left: the lock says that nobody else fetches this one now.
        for left in making.glob(f"{copy.name}-*"):
            left.unlink(missing_ok=True)
        new = making / f"{copy.name}-{uuid.uuid4().hex}"
        try:
            fetch(new)
            with full_disk_told(), new.open("rb") as stream:
                os.fsync(stream.fileno())
            new.replace(copy)
        finally:
            new.unlink(missing_ok=True)

    def _remove(self, sha256: str) -> bool:
        """Remove a copy unless it is in use; whether it did."""
        lock_path = self._lock(sha256)
        with locked(lock_path, fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
            if lock is None:
                return False
            self._copy(sha256).unlink(missing_ok=True)
            lock_path.unlink(missing_ok=True)
            self._lock(f"{sha256}.making").unlink(missing_ok=True)
        return True

    def _all(self) -> list[Path]:
        copies = self._root / "copies"
        return list(copies.iterdir()) if copies.is_dir() else []

    def _last_used(self, sha256: str) -> float:
        with suppress(FileNotFoundError):
            return self._lock(sha256).stat().st_mtime
        return 0.0

    def _copy(self, sha256: str) -> Path:
        return self._root / "copies" / sha256

    def _lock(self, name: str) -> Path:
        return self._root / "locks" / name
