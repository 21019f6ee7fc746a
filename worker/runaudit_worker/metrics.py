"""Figures of a worker, a reaper and a sender for Prometheus, on a port of the process' own (RUNAUDIT_METRICS_PORT).

What can be read from rows (depth and age of queues, audits by state and verdict) is told by the API, the same by each
replica; here is what only the process knows that did it.
"""

from __future__ import annotations

import logging
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from runaudit_service.store.queue import Settled
from runaudit_service.store.settings import Settings

_log = logging.getLogger(__name__)

# From a read of a few curves to a validation that takes the whole of RUNAUDIT_AUDIT_SECONDS.
_STAGE_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
# From a receiver on the same network to the limit of an attempt.
_DELIVERY_SECONDS: Final = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 15, 30)

REGISTRY: Final = CollectorRegistry()
STAGES: Final = Histogram(
    "runaudit_stage_seconds", "Time that a stage of an audit took", ["stage"], buckets=_STAGE_SECONDS, registry=REGISTRY
)
ATTEMPTS: Final = Histogram(
    "runaudit_attempt_seconds",
    "Time that an attempt at a job took, by its kind and how it ended",
    ["kind", "end"],
    buckets=_STAGE_SECONDS,
    registry=REGISTRY,
)
LEASES: Final = Counter(
    "runaudit_lease_expiries",
    "Jobs taken from workers whose lease ran out, by what became of them",
    ["became"],
    registry=REGISTRY,
)
_BECAME: Final = ("requeued", "failed", "cancelled")
for _became in _BECAME:
    # A counter that begins with its first loss shows Prometheus no increase.
    LEASES.labels(_became)
DELIVERIES: Final = Histogram(
    "runaudit_webhook_attempt_seconds",
    "Time that an attempt to deliver took, by the class of its answer (2xx to 5xx, or none)",
    ["answer"],
    buckets=_DELIVERY_SECONDS,
    registry=REGISTRY,
)


def count_expiries(settled: Settled) -> None:
    """What the reaper did with jobs whose leases ran out."""
    for became in _BECAME:
        LEASES.labels(became).inc(getattr(settled, became))


def count_delivery(status: int | None, seconds: float) -> None:
    """One attempt to deliver; without a status there was no answer."""
    DELIVERIES.labels("none" if status is None else f"{status // 100}xx").observe(seconds)


def show_metrics(settings: Settings) -> None:
    """Answers Prometheus from a thread of its own, where a port is set. One that is taken is told, and done without."""
    if not settings.metrics_port:
        return
    try:
        start_http_server(settings.metrics_port, addr=settings.metrics_host, registry=REGISTRY)
    except OSError as error:
        _log.warning("no figures for Prometheus on port %d: %s", settings.metrics_port, error.strerror)
