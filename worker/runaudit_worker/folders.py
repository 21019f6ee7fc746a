"""Job folders: private, one an attempt, deleted at its end, and after a worker that could not do so."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK_SUFFIX = ".lock"


@contextmanager
def job_folder(root: Path, name: str) -> Iterator[Path]:
    """An empty folder `root`/`name` for the time of the context.

    A lock beside it is held as long as this process lives, which tells `remove_abandoned` that the folder is in use.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder, lock_path = root / name, root / (name + _LOCK_SUFFIX)
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            _remove(folder)
            lock_path.unlink(missing_ok=True)


def remove_abandoned(root: Path) -> int:
    """Deletes the folders of processes that are dead; returns how many."""
    removed = 0
    for lock_path in root.glob("*" + _LOCK_SUFFIX):
        with suppress(FileNotFoundError), lock_path.open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _remove(lock_path.with_suffix(""))
            lock_path.unlink(missing_ok=True)
            removed += 1
    return removed


def _remove(folder: Path) -> None:
    """Deletes a tree, also where an archive's own modes would forbid it."""
    for parent, folders, _ in os.walk(folder):
        for path in (Path(parent) / name for name in folders):
            with suppress(OSError):
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
