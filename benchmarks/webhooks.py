"""How fast webhooks are sent: the sender with 64 places against a bare httpx loop with 64 tasks.

Both post the same bodies to the same receiver (uvicorn, a process of its own), turn by turn, each on uvloop. The sender
also claims the deliveries, makes their bodies, signs them, and writes down how each went, until the last is recorded;
the loop only posts. Prints the rates, and their ratio: issue 5 asks for at least 0.5; and the same of this process'
processor time, which a busy machine does not disturb (receiver and database are other processes). Run with
`python -m benchmarks.webhooks [--deliveries N] [--rounds N]`.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvloop
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from benchmarks.embedded_database import embedded_database
from runaudit_service.store import signing
from runaudit_service.store.database import sync_engine
from runaudit_service.store.migrate import upgrade
from runaudit_service.store.models import Artifact, Audit, AuditArtifact, Event, Project, Tenant, new_id
from runaudit_service.store.web_address import networks
from runaudit_service.store.webhooks import WebhookDelivery, WebhookEndpoint
from runaudit_worker.guarded import AsyncGuardedClient
from runaudit_worker.sender import PLACES, Sender
from runaudit_worker.webhooks.exchange import Exchange

ENDPOINTS = 16
RECEIVER = "benchmarks.webhooks:receive"


async def receive(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The receiver: reads the body and answers 204."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def receiving() -> Iterator[int]:
    """The receiver's port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", RECEIVER, "--port", str(port), "--lifespan", "off", "--no-access-log"]
    # On a busy machine a client may look at a kept connection late.
    command += ["--timeout-keep-alive", "60"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def prepare(engine: Engine, port: int) -> None:
    """A tenant with endpoints, and an audit that has ended."""
    with Session(engine) as session:
        tenant = Tenant(id=new_id(), name="benchmark")
        session.add(tenant)
        session.flush()
        project = Project(id=new_id(), tenant_id=tenant.id, name="default")
        artifact = Artifact(id=new_id(), tenant_id=tenant.id, sha256="0" * 64, bytes=5_000_000)
        session.add_all([project, artifact])
        session.add_all(
            WebhookEndpoint(
                tenant_id=tenant.id,
                url=f"http://127.0.0.1:{port}/hook",
                events=["audit.succeeded"],
                secret=signing.new_secret(),
            )
            for _ in range(ENDPOINTS)
        )
        session.flush()
        audit = Audit(
            id=new_id(),
            tenant_id=tenant.id,
            project_id=project.id,
            run_name="yolo11n-batch32",
            state="succeeded",
            ended_at=text("now()"),
            verdict="fail",
            headline="The learning rate made training diverge at epoch 3.",
            causes=["learning_rate"],
            labels={"branch": "main", "commit": "0a1b2c3d4e5f"},
            fingerprint="f",
            auditor_version="1",
        )
        session.add(audit)
        session.flush()
        session.add(AuditArtifact(audit_id=audit.id, role="run", artifact_id=artifact.id))
        session.add(Event(tenant_id=tenant.id, audit_id=audit.id, type="audit.succeeded"))
        session.commit()


def write(engine: Engine, number: int) -> None:
    """Deliveries that are due, as the trigger of the event wrote the first ones, in place of all there were."""
    columns = [one.name for one in WebhookDelivery.__table__.columns]
    fresh = {"id": "runaudit_uuid7()", "event_id": "NULL", "message_id": "'msg_' || md5(random()::text)"}
    chosen = ", ".join(fresh.get(name, name) for name in columns)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS pattern AS SELECT * FROM webhook_deliveries"))
        connection.execute(text("DELETE FROM webhook_deliveries"))
        connection.execute(
            text(
                f"INSERT INTO webhook_deliveries ({', '.join(columns)}) "  # names of columns
                f"SELECT {chosen} FROM pattern, generate_series(1, {number // ENDPOINTS})"
            )
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE webhook_deliveries"))


def left(engine: Engine) -> int:
    with engine.connect() as connection:
        open_ones = text("SELECT count(*) FROM webhook_deliveries WHERE state IN ('pending', 'sending')")
        return int(connection.execute(open_ones).scalar_one())


async def send(engine: Engine) -> float:
    """Seconds until the sender has sent and recorded all that is due."""
    async with AsyncGuardedClient(allow=networks("127.0.0.0/8"), allow_http=True, connections=PLACES) as client:
        sender = Sender(engine, Exchange(client, "http://127.0.0.1"))
        begun = time.perf_counter()
        running = asyncio.create_task(sender.run())
        while await asyncio.to_thread(left, engine):
            await asyncio.sleep(0.05)
        seconds = time.perf_counter() - begun
        sender.stop()
        await running
    return seconds


async def post(url: str, bodies: list[bytes]) -> float:
    """Seconds until a bare loop has posted all bodies."""
    waiting = iter(bodies)
    limits = httpx.Limits(max_connections=PLACES, max_keepalive_connections=PLACES)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as client:

        async def work() -> None:
            for body in waiting:
                answer = await client.post(url, content=body, headers={"Content-Type": "application/json"})
                answer.raise_for_status()

        begun = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(PLACES)))
        return time.perf_counter() - begun


@dataclass(frozen=True)
class Rate:
    """Messages a second of wall clock, and a second of processor time."""

    wall: float
    processor: float


def measured(coroutine: Coroutine[Any, Any, float], number: int) -> Rate:
    """The rate at which the coroutine handles so many."""
    begun = time.process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seconds = runner.run(coroutine)
    return Rate(number / seconds, number / (time.process_time() - begun))


def told(name: str, sent: list[Rate], posted: list[Rate]) -> str:
    """One line of figures."""
    parts = []
    for kind in ("wall", "processor"):
        ours, theirs = ([getattr(rate, kind) for rate in rates] for rates in (sent, posted))
        ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
        rates = f"{statistics.median(ours):.0f} to {statistics.median(theirs):.0f}"
        parts.append(f"{rates} a second of {kind} time, ratio {ratio:.2f}")
    return f"{name}: sender to bare httpx: {'; '.join(parts)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=3200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    number = options.deliveries // ENDPOINTS * ENDPOINTS
    sent: list[Rate] = []
    posted: list[Rate] = []
    with receiving() as port, embedded_database() as server:
        server.create_database("benchmark")
        upgrade(server.url("benchmark"))
        engine = sync_engine(server.url("benchmark"))
        prepare(engine, port)
        for turn in range(1, options.rounds + 1):
            write(engine, number)
            sent.append(measured(send(engine), number))
            with engine.connect() as connection:
                outcomes = connection.execute(text("SELECT state, body FROM webhook_deliveries")).all()
            if {outcome.state for outcome in outcomes} != {"succeeded"}:
                raise RuntimeError("some deliveries failed")
            bodies = [outcome.body.encode() for outcome in outcomes]
            posted.append(measured(post(f"http://127.0.0.1:{port}/hook", bodies), number))
            sys.stdout.write(told(f"round {turn}", sent[-1:], posted[-1:]))
        engine.dispose()
    sys.stdout.write(told(f"median of {options.rounds} rounds of {number} deliveries", sent, posted))
    sys.stdout.write("target: a ratio of at least 0.5 in wall time\n")


if __name__ == "__main__":
    main()
