"""How many audits a second eight workers finish on one Postgres when their children only sleep, for a second each.

    python -m benchmarks.queue [--workers 8] [--audits 120] [--seconds 1]

Everything is what a service has: PostgreSQL and Valkey, artifacts, rows as the API writes them, a bell for each, worker
processes with Celery, claims, leases, heartbeats, job folders, fork servers, the supervision of the children, and the
reading, checking and storing of a real report. What the child does alone is exchanged: it sleeps, and leaves a report
that was made before, of a run of a dozen epochs (benchmarks/sleeping_children.py is the program of the fork servers
instead of runaudit.isolation.fork_server; no setting of the service does that). Each worker does one audit at a time,
so that eight of them could finish 8 a second if all of this cost nothing. Target: 7.5 a second, and no audit is claimed
or begun twice.

The reaper is not there: with its help a lost bell would only be late.
"""

from __future__ import annotations

import argparse
import hashlib
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
from benchmarks.start import run_archive
from runaudit.isolation.audit import run_audit
from runaudit.isolation.forking import Forking
from runaudit.isolation.job import JobSpec, Source
from runaudit_service.store import keys
from runaudit_service.store.bell import Bell
from runaudit_service.store.database import sync_engine
from runaudit_service.store.migrate import upgrade
from runaudit_service.store.models import Artifact, Audit, AuditArtifact, Event, Job, Project, new_id
from runaudit_service.store.settings import Settings
from runaudit_worker.app import run_worker
from runaudit_worker.workshop import Workshop

TARGET: Final = 7.5
LONGEST_WAIT_SECONDS: Final = 300.0
QUEUE: Final = "cpu"
_CHILDREN: Final = Path(__file__).with_name("sleeping_children.py")


@dataclass(frozen=True)
class Outcome:
    """What the workers did. `begun`: how often a child began each job; `fences`: how often each job was claimed."""

    seconds: float
    succeeded: int
    begun: Counter[str]
    fences: Counter[int]


def make_ready(folder: Path) -> str:
    """An artifact in the store below `folder`, and the report of it, which every child leaves; returns its digest."""
    content = run_archive(0)
    digest = hashlib.sha256(content).hexdigest()
    blob = folder / "blobs" / digest[:2] / digest
    blob.parent.mkdir(parents=True)
    blob.write_bytes(content)
    spec = JobSpec(run=Source(kind="archive", path=str(blob), sha256=digest), depth="curves")
    with tempfile.TemporaryDirectory() as job:
        report = run_audit(spec, Path(job), on_progress=lambda _: None, should_stop=lambda: False)
    (folder / "report").write_text(report.model_dump_json())
    (folder / "begun").touch()
    return digest


def submit(engine: Engine, digest: str, audits: int) -> None:
    """Audits that wait, as the API writes them."""
    with Session(engine) as session:
        project = session.scalars(select(Project)).one()
        artifact = session.scalar(select(Artifact).where(Artifact.sha256 == digest))
        if artifact is None:
            artifact = Artifact(id=new_id(), tenant_id=project.tenant_id, sha256=digest, bytes=1)
            session.add(artifact)
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
            session.add(AuditArtifact(audit_id=audit.id, role="run", artifact_id=artifact.id))
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
        digest = make_ready(folder)
        environment = os.environ | {
            "RUNAUDIT_DATABASE_URL": database.url(),
            "RUNAUDIT_BROKER_URL": broker,
            "RUNAUDIT_DATA_DIR": str(folder),
            "RUNAUDIT_GRACE_SECONDS": "1",
        }
        command = [sys.executable, "-m", "benchmarks.queue", "--seconds", str(seconds), "--children", str(folder)]
        with (folder / "log").open("wb") as log:
            started = [subprocess.Popen(command, env=environment, stdout=log, stderr=log) for _ in range(workers)]
        try:
            # Each worker does one audit before the clock runs: then it is known to be there.
            submit(engine, digest, workers)
            _ring_until(engine, bell, workers)
            submit(engine, digest, audits)
            clock = time.monotonic()
            for _ in range(audits):
                bell.ring(QUEUE)
            _wait(engine, workers + audits)
            taken = time.monotonic() - clock
        finally:
            for process in started:
                process.send_signal(signal.SIGQUIT)
            for process in started:
                process.wait(LONGEST_WAIT_SECONDS)
            bell.close()
        with Session(engine) as session:
            fences = Counter(session.scalars(select(Job.fence)))
        done = count(engine, "succeeded")
        engine.dispose()
        # A job folder is named after its job and its fence: a job that is begun twice has two.
        begun = Counter(name.rpartition("-")[0] for name in (folder / "begun").read_text().split())
        return Outcome(taken, done, begun, fences)


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


def work(seconds: float, folder: Path) -> int:
    """What each worker process does: as `python -m runaudit_worker`, but for the program of its fork server."""
    settings = Settings()
    forking = Forking([str(_CHILDREN), str(folder), str(seconds)])
    forking.begin()
    engine, bell = sync_engine(settings.database_url, pool_size=2), Bell(settings.broker_url)
    workshop = Workshop(engine, bell, settings, forking.start_child)
    return run_worker(settings, workshop, queues=[QUEUE], concurrency=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--audits", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=1.0, help="what each child sleeps")
    parser.add_argument("--children", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.children is not None:
        return work(options.seconds, options.children)
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
