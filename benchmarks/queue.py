"""How many audits a second eight workers finish on one Postgres when their children only sleep, for a second each.

    python -m benchmarks.queue [--workers 8] [--audits 120] [--seconds 1]

Everything is what a service has: PostgreSQL and Valkey, rows as the API writes them, a bell for each, worker processes
with Celery, claims, leases, heartbeats, job folders, and the supervisor of the children; the child alone is a Python
process that sleeps and writes its audit's id down, instead of one that reads a run. Each worker does one audit at a
time, so that eight of them could finish 8 a second if all of this cost nothing. Target: 7.5 a second, and no audit is
claimed or begun twice.

The reaper is not there: with its help a lost bell would only be late.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from benchmarks.embedded_broker import embedded_broker
from benchmarks.embedded_database import embedded_database
from runaudit.isolation.job import JobFolder
from runaudit.isolation.process import Child, child_environment
from runaudit.isolation.supervisor import run_child
from runaudit.reports.schema import Report, Run
from runaudit_service.store import keys
from runaudit_service.store.bell import Bell
from runaudit_service.store.database import sync_engine
from runaudit_service.store.migrate import upgrade
from runaudit_service.store.models import Audit, Event, Job, Project, new_id
from runaudit_service.store.queue import Claim
from runaudit_service.store.settings import Settings
from runaudit_worker.app import run_worker
from runaudit_worker.heartbeat import Heartbeat
from runaudit_worker.workshop import Workshop

TARGET: Final = 7.5
LONGEST_WAIT_SECONDS: Final = 300.0
QUEUE: Final = "cpu"
_SLEEP: Final = """
import os, sys, time
audit, seconds, log = sys.argv[1:]
sys.stdin.readline()
descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(descriptor, (audit + "\\n").encode())
time.sleep(float(seconds))
"""
# Next to nothing: what a report costs to make and store is measured elsewhere.
_REPORT: Final = Report.model_construct(
    schema_version="1",
    verdict="inconclusive",
    headline="nothing was looked at",
    findings=[],
    run=Run.model_construct(framework="ultralytics"),
)


class SleepingWorkshop(Workshop):
    """A workshop whose children sleep; all else is as it is."""

    def __init__(self, engine: Engine, bell: Bell, settings: Settings, seconds: float, begun: Path) -> None:
        super().__init__(engine, bell, settings)
        self._seconds = seconds
        self._begun = begun

    def _run(self, claim: Claim, folder: Path, heartbeat: Heartbeat) -> Report:
        job = JobFolder(folder)
        job.home.mkdir(exist_ok=True)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        with job.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _SLEEP, str(claim.audit_id), str(self._seconds), str(self._begun)],
                cwd=job.home,
                env=child_environment("ingest", job),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
        os.close(writing)
        run_child(
            "ingest",
            job,
            seconds=60,
            on_progress=heartbeat.report,
            should_stop=self._should_stop(heartbeat),
            started=Child(process, reading),
        )
        return _REPORT


@dataclass(frozen=True)
class Outcome:
    """What the workers did. `begun`: how often a child began each audit; `fences`: how often each job was claimed."""

    seconds: float
    succeeded: int
    begun: Counter[str]
    fences: Counter[int]


def submit(engine: Engine, audits: int) -> None:
    """Audits that wait, as the API writes them."""
    with Session(engine) as session:
        project = session.scalars(select(Project)).one()
        for _ in range(audits):
            audit = Audit(
                id=new_id(),
                tenant_id=project.tenant_id,
                project_id=project.id,
                depth="curves",
                fingerprint=str(new_id()),
                auditor_version="benchmark",
            )
            session.add(audit)
            session.flush()
            session.add(Job(audit_id=audit.id, kind="audit", queue=QUEUE))
            session.add(Event(tenant_id=project.tenant_id, audit_id=audit.id, type="audit.queued"))
        session.commit()


def count(engine: Engine, state: str) -> int:
    """Audits in this state."""
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(Audit).where(Audit.state == state)) or 0


def measure(workers: int, audits: int, seconds: float, folder: Path) -> Outcome:
    """One run. The clock runs from the first bell, with all workers there and idle, to the end of the last audit."""
    with embedded_database() as database, embedded_broker() as broker:
        database.create_database()
        upgrade(database.url())
        engine, bell = sync_engine(database.url()), Bell(broker)
        with Session(engine) as session:
            keys.ensure_default(session)
            session.commit()
        begun = folder / "begun"
        begun.touch()
        environment = os.environ | {
            "RUNAUDIT_DATABASE_URL": database.url(),
            "RUNAUDIT_BROKER_URL": broker,
            "RUNAUDIT_DATA_DIR": str(folder),
            "RUNAUDIT_GRACE_SECONDS": "1",
        }
        command = [sys.executable, "-m", "benchmarks.queue", "--seconds", str(seconds), "--begun", str(begun)]
        with (folder / "log").open("wb") as log:
            started = [subprocess.Popen(command, env=environment, stdout=log, stderr=log) for _ in range(workers)]
        try:
            # Each worker does one audit before the clock runs: then it is known to be there.
            submit(engine, workers)
            _ring_until(engine, bell, workers)
            submit(engine, audits)
            clock = time.monotonic()
            for _ in range(audits):
                bell.ring(QUEUE)
            _wait(engine, workers + audits)
            taken = time.monotonic() - clock
        finally:
            for process in started:
                process.send_signal(signal.SIGQUIT)
            for process in started:
                process.wait(30)
            bell.close()
        with Session(engine) as session:
            fences = Counter(session.scalars(select(Job.fence)))
        done = count(engine, "succeeded")
        engine.dispose()
        return Outcome(taken, done, Counter(begun.read_text().split()), fences)


def _ring_until(engine: Engine, bell: Bell, audits: int) -> None:
    end = time.monotonic() + LONGEST_WAIT_SECONDS
    while count(engine, "succeeded") < audits:
        if time.monotonic() > end:
            raise TimeoutError("the workers did not begin")
        if not bell.waiting(QUEUE):
            bell.ring(QUEUE)
        time.sleep(0.2)


def _wait(engine: Engine, audits: int) -> None:
    end = time.monotonic() + LONGEST_WAIT_SECONDS
    while count(engine, "succeeded") < audits:
        if time.monotonic() > end:
            raise TimeoutError(f"{count(engine, 'succeeded')} of {audits} audits succeeded in time")
        time.sleep(0.05)


def work(seconds: float, begun: Path) -> int:
    """What each worker process does."""
    settings = Settings()
    engine, bell = sync_engine(settings.database_url, pool_size=2), Bell(settings.broker_url)
    workshop = SleepingWorkshop(engine, bell, settings, seconds, begun)
    return run_worker(settings, workshop, queues=[QUEUE], concurrency=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--audits", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=1.0, help="what each child sleeps")
    parser.add_argument("--begun", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.begun is not None:
        return work(options.seconds, options.begun)
    with tempfile.TemporaryDirectory() as folder:
        outcome = measure(options.workers, options.audits, options.seconds, Path(folder))
    rate = options.audits / outcome.seconds
    twice = sum(times > 1 for times in outcome.begun.values()) + sum(
        n for fence, n in outcome.fences.items() if fence > 1
    )
    ideal = options.workers / options.seconds
    print(f"{options.workers} workers, {options.audits} audits whose children sleep {options.seconds:g} s")
    print(
        f"  {rate:.2f} audits a second (ideal {ideal:g}; target {TARGET}: {'reached' if rate >= TARGET else 'MISSED'})"
    )
    print(f"  claimed or begun twice: {twice} (target 0); succeeded: {outcome.succeeded}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
