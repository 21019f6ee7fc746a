"""Room on the disk: how much there is, how much has to stay free, and the error of a disk that is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from runaudit.errors import RunauditError

# What a full disk, a used-up quota and a file system's or process' largest file answer.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StorageFullError(RunauditError):
    """The disk can't take more; what was being written is not kept."""

    code = "storage_full"
    status = 507
    title = "The artifact store is full"


def free_bytes(folder: Path) -> int:
    """What may still be written below `folder`, which need not be there yet, without the part kept for root."""
    while True:
        try:
            system = os.statvfs(folder)
        except FileNotFoundError:
            folder = folder.parent
        else:
            return system.f_bavail * system.f_frsize


def require_room(folder: Path, reserve_bytes: int, wanted_bytes: int = 0) -> None:
    """Raises StorageFullError unless `reserve_bytes` stay free once `wanted_bytes` more are written below `folder`."""
    if free_bytes(folder) < reserve_bytes + wanted_bytes:
        raise StorageFullError(
            "There is no room for this artifact beside what has to stay free (RUNAUDIT_DISK_RESERVE_BYTES). "
            "Free space, or try again later."
        )


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Turn the operating system's words for a full disk into ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFullError("There is no room for this artifact. Free space, or try again later.") from error


def sync_folder(folder: Path) -> None:
    """Make a new or renamed file of this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
