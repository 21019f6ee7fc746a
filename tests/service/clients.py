"""Clients of the API for tests: over ASGI in the test's process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine

from runaudit_service.store import queue

Answer = TypeVar("Answer")


class Api:
    """Calls an application synchronously, on the test's event loop. As a context manager it runs the lifespan."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner, key: str | None) -> None:
        self.app = app
        self._runner = runner
        self._lifespan: Any = None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)

    def __enter__(self) -> Self:
        self._lifespan = self.app.router.lifespan_context(self.app)
        self._runner.run(self._lifespan.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._lifespan.__aexit__(kind, error, trace))

    def with_key(self, key: str | None) -> Api:
        """The same application, called with another key."""
        return Api(self.app, self._runner, key)

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Do something on the application's event loop."""
        return self._runner.run(work)

    def request(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        return self._runner.run(self.http.request(method, url, **arguments))

    def get(self, url: str, **arguments: Any) -> httpx.Response:
        return self.request("GET", url, **arguments)

    def post(self, url: str, **arguments: Any) -> httpx.Response:
        return self.request("POST", url, **arguments)

    def delete(self, url: str, **arguments: Any) -> httpx.Response:
        return self.request("DELETE", url, **arguments)

    def submit(self, content: bytes = b"an archive", **request: Any) -> httpx.Response:
        """Post an artifact with these fields of the request."""
        parts: dict[str, Any] = {"artifact": ("run.zip", content, "application/zip")}
        if request:
            parts["request"] = (None, json.dumps(request), "application/json")
        return self.post("/v1/audits", files=parts)


def code_of(response: httpx.Response) -> str:
    """The code of a problem document, which is checked for its form."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= body.keys()
    assert body["status"] == response.status_code
    return str(body["code"])


def claim(engine: Engine, audit_id: str) -> queue.Claim:
    """A worker takes jobs until it has this audit's."""
    while True:
        claimed = queue.claim(engine, ["gpu", "cpu"], "worker", 60)
        assert claimed is not None
        if str(claimed.audit_id) == audit_id:
            return claimed
