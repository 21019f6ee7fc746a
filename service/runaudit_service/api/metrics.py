"""/metrics: what Prometheus scrapes. The queue's figures come from its rows, so every replica tells the same."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.store.models import Audit, Job

# From a cached poll (about 1 ms, research/service.md F) to the longest long poll.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMetrics:
    """Counts this process' requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "runaudit_http_request_seconds",
            "Time from a request's first byte to its answer's last",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. Methods that no standard knows share one label value."""
        self._seconds.labels(method if method in _METHODS else "other", route, str(status)).observe(seconds)


async def store_metrics(session: AsyncSession) -> CollectorRegistry:
    """The queue and the audits as gauges, read now."""
    registry = CollectorRegistry()
    depth = Gauge("runaudit_jobs", "Jobs by queue and state", ["queue", "state"], registry=registry)
    oldest = Gauge(
        "runaudit_oldest_queued_job_seconds", "Time since the oldest due job could run", ["queue"], registry=registry
    )
    audits = Gauge("runaudit_audits", "Audits by state and verdict", ["state", "verdict"], registry=registry)
    jobs = select(Job.queue, Job.state, func.count()).group_by(Job.queue, Job.state)
    for queue, state, count in await session.execute(jobs):
        depth.labels(queue, state).set(count)
    waiting = (
        select(Job.queue, func.extract("epoch", func.now() - func.min(Job.run_after)))
        .where(Job.state == "queued", Job.run_after <= func.now())
        .group_by(Job.queue)
    )
    for queue, seconds in await session.execute(waiting):
        oldest.labels(queue).set(float(seconds))
    verdicts = select(Audit.state, func.coalesce(Audit.verdict, ""), func.count()).group_by(Audit.state, Audit.verdict)
    for state, verdict, count in await session.execute(verdicts):
        audits.labels(state, verdict).set(count)
    return registry
