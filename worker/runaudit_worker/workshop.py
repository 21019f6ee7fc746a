"""The workshop: takes one job of the queue of record, does it, and stores how it ended."""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from runaudit.errors import CancelledError, ChildMemoryError, ChildTimeoutError, InputError, RunauditError
from runaudit.isolation import process
from runaudit.isolation.audit import run_audit
from runaudit.isolation.data_cache import DataCache
from runaudit.isolation.process import StartChild
from runaudit.reports.schema import Report
from runaudit_service.store import fetched, log_context, queue
from runaudit_service.store.bell import Bell
from runaudit_service.store.blobs import BlobStoreError, open_blobs
from runaudit_service.store.settings import Settings
from runaudit_service.store.tracing import tracing
from runaudit_worker.fetching import job as fetching
from runaudit_worker.folders import job_folder, remove_abandoned
from runaudit_worker.guarded import EgressFailedError
from runaudit_worker.heartbeat import Heartbeat
from runaudit_worker.metrics import ATTEMPTS
from runaudit_worker.specification import job_spec
from runaudit_worker.stages import StageClock

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

FIRST_RETRY_SECONDS = 1.0
"""pause before the second attempt; each further one doubles it. What crashed by chance need not wait long."""
MEMORY_RETRY_SECONDS = 60.0
"""pause after memory ran out, for what shares it to come to its end"""
FORGET_SECONDS = 60.0
"""how long a busy worker may keep what it made of artifacts that were deleted; an idle one doesn't"""
BLOB_STORE_PAUSE_SECONDS = 15.0
"""pause before an audit is tried again whose artifacts could not be had: an object store that restarts takes seconds,
and one question in so long costs it nothing"""
STORE_SECONDS = 600.0
"""how long the end of an audit is kept for a database that is away; past that, the lease has it done again"""
_STORE_PAUSES = (0.2, 5.0)
"""first and longest pause between tries to store, in seconds"""


