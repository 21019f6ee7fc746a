"""The heartbeat: a thread that renews a claim's lease while the audit runs, writes progress, and hears of its end."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from types import TracebackType
from typing import Protocol, Self

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from runaudit_service.store import queue

_log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
"""how often progress that changed is written: people watch it, and each write is a row version"""
LONGEST_PAUSE_SECONDS = 5.0
"""how long a request to cancel may go unheard while no progress is made"""


class Progress(Protocol):
    """How far the work is: of an audit `runaudit.isolation.job.Progress`, of fetching `fetching.job.Fetched`."""

    @property
    def stage(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...


class Heartbeat:
    """Renews a lease every quarter of its length, and at least every LONGEST_PAUSE_SECONDS, while the context lasts.

    While the database is away the audit goes on: its fence, not its clock, decides whether the result may be stored.
    """

    def __init__(self, engine: Engine, claim: queue.Claim) -> None:
        self._engine = engine
        self._claim = claim
        self._pause = min(claim.lease_seconds / 4, LONGEST_PAUSE_SECONDS)
        self._progress: Progress | None = None
        self._written: Progress | None = None
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(
            # What it logs is of the same job.
            target=contextvars.copy_context().run,
            args=(self._run,),
            name=f"heartbeat {claim.job_id}",
            daemon=True,
        )

    @property
    def lost(self) -> bool:
        """The job belongs to someone else, or to no one any more."""
        return self._lost.is_set()

    @property
    def cancel_requested(self) -> bool:
        """Someone wants the audit cancelled."""
        return self._cancelled.is_set()

    def report(self, progress: Progress) -> None:
        """Takes note of progress; costs nothing. The thread writes it."""
        self._progress = progress

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        renewed = time.monotonic()
        while not self._ended.wait(min(PROGRESS_SECONDS, self._pause)) and not self.lost:
            if self._progress is not self._written or time.monotonic() - renewed >= self._pause:
                self._renew()
                renewed = time.monotonic()

    def _renew(self) -> None:
        progress = self._progress
        try:
            if progress is None:
                renewal = queue.renew(self._engine, self._claim)
            else:
                renewal = queue.renew(
                    self._engine, self._claim, stage=progress.stage, done=progress.done, total=progress.total
                )
        except DBAPIError as error:
            _log.warning("the lease of job %s could not be renewed: %s", self._claim.job_id, error.orig)
            return
        self._written = progress
        if renewal.lost:
            self._lost.set()
        if renewal.cancel_requested:
            self._cancelled.set()
