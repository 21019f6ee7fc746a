"""Senders for tests: in a thread of the test's process, with the real transport, listener and database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Engine

from runaudit_service.store.web_address import networks
from runaudit_worker.guarded import AsyncGuardedClient
from runaudit_worker.sender import Sender, listen
from runaudit_worker.webhooks.exchange import Exchange

BASE_URL = "https://audits.example.com"


def only_this_machine(host: str, port: int) -> list[str]:
    """A resolver that asks nobody."""
    if host != "localhost":
        raise OSError(f"{host} is not looked up in tests")
    return ["127.0.0.1"]


@contextmanager
def sending(
    engine: Engine,
    database_url: str,
    *,
    allow: str = "127.0.0.0/8",
    allow_http: bool = True,
    seconds: float = 5.0,
    places: int = 64,
) -> Iterator[Sender]:
    """A sender that may reach loopback; it is told to stop at the end, and waited for."""
    begun = threading.Event()
    made: list[tuple[asyncio.AbstractEventLoop, Sender]] = []

    async def run() -> None:
        async with AsyncGuardedClient(
            allow=networks(allow), allow_http=allow_http, connections=places, resolver=only_this_machine
        ) as client:
            sender = Sender(engine, Exchange(client, BASE_URL, seconds), places=places)
            made.append((asyncio.get_running_loop(), sender))
            listening = asyncio.create_task(listen(database_url, sender.wake))
            begun.set()
            await sender.run()
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="sender", daemon=True)
    thread.start()
    assert begun.wait(10)
    loop, sender = made[0]
    try:
        yield sender
    finally:
        loop.call_soon_threadsafe(sender.stop)
        thread.join(20)
        assert not thread.is_alive()
