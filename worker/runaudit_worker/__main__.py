"""`python -m runaudit_worker --queues cpu,gpu --concurrency 1`: a worker process."""

from __future__ import annotations

import argparse
import logging
import sys

from runaudit.isolation.forking import Forking, can_fork
from runaudit.isolation.process import start_child
from runaudit_service.store.bell import Bell
from runaudit_service.store.database import sync_engine
from runaudit_service.store.models import QUEUES
from runaudit_service.store.settings import settings
from runaudit_service.store.tracing import tracing
from runaudit_worker.app import run_worker
from runaudit_worker.logs import log_to_stderr
from runaudit_worker.metrics import show_metrics
from runaudit_worker.workshop import Workshop


def _queue_names(value: str) -> list[str]:
    names = [name for name in value.split(",") if name]
    unknown = [name for name in names if name not in QUEUES]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"queues are {', '.join(QUEUES)}, not {value!r}")
    return names


def main() -> int:
    """Reads the arguments and works until told to stop."""
    configured = settings()
    parser = argparse.ArgumentParser(prog="python -m runaudit_worker", description="Runs audits from the queue.")
    parser.add_argument("--queues", type=_queue_names, default=["cpu", "gpu"], help="names of queues, with commas")
    parser.add_argument("--concurrency", type=int, default=configured.concurrency, help="audits at a time")
    options = parser.parse_args()
    if not configured.database_url or not configured.broker_url:
        parser.error("RUNAUDIT_DATABASE_URL and RUNAUDIT_BROKER_URL must be set; `runaudit serve` sets them itself")
    log_to_stderr()
    show_metrics(configured)
    tracing.begin("runaudit-worker")
    # Before all else: it needs a moment.
    forking = Forking() if can_fork() and {"cpu", "gpu"} & {*options.queues} else None
    if forking is not None:
        forking.begin()
    # Per audit: its own thread and its heartbeat.
    engine = sync_engine(configured.database_url, pool_size=2 * options.concurrency)
    bell = Bell(configured.broker_url)
    workshop = Workshop(engine, bell, configured, forking.start_child if forking is not None else start_child)
    workshop.tidy()
    logging.getLogger(__name__).info("worker of %s begins", ",".join(options.queues))
    try:
        return run_worker(configured, workshop, queues=options.queues, concurrency=options.concurrency)
    finally:
        if forking is not None:
            forking.close()
        tracing.end()
        bell.close()
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
