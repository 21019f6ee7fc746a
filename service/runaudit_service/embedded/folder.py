"""The service's data folder: one service at a time, its first key, and the credentials that clients find there."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from runaudit_service.embedded.private import write_private


class FolderInUseError(Exception):
    """Another service works in this data folder."""


class FolderUnusableError(Exception):
    """The data folder can't be made, or not written into."""


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Makes the folder, and keeps other services out of it for the time of the context.

    The kernel drops the lock with its holder, so that a killed service leaves none behind.

    Raises:
        FolderInUseError: one is at work there.
        FolderUnusableError: it is a file, say, or may not be written.
    """
    with _lock_file(data_dir) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise FolderInUseError(
                f"{data_dir} is in use by another `runaudit serve` (process {lock.read().strip() or 'unknown'}). "
                "Stop that one, or choose another --data-dir."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def logs_of(data_dir: Path) -> Path:
    """Where the parts write their logs."""
    return data_dir / "logs"


def _lock_file(data_dir: Path) -> TextIO:
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        logs_of(data_dir).mkdir(exist_ok=True)
        return (data_dir / "serve.lock").open("a+")
    except OSError as error:
        raise FolderUnusableError(
            f"--data-dir {data_dir} can't be used: {error.strerror}: {error.filename}. "
            "Name a folder that may be written, or a new one."
        ) from error


def kept_key(data_dir: Path) -> str | None:
    """The key that an earlier start wrote here."""
    try:
        return (data_dir / "key").read_text().strip()
    except FileNotFoundError:
        return None


def keep_key(data_dir: Path, key: str) -> None:
    """Keeps the first key: the database knows its hash only."""
    write_private(data_dir / "key", key + "\n")


def forget_credentials(data_dir: Path) -> None:
    """Removes the credentials, which promise a service that is ready."""
    (data_dir / "credentials.json").unlink(missing_ok=True)


def publish_credentials(data_dir: Path, url: str, key: str | None) -> Path:
    """Writes credentials.json, for the client commands; without a key where none is known here."""
    path = data_dir / "credentials.json"
    write_private(path, json.dumps({"url": url} if key is None else {"url": url, "key": key}) + "\n")
    return path
