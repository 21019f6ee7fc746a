"""`python -m runaudit_worker.sender`: sends webhooks, and tells MLflow of verdicts.

PostgreSQL's NOTIFY wakes it when deliveries have been committed; where that is lost, it looks once a second anyway. Any
number of senders may run beside each other.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import psycopg
import uvloop
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from runaudit_service.store import deliveries
from runaudit_service.store.database import libpq_url, sync_engine
from runaudit_service.store.deliveries import Claimed, Outcome
from runaudit_service.store.settings import Settings, settings
from runaudit_service.store.tracing import tracing
from runaudit_service.store.web_address import UrlNotAllowedError, WebAddress
from runaudit_service.store.webhooks import CHANNEL
from runaudit_worker.guarded import AsyncGuardedClient
from runaudit_worker.logs import log_to_stderr
from runaudit_worker.metrics import count_delivery, show_metrics
from runaudit_worker.verdict_tags import tell_model_versions
from runaudit_worker.webhooks.attention import Attention
from runaudit_worker.webhooks.exchange import SECONDS, Exchange

_log = logging.getLogger(__name__)

PLACES: Final = 64
"""deliveries at a time"""
LEASE_SECONDS: Final = 2 * SECONDS
"""an attempt ends after half of it, and there is time to write that down"""
LOOK_SECONDS: Final = 1.0
"""between two looks when nothing wakes the sender"""
GATHER_SECONDS: Final = 0.02
"""while most places are taken, how long to wait for more to become free, so that one claim fills several"""
STOP_SECONDS: Final = 5.0
"""for what is being sent when the sender is told to stop; the rest is given back"""
LONGEST_BACK_OFF_SECONDS: Final = 30.0
PRUNE_SECONDS: Final = 60.0
_MOST_UNRECORDED: Final = 4 * PLACES


class Sender:
    """Claims, sends and records until it is told to stop. For one event loop."""

    def __init__(
        self, engine: Engine, exchange: Exchange, *, places: int = PLACES, keep_seconds: float = 30 * 86400
    ) -> None:
        self._engine = engine
        self._exchange = exchange
        self._keep_seconds = keep_seconds
        self._attention = Attention(places)
        self._sending: dict[asyncio.Task[None], Claimed] = {}
        self._outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more, and come to an end."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Returns some seconds after `stop`, with everything recorded or given back."""
        recording = asyncio.create_task(self._record_all())
        pruning = asyncio.create_task(self._prune())
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                if not await self._claim_some():
                    await _within(self._wake.wait(), LOOK_SECONDS)
        finally:
            pruning.cancel()
            await self._finish()
            self._outcomes.put_nowait(None)
            await recording

    async def _claim_some(self) -> bool:
        """Fills free places; False if there was nothing more to send, or no place for it."""
        if 0 < self._attention.free < self._attention.places // 4:
            await asyncio.sleep(GATHER_SECONDS)
        free = self._attention.free
        if free == 0 or self._outcomes.qsize() > _MOST_UNRECORDED:
            return False
        claim = partial(
            deliveries.claim, self._engine, self._attention.rooms(), self._attention.unproven(), free, LEASE_SECONDS
        )
        try:
            claimed = await asyncio.to_thread(claim)
        except DBAPIError as error:
            _log.warning("the database can't be asked for deliveries: %s", error.orig)
            return False
        for delivery in claimed:
            self._attention.take(delivery.target)
            task = asyncio.create_task(self._send(delivery))
            self._sending[task] = delivery
            task.add_done_callback(self._sending.pop)
        return bool(claimed)

    async def _send(self, delivery: Claimed) -> None:
        taken, begun = False, time.monotonic()
        try:
            outcome = await self._exchange.attempt(delivery)
            taken = outcome.state == "succeeded"
        finally:
            self._attention.give_back(delivery.target, taken=taken, seconds=time.monotonic() - begun)
            self._wake.set()
        self._outcomes.put_nowait(outcome)
        count_delivery(outcome.status, outcome.seconds)
        if outcome.state != "succeeded":
            _log.info("delivery %s to %s: %s", delivery.id, _shown(delivery.url), outcome.error or outcome.status)

    async def _record_all(self) -> None:
        """Writes down what ended, as much at a time as there is, until it is told that nothing more comes."""
        more = True
        while more:
            batch = [await self._outcomes.get()]
            while not self._outcomes.empty() and len(batch) < _MOST_UNRECORDED:
                batch.append(self._outcomes.get_nowait())
            more = None not in batch
            outcomes = [one for one in batch if one is not None]
            if outcomes:
                await asyncio.to_thread(self._record, outcomes)

    def _record(self, outcomes: list[Outcome]) -> None:
        """Tried again while the database is away, for as long as a lease lasts: then others send it again anyway."""
        pause, end = 0.2, time.monotonic() + LEASE_SECONDS
        while True:
            try:
                for one in deliveries.record(self._engine, outcomes):
                    _log.warning("webhook %s is disabled: %s", one.id, one.reason)
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() > end:
                    _log.warning("%d attempts are not recorded, they will be made again", len(outcomes))
                    return
                _log.warning("attempts can't be recorded yet: %s", error.orig)
            except DBAPIError:
                _log.exception("attempts can't be recorded")
                # One that is refused (its endpoint is deleted at this moment, say) keeps none of the others.
                if len(outcomes) > 1:
                    for outcome in outcomes:
                        self._record([outcome])
                return
            else:
                return
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_BACK_OFF_SECONDS)

    async def _finish(self) -> None:
        """Waits for what is being sent, and gives back what takes too long."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=STOP_SECONDS)
        left = dict(self._sending)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
            try:
                await asyncio.to_thread(deliveries.release, self._engine, list(left.values()))
            except DBAPIError as error:
                _log.warning("deliveries are not given back, their leases will run out: %s", error.orig)

    async def _prune(self) -> None:
        while True:
            forgotten = 0
            try:
                forgotten = await asyncio.to_thread(deliveries.prune, self._engine, seconds=self._keep_seconds)
            except DBAPIError as error:
                _log.warning("old deliveries can't be forgotten: %s", error.orig)
            # A full batch has more behind it.
            await asyncio.sleep(1 if forgotten == deliveries.PRUNE_BATCH else PRUNE_SECONDS)


async def listen(database_url: str, heard: Callable[[], None]) -> None:
    """Calls `heard` at each NOTIFY about deliveries, for ever, and once more after each lost connection."""
    plain = libpq_url(database_url)
    back_off = 0.5
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(plain, autocommit=True, connect_timeout=10) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                back_off = 0.5
                heard()
                async for _ in connection.notifies():
                    heard()
        except psycopg.OperationalError as error:
            _log.warning("can't hear of deliveries, looking once a second: %s", error)
        await asyncio.sleep(back_off)
        back_off = min(2 * back_off, LONGEST_BACK_OFF_SECONDS)


async def send_until_stopped(configured: Settings, engine: Engine) -> None:
    """Sends webhooks until SIGTERM or SIGINT."""
    rule = configured.webhook_rule
    async with AsyncGuardedClient(
        allow=rule.allowed, allow_http=configured.webhook_allow_http, ports=rule.ports, connections=PLACES
    ) as client:
        sender = Sender(
            engine, Exchange(client, configured.base_url), keep_seconds=configured.webhook_keep_days * 86400
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, sender.stop)
        beside = [asyncio.create_task(listen(configured.database_url, sender.wake))]
        if configured.mlflow_tracking_uri:
            beside.append(asyncio.create_task(tell_model_versions(configured, engine)))
        try:
            await sender.run()
        finally:
            for task in beside:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


def main() -> int:
    """Reads the settings and sends until told to stop."""
    configured = settings()
    parser = argparse.ArgumentParser(prog="python -m runaudit_worker.sender", description="Sends webhooks.")
    parser.parse_args()
    if not configured.database_url:
        parser.error("RUNAUDIT_DATABASE_URL must be set; `runaudit serve` sets it itself")
    log_to_stderr()
    show_metrics(configured)
    tracing.begin("runaudit-sender")
    _log.info("sender begins")
    engine = sync_engine(configured.database_url, pool_size=3)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(send_until_stopped(configured, engine))
    finally:
        tracing.end()
        engine.dispose()
    return 0


async def _within(waiting: Awaitable[object], seconds: float) -> None:
    """Waits no longer than so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await waiting


def _shown(url: str) -> str:
    """Scheme, host and port: the rest may be a secret."""
    try:
        return str(WebAddress.parse(url, schemes=("https", "http")))
    except UrlNotAllowedError:
        return "an address that can't be read"


if __name__ == "__main__":
    sys.exit(main())
