"""Writes an archive's files into an empty folder that nobody else writes to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from runaudit.errors import RunauditError
from runaudit.runs.archive_names import Names

_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FileWriter:
    """Creates files (0600) and folders (0700) below `target`, each once, and never through a link.

    Nothing but what this writer made lies below `target`, and it makes no links; O_EXCL and O_NOFOLLOW guard the rest.
    Owner, times, mode and extended attributes of the members are not taken over.
    """

    def __init__(self, target: Path) -> None:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise FileExistsError(errno.EEXIST, "the target folder is not empty", str(target))
        self._root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._names = Names()
        self.files = 0
        self.bytes = 0

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._root)

    def folder(self, components: tuple[str, ...]) -> None:
        """Makes a folder and its parents. Raises ArchiveError archive_duplicate or archive_conflict."""
        self._make(self._names.add_folder(components))

    def file(self, components: tuple[str, ...], chunks: Iterable[bytes]) -> None:
        """Writes one file from `chunks`. Raises ArchiveError as `folder` does, and disk_full if it does not fit."""
        self._make(self._names.add_file(components))
        try:
            descriptor = os.open("/".join(components), _FILE_FLAGS, 0o600, dir_fd=self._root)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for chunk in chunks:
                    self._write(file.fileno(), chunk)
        except OSError as error:
            raise _full_or_itself(error) from error
        self.files += 1

    def _write(self, descriptor: int, chunk: bytes) -> None:
        left = memoryview(chunk)
        while left:
            left = left[os.write(descriptor, left) :]
        self.bytes += len(chunk)

    def _make(self, folders: list[tuple[str, ...]]) -> None:
        try:
            for components in folders:
                os.mkdir("/".join(components), 0o700, dir_fd=self._root)
        except OSError as error:
            raise _full_or_itself(error) from error


def _full_or_itself(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RunauditError("There is no room left to unpack the archive.", code="disk_full")
    return error