class Workshop:
    """What one worker process does; its methods may be called from several threads."""

    def __init__(
        self, engine: Engine, bell: Bell, settings: Settings, start_child: StartChild = process.start_child
    ) -> None:
        self._start_child = start_child
        self._engine = engine
        self._bell = bell
        self._settings = settings
        limit = settings.data_cache_bytes
        self._data_cache = DataCache(settings.cache_dir, limit) if limit else None
        self._blobs = open_blobs(settings)
        self._fetching = fetching.Fetching(engine, self._blobs, settings)
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._forgotten_at = time.monotonic()
        # Plain flags, not Events: a signal handler sets them, and may interrupt code that holds an Event's lock.
        self.closing = False
        """no more jobs are begun"""
        self.stopping = False

    def tidy(self) -> None:
        """Deletes what workers that were killed left in the job folder, half made in the data cache or half fetched."""
        # In a container without the right to write artifacts, what is left of some is for others to delete.
        with suppress(OSError):
            self._blobs.remove_abandoned()
        if self._data_cache is not None:
            self._data_cache.tidy()
        self._forget_deleted_data()
        removed = remove_abandoned(self._settings.job_dir)
        if removed:
            _log.info("deleted %d job folders of workers that are gone", removed)

    def _forget_deleted_data(self) -> None:
        """Removes copies of artifacts that have been deleted meanwhile, and from the cache what was made of them."""
        if time.monotonic() - self._forgotten_at < self._blobs.look_again_seconds:
            return
        self._forgotten_at = time.monotonic()
        try:
            self._blobs.keep_copies_only()
            if self._data_cache is not None:
                self._data_cache.keep_only(self._blobs.holds)
        except (BlobStoreError, OSError) as error:
            _log.warning("copies of deleted artifacts stay for now: %s", error.__cause__ or error)

    def stop_now(self) -> None:
        """Has the audits that run ended and handed back."""
        self.closing = self.stopping = True

    def answer_bell(self, queue_name: str, others: Sequence[str] = ()) -> bool:
        """Does the due jobs of a queue, one after the other, until there is none or this worker closes; says whether
        there was one. Only the first needs the bell: between two audits nothing is waited for.

        The queues of `others`, which this worker serves too, have their turns between them.
        """
        turns = deque([queue_name, *others])
        done = self._work_off(turns)
        # What busy workers have done without hearing its bell need not be looked for again by each that is idle.
        while not self.closing and self._bell.silence(queue_name) and self._work_off(turns):
            done = True
        if done:
            self._forget_deleted_data()
        if done and self.closing:
            self._pass_the_bell_on(turns)
        return done

    def _work_off(self, turns: deque[str]) -> bool:
        """Does what is due, in turns; says whether anything was."""
        done = False
        while not self.closing and any(self._next(name) for name in self._in_turn(turns)):
            done = True
            if time.monotonic() - self._forgotten_at >= FORGET_SECONDS:
                self._forget_deleted_data()
        return done

    @staticmethod
    def _in_turn(turns: deque[str]) -> Iterator[str]:
        """Each queue once. One that is taken is the last from then on."""
        for _ in range(len(turns)):
            turns.rotate(-1)
            yield turns[-1]

    def _next(self, queue_name: str) -> bool:
        """Does the next due job of a queue, if there is one; says whether there was."""
        try:
            claim = queue.claim(self._engine, [queue_name], self._owner, self._settings.lease_seconds)
        except DBAPIError as error:
            _log.warning("the database can't be asked for work; the reaper rings again: %s", error.orig)
            return False
        if claim is None:
            return False
        with (
            log_context.noted(
                request_id=claim.request_id, tenant_id=claim.tenant_id, audit_id=claim.audit_id, job_id=claim.job_id
            ),
            tracing.span(claim.kind, parent=claim.traceparent),
        ):
            self._do(claim)
        return True

    def _do(self, claim: queue.Claim) -> None:
        _log.info("audit %s: attempt %d of %d begins", claim.audit_id, claim.attempt, claim.max_attempts)
        begun = time.monotonic()
        with Heartbeat(self._engine, claim) as heartbeat:
            end = self._attempt(claim, heartbeat)
            if heartbeat.lost:
                _log.warning("audit %s: the job was taken away, its result is dropped", claim.audit_id)
                return
            said = self._settle(claim, end)
        seconds = time.monotonic() - begun
        ATTEMPTS.labels(claim.kind, _how(end)).observe(seconds)
        _log.info("audit %s: %s", claim.audit_id, said, extra={"seconds": round(seconds, 3)})

    def _settle(self, claim: queue.Claim, end: Callable[[queue.Claim], str]) -> str:
        """Writes how the attempt ended; where the database refuses just that, it writes that it did."""
        try:
            return _until_stored(lambda: end(claim), seconds=STORE_SECONDS)
        except (OperationalError, InterfaceError):
            raise
        except DBAPIError:
            _log.exception("audit %s: how it ended can't be stored", claim.audit_id)
            fault = RunauditError("The database refused to store how the audit ended; the worker's log says why.")
            return _until_stored(
                lambda: self._retry(claim, fault.problem(), _doubled(claim.attempt)), seconds=STORE_SECONDS
            )

    def _attempt(self, claim: queue.Claim, heartbeat: Heartbeat) -> Callable[[queue.Claim], str]:
        """Does the job; returns what to write of it."""
        try:
            if claim.kind == "fetch":
                self._fetching.fetch_all(claim, heartbeat.report, self._should_stop(heartbeat))
                return self._queue_audit
            with job_folder(self._settings.job_dir, f"{claim.job_id}-{claim.fence}") as folder:
                report = self._run(claim, folder, heartbeat)
        except CancelledError:
            return self._cancel if heartbeat.cancel_requested else self._hand_back
        except RunauditError as error:
            return self._after(error, claim)
        except Exception:
            # Whatever else happens here is a fault of ours or of the machine; the audit must still come to an end.
            _log.exception("audit %s: the attempt failed", claim.audit_id)
            fault = RunauditError("The worker failed in a way that is not the input's fault; its log says how.")
            return partial(self._retry, problem=fault.problem(), pause=_doubled(claim.attempt))
        return partial(self._succeed, report=report)

    def _after(self, error: RunauditError, claim: queue.Claim) -> Callable[[queue.Claim], str]:
        """What to write of an attempt that ended with `error`."""
        if isinstance(error, BlobStoreError):
            # An outage may last, and is nobody's attempt.
            _log.warning("audit %s: %s", claim.audit_id, error.__cause__ or error)
            return partial(self._hand_back, pause=BLOB_STORE_PAUSE_SECONDS)
        pause = pause_before_retry(error, claim.attempt)
        if pause is None:
            return partial(self._fail, problem=error.problem())
        return partial(self._retry, problem=error.problem(), pause=pause)

    def _should_stop(self, heartbeat: Heartbeat) -> Callable[[], bool]:
        return lambda: heartbeat.lost or heartbeat.cancel_requested or self.stopping

    def _run(self, claim: queue.Claim, folder: Path, heartbeat: Heartbeat) -> Report:
        clock, should_stop = StageClock(heartbeat.report), self._should_stop(heartbeat)
        with ExitStack() as opened:
            opened.callback(clock.stop)
            spec = job_spec(
                claim, self._settings, lambda sha256: opened.enter_context(self._blobs.opened(sha256, should_stop))
            )
            return run_audit(
                spec,
                folder,
                on_progress=clock,
                should_stop=should_stop,
                start=self._start_child,
                data_cache=self._data_cache,
            )

    def _succeed(self, claim: queue.Claim, report: Report) -> str:
        result = queue.Result(
            verdict=report.verdict,
            headline=report.headline,
            causes=[finding.cause for finding in report.findings],
            framework=report.run.framework,
            schema_version=report.schema_version,
            report=report.model_dump_json(),
        )
        return f"verdict {report.verdict}" if queue.succeed(self._engine, claim, result) else "lost, nothing stored"

    def _queue_audit(self, claim: queue.Claim) -> str:
        """After fetching. The bell rings once the audit waits; one that is lost the reaper rings again."""
        waiting = fetched.queue_audit(self._engine, claim)
        if waiting is None:
            return "lost, nothing stored"
        self._bell.ring(waiting)
        return f"fetched, waits in queue {waiting}"

    def _fail(self, claim: queue.Claim, problem: queue.Problem) -> str:
        stored = queue.fail(self._engine, claim, problem)
        return f"failed: {problem['detail']}" if stored else "lost, nothing stored"

    def _retry(self, claim: queue.Claim, problem: queue.Problem, pause: float) -> str:
        settled = queue.retry_later(self._engine, claim, problem, pause)
        return f"{_said(settled)}: {problem['detail']}"

    def _cancel(self, claim: queue.Claim) -> str:
        return "cancelled" if queue.cancel(self._engine, claim) else "lost, nothing stored"

    def _hand_back(self, claim: queue.Claim, pause: float = 0) -> str:
        return f"handed back, {_said(queue.hand_back(self._engine, claim, pause))}"

    def _pass_the_bell_on(self, names: Iterable[str]) -> None:
        """Rings for what this worker leaves, unless a bell waits already: it may have heard one for many."""
        try:
            due = queue.due_counts(self._engine)
        except DBAPIError as error:
            _log.warning("the database can't be asked for more work; the reaper rings again: %s", error.orig)
            return
        for name in names:
            if name in due and not self._bell.waiting(name):
                self._bell.ring(name)


