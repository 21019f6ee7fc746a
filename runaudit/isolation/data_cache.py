"""Data artifacts that were unpacked and read before, kept by digest for the audits that use the same data again.

ROOT/entries/KEY/tree/           what the archive holds, read-only
ROOT/entries/KEY/entry.json      Entry, written by the parent
ROOT/entries/KEY/readings/NAME/  what one reading of it yielded (`runaudit.isolation.data_stage`)
ROOT/making/KEY-*/               job folders of children that make one of these
ROOT/locks/KEY, KEY.making       locks; a shared one on KEY as long as an audit uses the entry

KEY is the artifact's digest and the version of all code that unpacks and reads, so that no older reader's facts are
taken for a newer one's. An entry is filled by a child that gets this one artifact and nothing else, neither the run
that it came with nor another entry to write to: what is hostile can spoil its own entry only. It is put into place by a
rename, after its bytes are on the disk, so that there is either the whole of it or nothing. Audits read it; the walls
of their children keep them from writing to it.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.metadata
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from runaudit.file_locks import locked
from runaudit.isolation.trees import remove_tree, take_stock
from runaudit.runs.base import Facts

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_READERS: Final = ("numpy", "opencv-python", "pillow", "safetensors")
"""libraries whose version may change what is read"""


class Entry(Facts):
    """What the parent saw of an entry when it took it in. `tree` is its absolute folder: the readings name it."""

    tree: str
    bytes: int
    yaml_names: frozenset[str]


@dataclass(frozen=True)
class Place:
    """Where an entry lies, or would lie."""

    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def note(self) -> Path:
        return self.folder / "entry.json"

    @property
    def readings(self) -> Path:
        return self.folder / "readings"

    def reading(self, name: str) -> Path:
        return self.readings / name

    def entry(self) -> Entry | None:
        """What is there; None if nothing is, or if it was made elsewhere and the folder moved."""
        try:
            entry = Entry.model_validate_json(self.note.read_bytes())
        except (OSError, ValidationError):
            return None
        return entry if entry.tree == str(self.tree) else None


@lru_cache
def reader_version() -> str:
    """A digest of the code that unpacks and reads data sets, and of the libraries that it reads with."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for file in sorted((*(package / "runs").glob("*.py"), *(package / "evaluation").glob("image*.py"))):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for library in _READERS:
        with suppress(importlib.metadata.PackageNotFoundError):
            digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
    return digest.hexdigest()[:16]


class DataCache:
    """The cache below `root`, of at most `limit_bytes` once no audit uses more. Several processes may share it.

    They have to be on one machine, or on a file system whose flock reaches all of them.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self._root = root.absolute()
        self._limit = limit_bytes

    @contextmanager
    def use(self, sha256: str) -> Iterator[Place]:
        """The place of an artifact's entry, which is not removed while the context lasts; there may be no entry yet.

        Afterwards the entries that were not used for longest are removed, as far as the limit asks for it.

        Raises ValueError if `sha256` is none.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256 digest")
        self._make_folders()
        key = f"{sha256}-{reader_version()}"
        place = Place(self._root / "entries" / key)
        if place.folder.exists() and place.entry() is None:
            self._remove(key)
        with locked(self._lock(key), fcntl.LOCK_SH) as lock:
            if lock is not None:
                os.utime(lock)
            yield place
        self.shrink()

    @contextmanager
    def making(self, place: Place, should_stop: Callable[[], bool]) -> Iterator[Path]:
        """An empty folder to make something for the entry in, once no other audit makes something for it.

        What another one has made meanwhile is there by then. Raises CancelledError if `should_stop` says so first.
        """
        key = place.folder.name
        with locked(self._lock(f"{key}.making"), fcntl.LOCK_EX, should_stop):
            self._clear(key)
            folder = self._root / "making" / f"{key}-{uuid.uuid4().hex}"
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                remove_tree(folder)

    def take_in(self, place: Place, made: Path) -> None:
        """Put what a child made into place: a whole entry (a tree and a reading), or a further reading of one.

        Raises ChildError `child_output_invalid` if it holds a link or a special file.
        """
        left = Place(made)
        take_stock(made)
        if left.tree.exists():
            tree = take_stock(left.tree)
            entry = Entry(tree=str(place.tree), bytes=tree.bytes, yaml_names=tree.yaml_names)
            left.note.write_text(entry.model_dump_json())
            source, target = made, place.folder
        else:
            source = next(left.readings.iterdir())
            target = place.reading(source.name)
        _sync(source)
        source.rename(target)
        _sync_folder(target.parent)
        self.shrink()

    def shrink(self, limit_bytes: int | None = None) -> None:
        """Remove the entries that were not used for longest until the rest is within the limit, but none in use."""
        sizes = {key: self._size(key) for key in self._keys()}
        excess = sum(sizes.values()) - (self._limit if limit_bytes is None else limit_bytes)
        for key in sorted(sizes, key=self._last_used):
            if excess <= 0:
                return
            if self._remove(key):
                excess -= sizes[key]

    def keep_only(self, wanted: Callable[[str], bool]) -> None:
        """Remove the entries, but none in use, of artifacts that are not `wanted` any more (by their digest)."""
        for key in self._keys():
            if not wanted(key.partition("-")[0]):
                self._remove(key)

    def tidy(self) -> None:
        """Make the folders, and remove what processes that were killed have left half made.

        Raises OSError if the folders can't be written: a worker had better say so when it starts.
        """
        self._make_folders()
        for folder in list((self._root / "making").glob("*")):
            key = folder.name.rpartition("-")[0]
            with locked(self._lock(f"{key}.making"), fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
                if lock is not None:
                    self._clear(key)

    def _make_folders(self) -> None:
        for folder in ("entries", "making", "locks"):
            (self._root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _keys(self) -> list[str]:
        entries = self._root / "entries"
        return [folder.name for folder in entries.iterdir()] if entries.exists() else []

    def _size(self, key: str) -> int:
        place = Place(self._root / "entries" / key)
        entry = place.entry()
        size = entry.bytes if entry is not None else 0
        for file in place.readings.glob("*/*"):
            with suppress(FileNotFoundError):
                size += file.stat().st_size
        return size

    def _last_used(self, key: str) -> float:
        try:
            return self._lock(key).stat().st_mtime
        except FileNotFoundError:
            return 0

    def _lock(self, name: str) -> Path:
        return self._root / "locks" / name

    def _remove(self, key: str) -> bool:
        """Remove an entry unless it is in use; says whether it did."""
        lock_path = self._lock(key)
        with locked(lock_path, fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
            if lock is None:
                return False
            # Out of sight in one step: no audit may meet half of it.
            doomed = self._root / "making" / f"{key}-{uuid.uuid4().hex}"
            with suppress(FileNotFoundError):
                (self._root / "entries" / key).rename(doomed)
            lock_path.unlink(missing_ok=True)
            # Who makes something for an entry uses it, so nobody does now.
            self._lock(f"{key}.making").unlink(missing_ok=True)
        remove_tree(doomed)
        return True

    def _clear(self, key: str) -> None:
        """Remove what a killed process left in the making; the caller has the lock."""
        for folder in (self._root / "making").glob(f"{key}-*"):
            remove_tree(folder)


def _sync(folder: Path) -> None:
    """Have all that was written to the folder's file system on the disk; one call, since there may be 100,000 files."""
    with _opened(folder) as descriptor:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:
            os.sync()
        elif syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))


def _sync_folder(folder: Path) -> None:
    with _opened(folder) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
