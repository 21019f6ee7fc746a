"""A receiver of webhooks for tests: a real HTTP server on loopback that keeps what it gets and answers as told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What to answer, and how long or until when to think before it."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    until: threading.Event | None = None


@dataclass
class Receiver:
    """Answers by path; 204 where nothing else was said."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    replies: dict[str, Reply | Callable[[Received], Reply]] = field(default_factory=dict)

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        return [one for one in self.received if one.path == path]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["path"] + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        one = Received(path, headers, body)
        self.received.append(one)
        reply = self.replies.get(path, Reply())
        reply = reply(one) if callable(reply) else reply
        if reply.seconds:
            await asyncio.sleep(reply.seconds)
        while reply.until is not None and not reply.until.is_set():
            await asyncio.sleep(0.02)
        sent = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        if reply.body:
            sent.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": reply.body})


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port, in a thread of this process."""
    receiver = Receiver()
    config = uvicorn.Config(
        receiver, host="127.0.0.1", port=0, lifespan="off", log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="receiver", daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    receiver.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.should_exit = True
        thread.join(10)
