"""Job folders: private, one an attempt, deleted at its end, and after a worker that could not do so."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runaudit.isolation.trees import remove_tree

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
            remove_tree(folder)
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
            remove_tree(lock_path.with_suffix(""))
            lock_path.unlink(missing_ok=True)
            removed += 1
    return removed
