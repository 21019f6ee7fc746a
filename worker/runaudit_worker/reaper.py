"""`python -m runaudit_worker.reaper`: looks after what nobody else does.

It gives lost jobs to other workers, rings again where a bell was lost, and removes artifacts and uploads that nobody
needs.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from runaudit.errors import WorkerLostError
from runaudit_service.store import queue
from runaudit_service.store.bell import Bell
from runaudit_service.store.blobs import BlobStore, BlobStoreError, open_blobs
from runaudit_service.store.database import sync_engine
from runaudit_service.store.removal import remove_released, remove_untitled
from runaudit_service.store.retention import delete_expired
from runaudit_service.store.settings import settings
from runaudit_service.store.staging import Staging
from runaudit_service.store.upload_expiry import remove_abandoned_uploads
from runaudit_worker.logs import log_to_stderr
from runaudit_worker.metrics import count_expiries, show_metrics

_log = logging.getLogger(__name__)

ADVISORY_LOCK = 0x72756E6175646974
"""`runaudit` in ASCII: the lock by which one reaper of a database is active and the others stand by"""
LONGEST_PAUSE_SECONDS = 5.0
UNHEARD_SECONDS = 2.0
"""a job that waits longer than this with no bell in the broker had its bell lost (an idle worker takes 0.1 s)"""
LONGEST_BACK_OFF_SECONDS = 30.0
REMOVAL_SECONDS = 60.0
"""between two removals of artifacts: nobody waits for them"""
RETENTION_SECONDS = 1.0
"""that one pass spends on audits past their retention: lost jobs wait for the end of the pass"""
STRAY_SECONDS = 24 * 3600.0
"""age of files of an upload that no row names; a day is far longer than any request takes between the two"""
BELLS_AT_ONCE = 16
"""bells for one queue in one pass: enough to wake every idle worker of a flushed broker, bounded for a broken one"""


class Reaper:
    """One pass at a time over the queue of record and the artifacts."""

    def __init__(
        self, engine: Engine, bell: Bell, blobs: BlobStore, staging: Staging, artifact_grace_seconds: float
    ) -> None:
        self._engine = engine
        self._bell = bell
        self._blobs = blobs
        self._staging = staging
        self._grace = artifact_grace_seconds
        self._parts = itertools.cycle(f"{number:02x}" for number in range(256))
        self._removed_at = -math.inf

    def reap(self) -> queue.Settled:
        """Takes the jobs whose leases ran out from their workers."""
        problem = WorkerLostError(
            "The workers that held this audit were lost. Handing it in again may succeed."
        ).problem()
        settled = queue.reap(self._engine, problem)
        if settled != queue.Settled():
            _log.warning("took jobs from lost workers: %s", settled)
            count_expiries(settled)
        return settled

    def ring(self) -> int:
        """Rings for work that waits although no bell does; returns how many bells the broker took."""
        rung = 0
        for name, due in queue.due_counts(self._engine).items():
            if due.oldest_seconds > UNHEARD_SECONDS and not self._bell.waiting(name):
                for _ in range(min(due.jobs, BELLS_AT_ONCE)):
                    if not self._bell.ring(name):
                        break
                    rung += 1
        return rung

    def remove(self) -> int:
        """Removes artifacts that no audit needs any more and uploads that nobody came back to, once in REMOVAL_SECONDS;
        returns how many.

        Each time it also looks through another of the blob store's 256 parts for what no row names.
        """
        if time.monotonic() - self._removed_at < REMOVAL_SECONDS:
            return 0
        self._removed_at = time.monotonic()
        deleted = self._forget()
        try:
            deleted += remove_released(self._engine, self._blobs, grace_seconds=self._grace)
            deleted += remove_untitled(self._engine, self._blobs, next(self._parts), grace_seconds=self._grace)
            deleted += remove_abandoned_uploads(self._engine, self._staging, stray_seconds=STRAY_SECONDS)
        except (OSError, BlobStoreError) as error:
            _log.warning("an artifact can't be removed: %s", error.__cause__ or error)
        if deleted:
            _log.info("removed %d audits, artifacts and uploads that nobody needs", deleted)
        return deleted

    def _forget(self) -> int:
        """Deletes the audits that are past their projects' retention, a batch at a time, for so long as others wait."""
        forgotten, end = 0, time.monotonic() + RETENTION_SECONDS
        while time.monotonic() < end and (deleted := delete_expired(self._engine)):
            forgotten += deleted
        return forgotten


@contextmanager
def active(engine: Engine) -> Iterator[Connection | None]:
    """A connection that holds the reapers' lock, or None if another reaper has it. Losing it gives up the lock."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": ADVISORY_LOCK}).scalar_one():
            yield None
            return
        try:
            yield connection
        finally:
            # The pool would keep the session, and with it the lock.
            connection.invalidate()


def run(reaper: Reaper, engine: Engine, pause_seconds: float, stopping: threading.Event) -> None:
    """Reaps, rings and removes every `pause_seconds` until `stopping`, through outages of database and broker."""
    back_off = pause_seconds
    while not stopping.is_set():
        try:
            with active(engine) as lock:
                while lock is not None and not stopping.wait(pause_seconds):
                    lock.execute(text("SELECT 1"))
                    reaper.reap()
                    reaper.ring()
                    reaper.remove()
                    back_off = pause_seconds
            stopping.wait(pause_seconds)
        except DBAPIError as error:
            _log.warning("the database can't be reached, trying again in %.0f s: %s", back_off, error.orig)
            stopping.wait(back_off)
            back_off = min(back_off * 2, LONGEST_BACK_OFF_SECONDS)


def main() -> int:
    """Runs until SIGTERM or SIGINT."""
    configured = settings()
    parser = argparse.ArgumentParser(prog="python -m runaudit_worker.reaper", description="Looks after the queue.")
    parser.parse_args()
    if not configured.database_url or not configured.broker_url:
        parser.error("RUNAUDIT_DATABASE_URL and RUNAUDIT_BROKER_URL must be set; `runaudit serve` sets them itself")
    log_to_stderr()
    show_metrics(configured)
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    engine = sync_engine(configured.database_url, pool_size=2)
    bell = Bell(configured.broker_url)
    _log.info("reaper begins")
    blobs, staging = open_blobs(configured), Staging(configured.staging_dir)
    reaper = Reaper(engine, bell, blobs, staging, configured.artifact_grace_seconds)
    run(reaper, engine, min(LONGEST_PAUSE_SECONDS, configured.lease_seconds / 3), stopping)
    bell.close()
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
