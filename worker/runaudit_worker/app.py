"""The Celery application of a worker: one task, which hears the bell."""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery
from celery.signals import worker_shutting_down

from runaudit_service.store.bell import TASK, celery_settings
from runaudit_service.store.settings import Settings
from runaudit_worker.workshop import Workshop


def make_app(settings: Settings, workshop: Workshop) -> Celery:
    """The application whose task has `workshop` answer the bell."""
    app = Celery("runaudit_worker", set_as_current=False)
    app.conf.update(
        celery_settings(settings.broker_url),
        # The bell is forgotten as soon as it is heard: the lease, not the broker, brings back a lost job.
        task_acks_late=False,
        # A busy worker must not take bells that an idle one could hear.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        # With the connection lost an audit goes on: it needs the database only.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_transport_options={"socket_connect_timeout": 5, "socket_keepalive": True},
    )
    app.task(name=TASK)(workshop.answer_bell)
    return app


def run_worker(settings: Settings, workshop: Workshop, *, queues: list[str], concurrency: int) -> int:
    """Hears bells until SIGTERM or SIGINT; returns the exit code.

    Told to stop, it waits for the audits that run, hands them back after the grace period, and at once when it is
    told a second time by SIGINT or by SIGQUIT.
    """
    app = make_app(settings, workshop)
    grace = threading.Timer(settings.grace_seconds, workshop.stop_now)
    grace.daemon = True

    def stop(how: str, **_: Any) -> None:
        if how == "Warm" and not grace.is_alive() and not grace.finished.is_set():
            grace.start()
        elif how != "Warm":
            workshop.stop_now()

    worker_shutting_down.connect(stop)
    try:
        worker = app.Worker(
            pool="threads",
            concurrency=concurrency,
            queues=queues,
            loglevel="INFO",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
        return int(worker.exitcode or 0)
    finally:
        worker_shutting_down.disconnect(stop)
        grace.cancel()
