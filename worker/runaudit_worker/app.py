"""The Celery application of a worker: one task, which hears the bell."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import FrameType
from typing import Any

from celery import Celery, bootsteps
from celery.concurrency.thread import ApplyResult, TaskPool
from celery.worker import state
from kombu.asynchronous import Hub

from runaudit_service.store.bell import TASK, celery_settings
from runaudit_service.store.settings import Settings
from runaudit_worker.workshop import Workshop


def make_app(settings: Settings, workshop: Workshop, queues: Sequence[str]) -> Celery:
    """The application whose task has `workshop` answer the bells of `queues`."""
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

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def answer_bell(queue_name: str) -> bool:
        return workshop.answer_bell(queue_name, [name for name in queues if name != queue_name])

    return app


class WakingPool(TaskPool):  # type: ignore[misc]
    """Celery's threads, but its loop hears at once when one of them is free again.

    With `worker_disable_prefetch` the loop asks the broker for a bell only while a thread is free, and it looks whether
    one is when something wakes it: without this, that is a timer of kombu's that goes off once a second.
    """

    _hub: Hub | None = None

    def register_with_event_loop(self, hub: Hub) -> None:
        """Called by Celery as its loop begins."""
        self._hub = hub

    def on_apply(self, *arguments: Any, **named: Any) -> ApplyResult:
        """Called by Celery for each bell."""
        result = super().on_apply(*arguments, **named)
        result.f.add_done_callback(self._wake)
        return result

    def _wake(self, _done: Future[Any]) -> None:
        if self._hub is not None:
            self._hub.call_soon(_look_around)


def _look_around() -> None:
    """All that the loop has to do for it, it does each time it wakes."""


class StopSignals:
    """What a worker does when it is told to stop.

    SIGTERM and SIGINT: it takes no more work, waits for its audits, and hands them back after the grace period.
    The same again, or SIGQUIT: it hands them back at once.
    """

    def __init__(self, workshop: Workshop, grace_seconds: float) -> None:
        self._workshop = workshop
        self._grace = threading.Timer(grace_seconds, workshop.stop_now)
        self._grace.daemon = True
        self._told = False

    def install(self) -> None:
        """Takes the signals over from Celery, whose way to stop at once leaves threads where they are."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGQUIT, self._stop)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        # What Celery's own handlers do: its loop looks at this.
        state.should_stop = 0
        # Before all else: the next signal may interrupt this very function, and must find that one has come.
        told, self._told = self._told, True
        if number == signal.SIGQUIT or told:
            # Not the log, whose lock the interrupted code may hold.
            os.write(2, b"stopping now: audits that run are handed back\n")
            self._workshop.stop_now()
        else:
            self._workshop.closing = True
            os.write(2, b"stopping: audits that run may end within the grace period\n")
            self._grace.start()


def _install_step(signals: StopSignals) -> type[bootsteps.StartStopStep]:
    class InstallStopSignals(bootsteps.StartStopStep):  # type: ignore[misc]
        """Runs when the worker starts, after Celery has installed its own handlers."""

        def start(self, parent: Any) -> None:
            signals.install()

    return InstallStopSignals


def run_worker(settings: Settings, workshop: Workshop, *, queues: list[str], concurrency: int) -> int:
    """Hears bells until told to stop (see StopSignals); returns the exit code."""
    app = make_app(settings, workshop, queues)
    app.steps["worker"].add(_install_step(StopSignals(workshop, settings.grace_seconds)))
    worker = app.Worker(
        pool=WakingPool,
        concurrency=concurrency,
        queues=queues,
        loglevel="INFO",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)
