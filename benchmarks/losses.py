"""Whether every audit ends exactly once though workers are killed and the broker is restarted in the middle.

    python -m benchmarks.losses [--workers 8] [--audits 200] [--killed 2] [--seed N]

PostgreSQL, Valkey, a reaper and eight workers run as they do in a service, with a lease of LEASE_SECONDS, and the
audits are real ones, of a run's curves. At moments within the work that the seed draws, each of the workers that are to
die gets a SIGKILL, and so does Valkey, which is started again at once. The workers are not.

Then each audit must have succeeded, with one report, with the events queued, started, succeeded, in this order, and
with one delivery of each of them for the webhook endpoint that wants all. The exit code is 1 where one has not.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from benchmarks.embedded_database import embedded_database
from benchmarks.queue import QUEUE, count, make_ready, submit
from runaudit_service.embedded import valkey
from runaudit_service.embedded.part import Part, stop
from runaudit_service.store import keys, signing
from runaudit_service.store.bell import Bell
from runaudit_service.store.database import sync_engine
from runaudit_service.store.migrate import upgrade
from runaudit_service.store.models import Project
from runaudit_service.store.webhooks import WebhookEndpoint

LEASE_SECONDS: Final = 5
LONGEST_WAIT_SECONDS: Final = 600.0
EVENTS: Final = ["audit.queued", "audit.started", "audit.succeeded"]

# Of each audit: its events in order, its reports, its attempts, and the deliveries of each event.
_HISTORIES: Final = text(
    """
    SELECT audits.state, jobs.attempt,
        (SELECT count(*) FROM reports WHERE reports.audit_id = audits.id) AS reports,
        (SELECT array_agg(type ORDER BY id) FROM events WHERE events.audit_id = audits.id) AS events,
        (SELECT array_agg(events.type ORDER BY events.id)
            FROM webhook_deliveries JOIN events ON events.id = event_id WHERE events.audit_id = audits.id) AS deliveries
    FROM audits JOIN jobs ON jobs.audit_id = audits.id
    """
)


@dataclass(frozen=True)
class Outcome:
    """What became of the audits. `retaken`: those of which an attempt was lost; `wrong`: those that went otherwise."""

    seconds: float
    audits: int
    retaken: int
    wrong: list[str]


@contextmanager
def running(name: str, folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the service's, until the end of the context."""
    command = [sys.executable, *arguments]
    part = Part(name=name, command=command, log=folder / f"{name}.log", environment=environment, stop_seconds=60)
    process = part.start()
    try:
        yield process
    finally:
        stop(process, part)


def want_all_events(engine: Engine) -> None:
    """The endpoint; nobody sends to it here, the rows are what is looked at."""
    with Session(engine) as session:
        tenant = session.scalars(select(Project.tenant_id)).one()
        secret = signing.new_secret()
        session.add(WebhookEndpoint(tenant_id=tenant, url="https://example.com", events=EVENTS, secret=secret))
        session.commit()


def measure(workers: int, audits: int, killed: int, draw: random.Random, folder: Path) -> Outcome:
    """One run, from the first bell to the end of the last audit."""
    broker = valkey.prepare(folder / "valkey")
    broker_part = broker.part(folder / "valkey.log")
    with embedded_database() as database, ExitStack() as stack:
        database.create_database()
        upgrade(database.url())
        engine = sync_engine(database.url())
        with Session(engine) as session:
            keys.ensure_default(session)
            session.commit()
        want_all_events(engine)
        digest = make_ready(folder)
        environment = os.environ | {
            "RUNAUDIT_DATABASE_URL": database.url(),
            "RUNAUDIT_BROKER_URL": broker.url,
            "RUNAUDIT_DATA_DIR": str(folder),
            "RUNAUDIT_LEASE_SECONDS": str(LEASE_SECONDS),
        }
        broker_process = broker_part.start()
        stack.callback(lambda: stop(broker_process, broker_part))
        bell = Bell(broker.url)
        stack.callback(bell.close)
        stack.enter_context(running("reaper", folder, environment, "-m", "runaudit_worker.reaper"))
        arguments = ("-m", "runaudit_worker", "--queues", QUEUE, "--concurrency", "1")
        started = [
            stack.enter_context(running(f"worker-{number}", folder, environment, *arguments))
            for number in range(workers)
        ]
        _wait(lambda: all("ready" in (folder / f"worker-{n}.log").read_text() for n in range(workers)))
        submit(engine, digest, audits)
        begun = time.monotonic()
        for _ in range(audits):
            bell.ring(QUEUE)
        # At which audit each of them happens: none at the very beginning or end.
        moments = sorted(draw.sample(range(audits // 10, audits * 8 // 10), killed + 1))
        broker_dies = draw.randrange(killed + 1)
        doomed = draw.sample(started, killed)
        for number, moment in enumerate(moments):
            _wait(lambda moment=moment: count(engine, "succeeded") >= moment)
            if number == broker_dies:
                broker_process.kill()
                broker_process.wait()
                broker_process = broker_part.start()
            else:
                doomed.pop().kill()
        _wait(lambda: ended(engine) == audits)
        taken = time.monotonic() - begun
        with engine.connect() as connection:
            rows = connection.execute(_HISTORIES).all()
        engine.dispose()
    wrong = [
        f"{row.state}, {row.reports} reports, events {row.events}, deliveries {row.deliveries}"
        for row in rows
        if (row.state, row.reports, row.events, row.deliveries) != ("succeeded", 1, EVENTS, EVENTS)
    ]
    return Outcome(taken, len(rows), sum(row.attempt > 1 for row in rows), wrong)


def ended(engine: Engine) -> int:
    """How many audits have come to an end, whichever."""
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM audits WHERE ended_at IS NOT NULL")).scalar_one())


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_WAIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the audits did not come to their ends")
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--audits", type=int, default=200)
    parser.add_argument("--killed", type=int, default=2, help="workers that are killed")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="draws who is killed, and when")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw = random.Random(options.seed)
        outcome = measure(options.workers, options.audits, options.killed, draw, Path(folder))
    print(
        f"{options.audits} audits, {options.workers} workers, {options.killed} of them and the broker killed meanwhile"
    )
    print(f"  seed {options.seed}; {outcome.seconds:.1f} s; {outcome.retaken} audits were taken from a dead worker")
    print(f"  that did not end exactly once: {len(outcome.wrong)} of {outcome.audits} (target 0)")
    for line in outcome.wrong[:10]:
        print(f"    {line}")
    return 1 if outcome.wrong or outcome.audits != options.audits else 0


if __name__ == "__main__":
    sys.exit(main())
