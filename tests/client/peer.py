"""A small HTTP server that answers as it is told to and keeps what it was sent: the other end of transport tests."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEPT_BYTES = 1 << 20


@dataclass(frozen=True)
class Sent:
    """A request as it arrived; `body` holds its first MiB, `sha256` and `length` cover all of it."""

    method: str
    path: str
    headers: Message
    body: bytes
    length: int
    sha256: str


@dataclass(frozen=True)
class Answer:
    """What to answer; `hang_up` closes the connection without an answer instead."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    hang_up: bool = False


@dataclass
class Peer:
    url: str
    requests: list[Sent]


def problem(status: int, code: str, **more: Any) -> Answer:
    body = {"type": "about:blank", "title": "no", "status": status, "detail": f"because of {code}", "code": code} | more
    return Answer(status, body, content_type="application/problem+json")


@contextmanager
def peer(*answers: Answer | Callable[[Sent], Answer]) -> Iterator[Peer]:
    """Gives `answers` one after the other, the last one for ever."""
    requests: list[Sent] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            left = int(self.headers.get("Content-Length", 0))
            length, kept, digest = left, b"", hashlib.sha256()
            while left:
                chunk = self.rfile.read(min(left, 1 << 16))
                if not chunk:
                    break
                left -= len(chunk)
                digest.update(chunk)
                kept += chunk[: KEPT_BYTES - len(kept)]
            sent = Sent(self.command, self.path, self.headers, kept, length, digest.hexdigest())
            requests.append(sent)
            given = answers[min(len(requests), len(answers)) - 1]
            self.give(given(sent) if callable(given) else given)

        def give(self, answer: Answer) -> None:
            if answer.hang_up:
                self.close_connection = True
                return
            empty = answer.status == 204 or self.command == "HEAD"
            content = (
                b"" if empty else answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            )
            self.send_response(answer.status)
            for name, value in ({"Content-Type": answer.content_type} | answer.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def do_PATCH(self) -> None:
            self.answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Peer(f"http://127.0.0.1:{server.server_port}", requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def audit(**changes: Any) -> dict[str, Any]:
    """An audit as the contract has it."""
    body: dict[str, Any] = {
        "id": "0199d0f0-0000-7000-8000-000000000001",
        "project": "default",
        "run_name": "exp",
        "state": "queued",
        "verdict": None,
        "headline": None,
        "progress": {"stage": "queued", "fraction": 0.0, "done": 0, "total": 0},
        "created_at": "2026-11-24T08:00:00Z",
        "started_at": None,
        "ended_at": None,
        "attempt": 0,
        "labels": {},
        "artifacts": [{"role": "run", "sha256": "0" * 64, "bytes": 10}],
        "error": None,
        "rerun_of": None,
        "links": {"self": "/v1/audits/x", "report": "/v1/audits/x/report", "events": "/v1/audits/x/events"},
    }
    return body | changes
