"""/metrics: what Prometheus scrapes. The queue's figures come from its rows, so every replica tells the same."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram
from sqlalchemy import func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.database import Database
from runaudit_service.store.models import QUEUES, TERMINAL_STATES, Audit, Job
from runaudit_service.store.webhooks import WebhookDelivery

# From a cached poll (about 1 ms, research/service.md F) to the longest long poll.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

COUNT_SHARE: Final = 0.01
"""of the time, at most, may one process of the API have the database count what has ended"""
# By state, so that each has the partial index that is made for it (ix_jobs_due, ix_jobs_leased).
_OPEN_JOB_STATES: Final = ("queued", "running")
_OPEN_JOBS: Final = union_all(
    *(
        select(Job.queue, Job.state, func.count()).where(Job.state == state).group_by(Job.queue, Job.state)
        for state in _OPEN_JOB_STATES
    )
)
_OLDEST: Final = (
    select(Job.queue, func.extract("epoch", func.now() - func.min(Job.run_after)))
    .where(Job.state == "queued", Job.run_after <= func.now())
    .group_by(Job.queue)
)
_OPEN_DELIVERY_STATES: Final = ("pending", "sending")
# Both by the index of what is open (ix_webhook_deliveries_due).
_OPEN_DELIVERIES: Final = (
    select(WebhookDelivery.state, func.count())
    .where(WebhookDelivery.state.in_(_OPEN_DELIVERY_STATES))
    .group_by(WebhookDelivery.state)
)
_OLDEST_DELIVERY: Final = select(func.extract("epoch", func.now() - func.min(WebhookDelivery.next_attempt_at))).where(
    WebhookDelivery.state.in_(_OPEN_DELIVERY_STATES), WebhookDelivery.next_attempt_at <= func.now()
)
# Those that wait have an index of their own, those that run a job that does.
_OPEN_AUDITS: Final = union_all(
    select(Audit.state, func.count()).where(Audit.state.in_(("queued", "fetching"))).group_by(Audit.state),
    select(Audit.state, func.count())
    .join(Job, Job.audit_id == Audit.id)
    .where(Job.state == "running", Audit.state == "running")
    .group_by(Audit.state),
)
_ENDED: Final = (
    select(Audit.state, func.coalesce(Audit.verdict, ""), func.count())
    .where(Audit.state.in_(TERMINAL_STATES))
    .group_by(Audit.state, Audit.verdict)
)


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


class StoreMetrics:
    """The queues, the audits and the messages to be sent as gauges; what is empty is told as 0.

    What is open is counted when it is asked for, by indexes that hold nothing else. What has ended is all of history:
    it is counted again only when COUNT_SHARE of the time since allows for it, so its figures may be late by as much.
    """

    def __init__(self) -> None:
        self._counting = asyncio.Lock()
        self._ended: list[tuple[str, str, int]] = []
        self._count_after = 0.0

    async def read(self, database: Database) -> CollectorRegistry:
        """The gauges as they are now."""
        registry = CollectorRegistry()
        depth = Gauge("runaudit_jobs", "Open jobs by queue and state", ["queue", "state"], registry=registry)
        oldest = Gauge(
            "runaudit_oldest_queued_job_seconds",
            "Time since the oldest due job could run",
            ["queue"],
            registry=registry,
        )
        audits = Gauge("runaudit_audits", "Audits by state and verdict", ["state", "verdict"], registry=registry)
        deliveries = Gauge(
            "runaudit_webhook_deliveries", "Messages that are not delivered yet, by state", ["state"], registry=registry
        )
        oldest_delivery = Gauge(
            "runaudit_oldest_due_delivery_seconds", "Time since the oldest due message could be sent", registry=registry
        )
        for queue in QUEUES:
            oldest.labels(queue).set(0)
            for state in _OPEN_JOB_STATES:
                depth.labels(queue, state).set(0)
        for state in _OPEN_DELIVERY_STATES:
            deliveries.labels(state).set(0)
        async with database.overview() as session:
            for state, count in await session.execute(_OPEN_DELIVERIES):
                deliveries.labels(state).set(count)
            oldest_delivery.set(float(await session.scalar(_OLDEST_DELIVERY) or 0))
            for queue, state, count in await session.execute(_OPEN_JOBS):
                depth.labels(queue, state).set(count)
            for queue, seconds in await session.execute(_OLDEST):
                oldest.labels(queue).set(float(seconds))
            for state, count in await session.execute(_OPEN_AUDITS):
                audits.labels(state, "").set(count)
            for state, verdict, count in await self._ended_audits(session):
                audits.labels(state, verdict).set(count)
        return registry

    async def _ended_audits(self, session: AsyncSession) -> list[tuple[str, str, int]]:
        async with self._counting:
            started = time.monotonic()
            if started >= self._count_after:
                self._ended = [(state, verdict, count) for state, verdict, count in await session.execute(_ENDED)]
                ended = time.monotonic()
                self._count_after = ended + (ended - started) / COUNT_SHARE
        return self._ended
