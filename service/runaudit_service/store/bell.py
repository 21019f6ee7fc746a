"""The doorbell: a Celery message that says that a queue has work. It names no job, so losing one loses nothing."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from runaudit_service.store.models import QUEUES

TASK = "runaudit.work"
RING_SECONDS = 2.0
"""how long a connection to the broker, and each word with it, may take: a request waits for its bell no longer"""

ENOUGH = 64
"""bells that wait unheard: more of them would wake nobody, unless so many workers fall idle within QUIET_SECONDS"""
QUIET_SECONDS = 0.25
"""until it is looked again whether there are enough; should there be too few meanwhile, the reaper rings"""

_log = logging.getLogger(__name__)
_UNHEARD = (KombuError, RedisError, OSError)
"""what kombu raises when the broker is away, hangs, or refuses"""


def celery_settings(broker_url: str) -> dict[str, Any]:
    """What both ends of the bell have in common: JSON only, no results, no wait without end."""
    return {
        "broker_url": broker_url,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        # Each queue has an exchange of its own, so that a bell rings in one queue only.
        "task_queues": [Queue(name, Exchange(name, type="direct"), routing_key=name) for name in QUEUES],
        "task_create_missing_queues": False,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": RING_SECONDS,
        "task_publish_retry": False,
    }


class Bell:
    """The ringing end, for the API, the reaper, and workers that leave work behind. Safe to share between threads."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("runaudit", set_as_current=False)
        self._app.conf.update(
            celery_settings(broker_url),
            broker_pool_limit=4,
            broker_pool_acquire_timeout=RING_SECONDS,
            broker_transport_options={
                "socket_timeout": RING_SECONDS,
                "socket_connect_timeout": RING_SECONDS,
                "max_retries": 1,
                "interval_start": 0,
                "interval_step": 0,
            },
        )
        self._rung_unlooked: Counter[str] = Counter()
        self._quiet_until: dict[str, float] = {}

    def ring(self, queue: str) -> bool:
        """Rings for `queue`, one of QUEUES; takes a few seconds at most. False if the broker did not hear it.

        Call it after the commit. Not ringing costs a delay: the reaper rings for work that waits. Nothing is sent while
        ENOUGH bells wait already: many audits handed in at once are not as many messages.
        """
        if queue not in QUEUES:
            raise ValueError(f"{queue!r} is no queue")
        if self._enough_wait(queue):
            return True
        try:
            self._app.send_task(TASK, args=[queue], queue=queue, ignore_result=True)
        except _UNHEARD as error:
            _log.warning("the bell of queue %s was not heard: %s", queue, error)
            return False
        return True

    def waiting(self, queue: str) -> int | None:
        """How many bells of `queue` no worker has heard yet; None if the broker does not answer."""
        try:
            with self._app.connection_for_write() as connection:
                return int(connection.default_channel.client.llen(queue))
        except _UNHEARD:
            return None

    def is_quiet(self, queue: str) -> bool:
        """Whether ringing would send nothing now. Asks nobody."""
        return time.monotonic() < self._quiet_until.get(queue, 0.0)

    def _enough_wait(self, queue: str) -> bool:
        """Whether the broker had enough bells a moment ago. It is asked only after as many were rung here."""
        if self.is_quiet(queue):
            return True
        self._rung_unlooked[queue] += 1
        if self._rung_unlooked[queue] < ENOUGH:
            return False
        # Quiet already while it is looked, so that of many requests one looks. The count stays where it is, so that the
        # first bell after the quiet looks again.
        self._quiet_until[queue] = time.monotonic() + QUIET_SECONDS
        if (self.waiting(queue) or 0) >= ENOUGH:
            return True
        self._rung_unlooked[queue], self._quiet_until[queue] = 0, 0.0
        return False

    def silence(self, queue: str) -> bool:
        """Forgets the bells of `queue` that no worker has heard yet; says whether there were any.

        Each was rung after a commit, so whoever looks for work after this finds what they were rung for.
        """
        try:
            with self._app.connection_for_write() as connection:
                return bool(connection.default_channel.client.delete(queue))
        except _UNHEARD:
            return False

    def answers(self) -> bool:
        """Whether the broker answers."""
        return self.waiting(QUEUES[0]) is not None

    def close(self) -> None:
        """Closes the connections."""
        self._app.close()
