"""The parts of the service that are our own, each a Python process told by its environment."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from runaudit_service.embedded.part import Part

STOP_SLACK_SECONDS = 15.0
"""what a worker may need beyond its grace period: to kill its children, hand the audit back, and end"""


@dataclass(frozen=True)
class Places:
    """Where the service's parts find one another."""

    data_dir: Path
    database_url: str
    broker_url: str
    host: str
    port: int
    api_database_url: str
    """the database by the API's own login; the API is told no other"""
    metrics_port: int = 0
    """the first of the ports on which the parts that are no API show their figures; 0: none"""

    @property
    def url(self) -> str:
        """Where a client on this machine finds the API."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104  # only compared with
        return f"http://{host}:{self.port}"

    def environment(self) -> dict[str, str]:
        """The environment of a part: the caller's, and these places."""
        return {
            **os.environ,
            "RUNAUDIT_DATA_DIR": str(self.data_dir),
            "RUNAUDIT_DATABASE_URL": self.database_url,
            "RUNAUDIT_BROKER_URL": self.broker_url,
            "RUNAUDIT_HOST": self.host,
            "RUNAUDIT_PORT": str(self.port),
            # Log lines must be in the file when a person looks, also after a kill.
            "PYTHONUNBUFFERED": "1",
        }


def api(places: Places, logs: Path) -> Part:
    """The front desk."""
    own = replace(places, database_url=places.api_database_url)
    return _part("api", "runaudit_service.api", [], own, logs)


def reaper(places: Places, logs: Path) -> Part:
    """The one that looks after the queue."""
    return _part("reaper", "runaudit_worker.reaper", [], places, logs, metrics=0)


def sender(places: Places, logs: Path) -> Part:
    """The one that sends webhooks."""
    return _part("sender", "runaudit_worker.sender", [], places, logs, metrics=1)


def worker(number: int, places: Places, logs: Path, *, concurrency: int, grace_seconds: float) -> Part:
    """The worker of this number, from 1, of both queues of audits. What it can't finish in its grace period it hands
    back."""
    arguments = ["--queues", "cpu,gpu", "--concurrency", str(concurrency)]
    return _part(
        f"worker-{number}",
        "runaudit_worker",
        arguments,
        places,
        logs,
        metrics=1 + number,
        hurry_signal=signal.SIGQUIT,
        stop_seconds=grace_seconds + STOP_SLACK_SECONDS,
    )


def fetcher(places: Places, logs: Path, *, grace_seconds: float) -> Part:
    """The worker of the queue egress, which fetches artifacts: four at a time, for it mostly waits."""
    return _part(
        "worker-egress",
        "runaudit_worker",
        ["--queues", "egress", "--concurrency", "4"],
        places,
        logs,
        hurry_signal=signal.SIGQUIT,
        stop_seconds=grace_seconds + STOP_SLACK_SECONDS,
    )


def _part(
    name: str,
    module: str,
    arguments: list[str],
    places: Places,
    logs: Path,
    *,
    metrics: int | None = None,
    hurry_signal: signal.Signals | None = None,
    stop_seconds: float = 10,
) -> Part:
    # Each has a port of its own, counted from the first.
    port = places.metrics_port + metrics if places.metrics_port and metrics is not None else 0
    return Part(
        name=name,
        # -P: what is imported does not depend on the working folder.
        command=[sys.executable, "-P", "-m", module, *arguments],
        log=logs / f"{name}.log",
        environment=places.environment() | {"RUNAUDIT_METRICS_PORT": str(port)},
        hurry_signal=hurry_signal,
        stop_seconds=stop_seconds,
    )