def pause_before_retry(error: RunauditError, attempt: int) -> float | None:
    """Seconds until an audit is tried again whose attempt (from 1) ended with `error`; None if it would end so again.

    Without memory it gets a second attempt and no more: the memory may have been taken by others, but where the audit
    itself is too large, each attempt costs everyone else on the machine.
    """
    if isinstance(error, InputError | ChildTimeoutError):
        return None
    if isinstance(error, EgressFailedError):
        return fetching.pause_before_retry(error, attempt)
    if isinstance(error, ChildMemoryError):
        return MEMORY_RETRY_SECONDS if attempt == 1 else None
    return _doubled(attempt)


def _how(end: Callable[[queue.Claim], str]) -> str:
    """The name of a way to end an attempt, for figures: `succeed`, `fail`, `retry`, `cancel`, `hand_back`."""
    return getattr(getattr(end, "func", end), "__name__", "other").strip("_")


def _doubled(attempt: int) -> float:
    return float(FIRST_RETRY_SECONDS * 2 ** (attempt - 1))


def _said(settled: queue.Settled) -> str:
    if settled.requeued:
        return "waits again"
    if settled.cancelled:
        return "cancelled"
    return "failed" if settled.failed else "lost, nothing stored"


def _until_stored(store: Callable[[], _Answer], *, seconds: float) -> _Answer:
    """Stores, again and again while the database is away. Safe: what is stored names the fence, and is stored once.

    Raises:
        DBAPIError: it stayed away for `seconds`, or refuses what is to be stored (retrying that mends nothing).
    """
    end = time.monotonic() + seconds
    pause, longest = _STORE_PAUSES
    while True:
        try:
            return store()
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() > end:
                raise
            _log.warning("the end of an audit can't be stored yet: %s", error.orig)
        time.sleep(pause)
        pause = min(pause * 2, longest)
